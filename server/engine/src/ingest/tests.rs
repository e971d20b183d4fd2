//! Ingest as a connection sees it. What survives a kill is in `crash.rs`.

mod crash;
mod json;
mod trouble;

use neptune_wire::frame::FrameBuilder;
use neptune_wire::query::{PointOrder, PointsQuery};
use neptune_wire::{ChannelKind, ChannelOrigin, JobRef};

use super::*;
use crate::testing::*;

/// All points of a channel in order of arrival.
async fn points(engine: &Engine, grant: &Grant, job: &JobRef, channel: &str) -> Vec<(f64, f64)> {
    let query = PointsQuery { order: PointOrder::Arrival, limit: Some(100_000), ..PointsQuery::default() };
    let page = engine.read_points(grant, job, &name(channel), &query).await.unwrap();
    assert!(page.next.is_none());
    page.x.into_iter().zip(page.y).collect()
}

async fn dropped(engine: &Engine, grant: &Grant, job: &JobRef) -> u64 {
    engine.read_job(grant, job).await.unwrap().dropped_points
}

fn loss() -> Vec<OpenChannel> {
    vec![channel(0, "loss", ChannelKind::Numeric)]
}

#[tokio::test(start_paused = true)]
async fn acknowledged_points_are_there_and_stay() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, mark) = writer(&engine, &grant, &job, id, loss()).await;
    assert_eq!(mark, 0);
    for seq in 1..=10 {
        sink.submit_frame(numbers(id, seq, 0, &[(seq as f64, 0.5)]), NOW).await;
    }
    assert!(acked(&mut events, id, 10).await.is_empty());
    let expected: Vec<_> = (1..=10).map(|seq| (f64::from(seq), 0.5)).collect();
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
    assert_eq!(sink.close_session(id).await.unwrap(), 10);

    engine.stop().await;
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
    let (_, _, mark) = writer(&engine, &grant, &job, id, loss()).await;
    assert_eq!(mark, 10);
}

#[tokio::test(start_paused = true)]
async fn frames_are_taken_in_turn_and_once() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    let frame = |seq| numbers(id, seq, 0, &[(seq as f64, 1.0)]);
    sink.submit_frame(frame(1), NOW).await;
    sink.submit_frame(frame(1), NOW).await;
    sink.submit_frame(frame(3), NOW).await;
    sink.submit_frame(frame(2), NOW).await;
    sink.submit_frame(frame(2), NOW).await;
    let others = acked(&mut events, id, 2).await;
    assert!(matches!(others[..], [IngestEvent::Gap { expected: 2, .. }]), "{others:?}");
    // A stored frame is acknowledged again, whatever is in it.
    sink.submit_frame(numbers(id, 1, 9, &[(0.0, 0.0)]), NOW).await;
    assert!(acked(&mut events, id, 2).await.is_empty());
    assert_eq!(points(&engine, &grant, &job, "loss").await, [(1.0, 1.0), (2.0, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_frame_uses_up_its_number_and_is_counted() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let channels =
        vec![channel(0, "loss", ChannelKind::Numeric), channel(1, "note", ChannelKind::Text), stdout(2)];
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, channels).await;
    let three = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)];
    sink.submit_frame(numbers(id, 1, 7, &three), NOW).await;
    sink.submit_frame(numbers(id, 2, 1, &three), NOW).await;
    let mut damaged = numbers(id, 3, 0, &three).to_vec();
    damaged[60] ^= 1;
    sink.submit_frame(damaged.into(), NOW).await;
    let mut text_into_log = FrameBuilder::new(id, 4);
    assert!(text_into_log.push_text(2, 0.0, 0, "no bytes", false));
    sink.submit_frame(text_into_log.finish().into(), NOW).await;
    sink.submit_frame(log(id, 5, 0, 0, b"10 bytes.."), NOW).await;
    sink.submit_frame(numbers(id, 6, 0, &three), NOW).await;
    let others = acked(&mut events, id, 6).await;
    let refused: Vec<(u64, String)> = others
        .iter()
        .map(|event| match event {
            IngestEvent::Refused { seq, why, .. } => (*seq, why.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    let said = [
        (1, "channel number 7 was never opened in this session"),
        (2, "channel note exists and is \"text\", not \"numeric\""),
        (3, "frame checksum differs, the bytes were damaged on the way"),
        (4, "a log takes log blocks, another text channel takes text blocks"),
        (5, "channel loss exists and is \"numeric\", not \"text\""),
    ];
    assert_eq!(refused, said.map(|(seq, why)| (seq, why.to_owned())));
    assert_eq!(points(&engine, &grant, &job, "loss").await, three);
    assert_eq!(dropped(&engine, &grant, &job).await, 3 + 3 + 3 + 1 + 10);
    assert_eq!(engine.stats().refused_frames, 5);

    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(dropped(&engine, &grant, &job).await, 20);
    assert_eq!(points(&engine, &grant, &job, "loss").await, three);
}

#[tokio::test(start_paused = true)]
async fn what_the_sender_lost_is_counted() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) =
        writer(&engine, &grant, &job, id, vec![channel(0, "loss", ChannelKind::Numeric), stdout(1)]).await;
    let mut lost = FrameBuilder::new(id, 1);
    assert!(lost.push_dropped(0, 5) && lost.push_dropped(1, 7));
    sink.submit_frame(lost.finish().into(), NOW).await;
    // Of the 10 bytes that are missing here, 7 were reported.
    sink.submit_frame(log(id, 2, 1, 10, b"after\n"), NOW).await;
    assert!(acked(&mut events, id, 2).await.is_empty());
    assert_eq!(dropped(&engine, &grant, &job).await, 15);
    assert_eq!(engine.stats().dropped_points, 15);
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(dropped(&engine, &grant, &job).await, 15);
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_an_open_session_is_trouble() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    sink.submit_frame(numbers(session(2), 1, 0, &[(1.0, 1.0)]), NOW).await;
    sink.submit_frame(Bytes::from_static(b"not a frame"), NOW).await;
    let told = events.next().await.unwrap();
    assert!(
        matches!(told, IngestEvent::Trouble { session: Some(it), why: Refused::Protocol { .. } } if it == session(2))
    );
    let told = events.next().await.unwrap();
    assert!(matches!(told, IngestEvent::Trouble { session: None, why: Refused::DamagedFrame(_) }));
    // The connection lives on.
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    assert!(acked(&mut events, id, 1).await.is_empty());
    drop(sink);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_takes_the_session() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut old, mut old_events, _) = writer(&engine, &grant, &job, id, loss()).await;
    old.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    // Frame 1 is still on its way: opening waits for it.
    let (mut new, mut new_events, mark) = writer(&engine, &grant, &job, id, loss()).await;
    assert_eq!(mark, 1);
    old.submit_frame(numbers(id, 2, 0, &[(2.0, 2.0)]), NOW).await;
    let others = loop {
        match old_events.next().await.unwrap() {
            IngestEvent::Acked { acked: 1, .. } => {}
            other => break other,
        }
    };
    assert!(matches!(others, IngestEvent::Trouble { why: Refused::Protocol { .. }, .. }), "{others:?}");
    new.submit_frame(numbers(id, 2, 0, &[(2.0, 3.0)]), NOW).await;
    assert!(acked(&mut new_events, id, 2).await.is_empty());
    assert_eq!(points(&engine, &grant, &job, "loss").await, [(1.0, 1.0), (2.0, 3.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_belongs_to_one_attempt_of_its_job() {
    let (engine, grant, _) = engine().await;
    let (job, token) = running_job(&engine, &grant, 1).await;
    let (other, _) = running_job(&engine, &grant, 2).await;
    let (mut sink, _events) = engine.open_ingest(&grant);
    let zero = SessionId::from_bytes([0; 16]);
    assert!(matches!(sink.open_session(zero, &job, FIRST, NOW).await, Err(Refused::Field { .. })));
    let second = AttemptNumber(2);
    assert!(matches!(
        sink.open_session(session(1), &job, second, NOW).await,
        Err(Refused::UnknownAttempt { .. })
    ));
    let created = created_job(&engine, &grant, 3).await;
    let unclaimed = sink.open_session(session(1), &created.id.into(), FIRST, NOW).await;
    assert!(matches!(unclaimed, Err(Refused::UnknownAttempt { .. })));

    let attempt = engine.access(crate::Access::Token(&token)).await.unwrap();
    let (mut sink, _events) = engine.open_ingest(&attempt);
    assert_eq!(sink.open_session(session(1), &job, FIRST, NOW).await.unwrap(), 0);
    let foreign = sink.open_session(session(1), &other, FIRST, NOW).await;
    assert!(matches!(foreign, Err(Refused::Forbidden { .. })));
}

#[tokio::test(start_paused = true)]
async fn channel_numbers_are_bound_for_ever() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, _events, _) = writer(&engine, &grant, &job, id, loss()).await;
    let again = vec![
        channel(0, "loss", ChannelKind::Numeric),
        channel(0, "other", ChannelKind::Numeric),
        channel(1, "loss", ChannelKind::Text),
        channel(2, "sys/mine", ChannelKind::Numeric),
        channel(100_000, "far", ChannelKind::Numeric),
        OpenChannel { kind: ChannelKind::Numeric, ..stdout(3) },
        OpenChannel { origin: ChannelOrigin::Stderr, ..stdout(4) },
        OpenChannel { origin: ChannelOrigin::System, ..channel(5, "cpu", ChannelKind::Numeric) },
        OpenChannel { origin: ChannelOrigin::System, ..channel(6, "sys/cpu", ChannelKind::Numeric) },
        channel(7, "loss", ChannelKind::Numeric),
        channel(8, "new", ChannelKind::Numeric),
        channel(8, "new", ChannelKind::Numeric),
    ];
    let (bound, refused) = sink.open_channels(id, again.clone(), NOW).await.unwrap();
    assert_eq!(bound, 4);
    let refused: Vec<String> = refused.iter().map(|one| format!("{}: {}", one.number, one.why)).collect();
    expect_test::expect![[r#"
        [
            "0: channel number is taken: another channel than \"other\"; a number keeps its channel for ever",
            "1: channel loss exists and is \"numeric\", not \"text\"",
            "2: name: names that begin with sys/ belong to Neptune; choose another",
            "100000: number: must be below 100000",
            "3: kind: a log is of kind text",
            "4: name: the log of this origin is named \"sys/stderr\"",
            "5: name: a name of this origin begins with sys/",
        ]
    "#]]
    .assert_debug_eq(&refused);
    let names = |channels: Vec<neptune_wire::Channel>| -> Vec<String> {
        channels.iter().map(|channel| channel.name.to_string()).collect()
    };
    let listed = names(engine.list_channels(&grant, &job).await.unwrap());
    assert_eq!(listed, ["loss", "sys/cpu", "new"]);

    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(names(engine.list_channels(&grant, &job).await.unwrap()), listed);
    let (mut sink, mut events) = engine.open_ingest(&grant);
    sink.open_session(id, &job, FIRST, NOW).await.unwrap();
    assert_eq!(sink.open_channels(id, again, NOW).await.unwrap().0, 4);
    sink.submit_frame(numbers(id, 1, 8, &[(1.0, 2.0)]), NOW).await;
    assert!(acked(&mut events, id, 1).await.is_empty());
    assert_eq!(points(&engine, &grant, &job, "new").await, [(1.0, 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_channels_are_opened_at_once() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let many: Vec<_> = (0..1_000).map(|at| channel(at, &format!("c{at}"), ChannelKind::Numeric)).collect();
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, many).await;
    let mut frame = FrameBuilder::new(id, 1);
    for at in 0..1_000 {
        assert_eq!(frame.push_numeric(at, &[1.0], &[f64::from(at)], &[0]), 1);
    }
    sink.submit_frame(frame.finish().into(), NOW).await;
    assert!(acked(&mut events, id, 1).await.is_empty());
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    let channels = engine.list_channels(&grant, &job).await.unwrap();
    assert_eq!(channels.len(), 1_000);
    for (at, channel) in channels.iter().enumerate() {
        assert_eq!(channel.name.as_str(), format!("c{at}"));
        assert_eq!(channel.summary.last.unwrap().0, at as f64);
    }
}
