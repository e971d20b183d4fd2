//! `/api/v1/live` over real connections.

use axum::body::Body;
use axum::http::Request;
use neptune_wire::columns::{self, Data};
use neptune_wire::live::{ROW_SUBSCRIPTIONS, SUBSCRIPTIONS};
use serde_json::{Value, json};

use crate::sockets::{Heard, Socket};
use crate::world::{Served, World};

async fn append(world: &World, key: &str, points: Value) {
    let request = Request::post("/api/v1/jobs/TRIG-1/points")
        .header("content-type", "application/json")
        .header("idempotency-key", key);
    world.send(request.body(Body::from(points.to_string())).unwrap()).await.expect(200);
}

async fn subscribe(socket: &mut Socket, id: u32, topic: Value) -> Value {
    socket.say(json!({"type": "subscribe", "id": id, "topic": topic})).await;
    let answer = socket.hear_json().await;
    assert_eq!(answer["id"], id);
    answer
}

#[tokio::test]
async fn a_viewer_hears_what_is_newer_than_the_marks() {
    let served = Served::new().await;
    let world = served.world();
    world.with_running_job().await;
    append(&world, "a", json!({"loss": [[1, 0.5, 1], [2, 0.25, 2]], "note": [[1, "hello", 1]]})).await;

    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    let topic = json!({"topic": "channels", "job": "TRIG-1", "channels": ["loss", "note"]});
    let answer = subscribe(&mut socket, 7, topic).await;
    assert_eq!((&answer["type"], &answer["marks"]), (&json!("subscribed"), &json!([2, 1])));

    append(&world, "b", json!({"loss": [[3, "NaN", 3], [4, 1, 4]], "note": [[2, "again", 2]]})).await;
    let (mut numbers, mut lines) = (vec![], vec![]);
    while numbers.len() < 2 || lines.is_empty() {
        match socket.hear().await {
            Heard::Binary(bytes) => {
                let table = columns::decode(&bytes).unwrap().remove(0);
                assert_eq!((table.name.as_str(), &table.meta["id"]), ("loss", &json!(7)));
                assert_eq!(table.meta["index"], json!(2 + numbers.len()));
                let Some(Data::F64(y)) = table.find_column("y") else { panic!("y is f64") };
                numbers.extend(y.clone());
            }
            Heard::Json(message) => {
                assert_eq!((&message["type"], &message["channel"]), (&json!("lines"), &json!("note")));
                lines.extend(message["lines"].as_array().unwrap().iter().map(|line| line["text"].clone()));
            }
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }
    assert!(numbers[0].is_nan() && numbers[1] == 1.0, "{numbers:?}");
    assert_eq!(lines, [json!("again")]);
}

#[tokio::test]
async fn jobs_are_told_as_they_change() {
    let served = Served::new().await;
    let world = served.world();
    world.with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    subscribe(&mut socket, 1, json!({"topic": "jobs", "project": "TRIG"})).await;
    subscribe(&mut socket, 2, json!({"topic": "job", "job": "TRIG-1"})).await;
    world.call("PATCH", "/api/v1/jobs/TRIG-1", json!({"tags": ["seen"]})).await.expect(200);
    let mut told = vec![];
    while told.len() < 2 {
        let message = socket.hear_type("job").await;
        assert_eq!(message["job"]["tags"], json!(["seen"]));
        told.push(message["id"].as_u64().unwrap());
    }
    told.sort_unstable();
    assert_eq!(told, [1, 2]);

    socket.say(json!({"type": "unsubscribe", "id": 1})).await;
    // Its number is free again, so the end was heard before the next change.
    subscribe(&mut socket, 1, json!({"topic": "jobs", "project": "OTHER"})).await;
    world.call("PATCH", "/api/v1/jobs/TRIG-1", json!({"tags": ["later"]})).await.expect(200);
    assert_eq!(socket.hear_type("job").await["id"], 2);
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_the_connection_lives_on() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    let code = async |socket: &mut Socket| socket.hear_type("problem").await["problem"]["code"].clone();
    socket.say_text("{").await;
    assert_eq!(code(&mut socket).await, "invalid-json");
    socket.say_bytes(*b"frame").await;
    assert_eq!(code(&mut socket).await, "invalid-json");
    let answer = subscribe(&mut socket, 1, json!({"topic": "job", "job": "TRIG-7"})).await;
    assert_eq!(answer["problem"]["code"], "unknown-job");
    let answer =
        subscribe(&mut socket, 1, json!({"topic": "channels", "job": "TRIG-1", "channels": ["none"]})).await;
    assert_eq!(answer["problem"]["code"], "unknown-channel");
    let answer = subscribe(&mut socket, 1, json!({"topic": "job", "job": "TRIG-1"})).await;
    assert_eq!(answer["type"], "subscribed");
    let answer = subscribe(&mut socket, 1, json!({"topic": "job", "job": "TRIG-1"})).await;
    assert_eq!(answer["problem"]["code"], "invalid-json");
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    for id in 0..SUBSCRIPTIONS as u32 {
        let answer = subscribe(&mut socket, id, json!({"topic": "job", "job": "TRIG-1"})).await;
        assert_eq!(answer["type"], "subscribed");
    }
    let answer = subscribe(&mut socket, 5_000, json!({"topic": "job", "job": "TRIG-1"})).await;
    assert_eq!(answer["problem"]["code"], "too-large");
}

#[tokio::test]
async fn subscriptions_to_rows_are_bounded() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    let rows = || json!({"topic": "rows", "filter": "metric.loss < 1", "columns": "name"});
    for id in 0..ROW_SUBSCRIPTIONS as u32 {
        assert_eq!(subscribe(&mut socket, id, rows()).await["type"], "subscribed");
    }
    let problem = &subscribe(&mut socket, 100, rows()).await["problem"];
    assert_eq!(problem["code"], "too-large");
    assert_eq!(problem["detail"], "one connection holds at most 16 subscriptions to rows");
    let job = json!({"topic": "job", "job": "TRIG-1"});
    assert_eq!(subscribe(&mut socket, 101, job).await["type"], "subscribed");
    // One that ends makes room for another.
    socket.say(json!({"type": "unsubscribe", "id": 0})).await;
    assert_eq!(subscribe(&mut socket, 102, rows()).await["type"], "subscribed");
}

/// Much more than the buffers of both ends hold waits for a reader that does not read; the server keeps none of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_to_read_again() {
    const POINTS: u64 = 10_000;
    let served = Served::new().await;
    let world = served.world();
    world.with_running_job().await;
    append(&world, "first", json!({"loss": [[0, 0, 0]]})).await;
    let mut socket = Socket::connect(&served, "/api/v1/live").await;
    subscribe(&mut socket, 1, json!({"topic": "channels", "job": "TRIG-1", "channels": ["loss"]})).await;

    let mut sent = 1;
    for round in 0..60 {
        let points: Vec<_> = (sent..sent + POINTS).map(|step| json!([step, 0.5, 1])).collect();
        append(&world, &format!("k{round}"), json!({"loss": points})).await;
        sent += POINTS;
    }
    // What comes is without a hole until it says where the hole begins.
    let mut next = 1;
    let from = loop {
        match socket.hear().await {
            Heard::Binary(bytes) => {
                let table = columns::decode(&bytes).unwrap().remove(0);
                assert_eq!(table.meta["index"], json!(next));
                next += table.rows() as u64;
            }
            Heard::Json(message) => {
                assert_eq!((&message["type"], &message["channel"]), (&json!("reread"), &json!("loss")));
                break message["from"].as_u64().unwrap();
            }
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    };
    assert_eq!(from, next);
    assert!(from < sent);
}
