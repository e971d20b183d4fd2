//! Points that come as JSON.

use neptune_wire::query::{AppendPoints, JsonPoint, JsonValue, TextQuery};
use neptune_wire::{Micros, Number};

use super::*;

fn point(x: Option<f64>, y: f64) -> JsonPoint {
    JsonPoint { x: x.map(Number), y: JsonValue::Number(Number(y)), time: None }
}

fn text(x: Option<f64>, y: &str) -> JsonPoint {
    JsonPoint { x: x.map(Number), y: JsonValue::Text(y.into()), time: Some(Micros(5)) }
}

fn body(channels: impl IntoIterator<Item = (&'static str, Vec<JsonPoint>)>) -> AppendPoints {
    channels.into_iter().map(|(channel, points)| (name(channel), points)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_key_stores_once() {
    let (engine, grant, kv) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let points_of_loss =
        body([("loss", vec![point(Some(3.0), 0.5), point(None, f64::NAN)]), ("empty", vec![])]);
    let first = engine.append_points(&grant, &job, "key", points_of_loss.clone(), NOW).await.unwrap();
    assert_eq!(first, Appended { points: 2, repeated: false });
    let again = engine.append_points(&grant, &job, "key", points_of_loss.clone(), NOW).await.unwrap();
    assert_eq!(again, Appended { points: 2, repeated: true });
    let other = body([("loss", vec![point(Some(9.0), 9.0)])]);
    let refused = engine.append_points(&grant, &job, "key", other, NOW).await.unwrap_err();
    assert!(refused.to_string().starts_with("idempotency key is taken: other points"), "{refused}");
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    let late = engine.append_points(&grant, &job, "key", points_of_loss, NOW).await.unwrap();
    assert_eq!(late, Appended { points: 2, repeated: true });
    let found = points(&engine, &grant, &job, "loss").await;
    assert_eq!((found[0], found[1].0, found.len()), ((3.0, 0.5), 4.0, 2));
    assert!(found[1].1.is_nan());
}

#[tokio::test(start_paused = true)]
async fn many_at_once_with_one_key_store_once() {
    let (engine, grant, _) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let sends = (0..20).map(|at| {
        let key = format!("key {}", at / 4);
        let (engine, grant, job) = (engine.clone(), grant.clone(), job.clone());
        async move {
            let points = body([("loss", vec![point(Some(f64::from(at / 4)), 1.0)])]);
            engine.append_points(&grant, &job, &key, points, NOW).await.unwrap()
        }
    });
    let answers = futures::future::join_all(sends).await;
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 5);
    assert_eq!(points(&engine, &grant, &job, "loss").await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn x_continues_the_channel() {
    let (engine, grant, _) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let sends = [
        vec![point(None, 0.0), point(None, 0.0)],
        vec![point(Some(7.9), 0.0), point(None, 0.0)],
        vec![point(Some(-3.5), 0.0), point(None, 0.0)],
        vec![point(Some(f64::INFINITY), 0.0), point(None, 0.0)],
    ];
    for (key, send) in sends.into_iter().enumerate() {
        let points = body([("loss", send)]);
        engine.append_points(&grant, &job, &format!("key {key}"), points, NOW).await.unwrap();
    }
    let x: Vec<f64> = points(&engine, &grant, &job, "loss").await.iter().map(|point| point.0).collect();
    assert_eq!(x, [1.0, 2.0, 7.9, 8.0, -3.5, -3.0, f64::INFINITY, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn texts_of_any_length_come_back() {
    let (engine, grant, _) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let long = "ä".repeat(40_000);
    // The first makes it a text channel, so what looks like a number is a word here.
    let sent = vec![text(None, "a"), point(None, f64::NAN), text(None, &long), text(None, "")];
    engine.append_points(&grant, &job, "key", body([("note", sent)]), NOW).await.unwrap();
    let lines = engine.read_text(&grant, &job, &name("note"), &TextQuery::default()).await.unwrap().lines;
    let mut texts = vec![String::new()];
    for line in &lines {
        texts.last_mut().unwrap().push_str(&line.text);
        if !line.continues {
            texts.push(String::new());
        }
    }
    assert_eq!(texts, ["a", "NaN", &long, "", ""]);
    assert_eq!(lines[0].time, Micros(5));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_whole() {
    let (engine, grant, _) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let refusal = async |key: &str, points: AppendPoints| {
        engine.append_points(&grant, &job, key, points, NOW).await.unwrap_err().to_string()
    };
    let good = || vec![point(None, 1.0)];
    let mixed = body([("a", good()), ("b", vec![point(None, 1.0), text(None, "x")])]);
    assert_eq!(
        refusal("key", mixed).await,
        "b[1][1]: must be a number or \"NaN\", \"Infinity\", \"-Infinity\""
    );
    let number = body([("c", vec![text(None, "x"), point(None, 1.0)])]);
    assert_eq!(refusal("key", number).await, "c[1][1]: must be a text: the channel is of kind text");
    let system = body([("sys/cpu", good())]);
    assert_eq!(
        refusal("key", system).await,
        "sys/cpu: names that begin with sys/ belong to Neptune; choose another"
    );
    let large = body([("a", (0..60_000).map(|at| point(Some(f64::from(at).sqrt()), 0.1)).collect())]);
    assert_eq!(
        refusal("key", large).await,
        "size of one request's points in bytes is over the limit of 921600"
    );
    assert_eq!(
        refusal("", body([("a", good())])).await,
        "Idempotency-Key: must be 1 to 256 bytes, different for every request"
    );
    // No key was used up, and nothing was stored.
    let stored = engine.append_points(&grant, &job, "key", body([("a", good())]), NOW).await.unwrap();
    assert!(!stored.repeated);
    assert_eq!(points(&engine, &grant, &job, "a").await, [(1.0, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn the_largest_request_fits_one_commit() {
    let (engine, grant, kv) = engine().await;
    let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
    let mut count = 38_000;
    loop {
        let points =
            body([("a", (0..count).map(|at| point(Some(0.1 * f64::from(at).sqrt()), 0.1)).collect())]);
        match engine.append_points(&grant, &job, "key", points, NOW).await {
            Ok(stored) => break assert_eq!(stored.points, u64::try_from(count).unwrap()),
            Err(Refused::TooLarge { .. }) => count -= 50,
            Err(other) => panic!("{other}"),
        }
    }
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(points(&engine, &grant, &job, "a").await.len(), count as usize);
}
