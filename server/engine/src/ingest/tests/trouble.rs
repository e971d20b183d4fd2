//! A backend in trouble: full, busy, silent about what it wrote, or written by somebody else.

use std::time::Duration;

use neptune_store::kv::{Batch, Kv};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_once_and_waited_out() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    for episode in 0..2 {
        kv.set_full(true);
        for seq in 1..=5 {
            let seq = episode * 5 + seq;
            sink.submit_frame(numbers(id, seq, 0, &[(seq as f64, 1.0)]), NOW).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let told = events.next().await.unwrap();
        assert!(
            matches!(told, IngestEvent::Trouble { why: Refused::ReadOnly, session: Some(it) } if it == id)
        );
        assert!(engine.stats().read_only);
        assert!(matches!(sink.close_session(id).await, Err(Refused::ReadOnly)));
        let refused =
            engine.create_project(&grant, neptune_wire::CreateProject { name: "x".into(), ..project() }, NOW);
        assert!(matches!(refused.await, Err(Refused::Taken { .. })));
        // Reading goes on.
        assert_eq!(points(&engine, &grant, &job, "loss").await.len() as u64, episode * 5);
        kv.set_full(false);
        let others = acked(&mut events, id, episode * 5 + 5).await;
        assert!(others.is_empty(), "{others:?}");
        assert!(!engine.stats().read_only);
    }
    assert_eq!(points(&engine, &grant, &job, "loss").await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_that_nobody_writes_to_is_noticed_to_have_room_again() {
    let (engine, grant, kv) = engine().await;
    kv.set_full(true);
    let refused = engine.create_project(&grant, project(), NOW).await;
    assert!(matches!(refused, Err(Refused::ReadOnly)));
    engine.tick(NOW).await.unwrap();
    assert!(engine.stats().read_only);
    kv.set_full(false);
    engine.tick(NOW).await.unwrap();
    assert!(!engine.stats().read_only);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_sender_waits_alone() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    kv.set_full(true);
    let many: Vec<(f64, f64)> = (0..2_500).map(|at| (f64::from(at), 0.1)).collect();
    let mut sent = 0;
    // Memory is bounded: at some frame the sender has to wait.
    loop {
        let frame = numbers(id, sent + 1, 0, &many);
        let waited = tokio::time::timeout(Duration::from_secs(5), sink.submit_frame(frame, NOW)).await;
        if waited.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 1_000, "memory has no bound");
    }
    assert!(sent > 10);
    // Another connection still gets in.
    let (mut other, mut other_events) = engine.open_ingest(&grant);
    other.submit_frame(numbers(session(9), 1, 0, &many), NOW).await;
    let told = other_events.next().await.unwrap();
    assert!(matches!(told, IngestEvent::Trouble { why: Refused::Protocol { .. }, .. }));
    kv.set_full(false);
    // The frame that had to wait was not taken; it is sent again.
    sink.submit_frame(numbers(id, sent + 1, 0, &many), NOW).await;
    acked(&mut events, id, sent + 1).await;
    let channel = &engine.list_channels(&grant, &job).await.unwrap()[0];
    assert_eq!(channel.summary.count, (sent + 1) * 2_500);
}

#[tokio::test(start_paused = true)]
async fn a_flood_gets_no_more_than_its_turn() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let (flood, other) = (session(1), session(2));
    let (mut sink, _flooded, _) = writer(&engine, &grant, &job, flood, loss()).await;
    let (mut other_sink, mut other_events, _) = writer(&engine, &grant, &job, other, loss()).await;
    kv.set_full(true);
    let many: Vec<(f64, f64)> = (0..2_500).map(|at| (f64::from(at), 0.1)).collect();
    let mut waits = 0;
    while tokio::time::timeout(
        Duration::from_secs(5),
        sink.submit_frame(numbers(flood, waits + 1, 0, &many), NOW),
    )
    .await
    .is_ok()
    {
        waits += 1;
    }
    other_sink.submit_frame(numbers(other, 1, 0, &[(-1.0, 1.0)]), NOW).await;
    let going_on = tokio::spawn(async move {
        for seq in waits + 1..=waits + 1_000 {
            sink.submit_frame(numbers(flood, seq, 0, &many), NOW).await;
        }
    });
    kv.set_full(false);
    acked(&mut other_events, other, 1).await;
    // Before it came what had been waiting, and what shared its commit.
    let stored = engine.list_channels(&grant, &job).await.unwrap()[0].summary.count / 2_500;
    assert!(stored >= waits && stored < waits + 40, "{stored} frames of the flood, {waits} waited");
    assert!(!going_on.is_finished());
    going_on.abort();
}

#[tokio::test(start_paused = true)]
async fn unknown_and_busy_commits_are_settled() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    let troubles = [Trouble::UnknownWritten, Trouble::UnknownLost, Trouble::Busy, Trouble::None];
    for (seq, trouble) in (1..).zip(troubles.into_iter().cycle().take(20)) {
        kv.script([trouble]);
        sink.submit_frame(numbers(id, seq, 0, &[(seq as f64, 1.0)]), NOW).await;
        assert!(acked(&mut events, id, seq).await.is_empty());
    }
    // Longer than the store tries by itself.
    kv.script([Trouble::Busy; 50]);
    sink.submit_frame(numbers(id, 21, 0, &[(21.0, 1.0)]), NOW).await;
    assert!(acked(&mut events, id, 21).await.is_empty());
    let expected: Vec<_> = (1..=21).map(|seq| (f64::from(seq), 1.0)).collect();
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
}

#[tokio::test(start_paused = true)]
async fn frames_behind_those_given_back_are_not_stored_before_them() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    let frame = |seq| numbers(id, seq, 0, &[(seq as f64, 1.0)]);
    kv.script([Trouble::Busy, Trouble::Busy, Trouble::TooLarge]);
    sink.submit_frame(frame(1), NOW).await;
    sink.submit_frame(frame(2), NOW).await;
    // Their commit is tried for a while; these line up behind it.
    tokio::time::sleep(Duration::from_millis(6)).await;
    sink.submit_frame(frame(3), NOW).await;
    sink.submit_frame(frame(4), NOW).await;
    let told = events.next().await.unwrap();
    assert!(matches!(told, IngestEvent::Trouble { why: Refused::Busy, .. }), "{told:?}");
    let (mut sink, mut events, mark) = writer(&engine, &grant, &job, id, loss()).await;
    assert_eq!(mark, 0);
    for seq in 1..=4 {
        sink.submit_frame(frame(seq), NOW).await;
    }
    acked(&mut events, id, 4).await;
    let expected: Vec<_> = (1..=4).map(|seq| (f64::from(seq), 1.0)).collect();
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
}

#[tokio::test(start_paused = true)]
async fn refused_frames_cost_what_stands_in_for_them() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, vec![stdout(0)]).await;
    // Enough to burst one commit if each block had a stand-in of its own.
    let mut offset = 0;
    for seq in 1..=100 {
        let mut frame = FrameBuilder::new(id, seq);
        for _ in 0..1_000 {
            assert_eq!(frame.push_log(0, offset, 0.0, 0, b"x"), 1);
            offset += 1;
        }
        assert_eq!(frame.push_numeric(7, &[0.0], &[0.0], &[0]), 1);
        sink.submit_frame(frame.finish().into(), NOW).await;
    }
    let others = acked(&mut events, id, 100).await;
    assert!(others.iter().all(|event| matches!(event, IngestEvent::Refused { .. })), "{others:?}");
    assert_eq!(dropped(&engine, &grant, &job).await, 100 * 1_001);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_else_wrote_is_read_again() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    acked(&mut events, id, 1).await;
    // Another engine over the same data takes frame 2.
    let second = engine_over(kv.reborn()).await;
    let all = everything(&second).await;
    let (mut other, mut other_events, mark) = writer(&second, &all, &job, id, loss()).await;
    assert_eq!(mark, 1);
    other.submit_frame(numbers(id, 2, 0, &[(2.0, 2.0)]), NOW).await;
    acked(&mut other_events, id, 2).await;

    sink.submit_frame(numbers(id, 2, 0, &[(2.0, 9.0)]), NOW).await;
    let told = events.next().await.unwrap();
    assert!(matches!(told, IngestEvent::Trouble { why: Refused::Busy, .. }), "{told:?}");
    let (mut again, mut again_events, mark) = writer(&engine, &grant, &job, id, loss()).await;
    assert_eq!(mark, 2);
    again.submit_frame(numbers(id, 3, 0, &[(3.0, 3.0)]), NOW).await;
    acked(&mut again_events, id, 3).await;
    let expected = [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)];
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_commits_what_waits_and_takes_no_more() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    engine.stop().await;
    acked(&mut events, id, 1).await;
    sink.submit_frame(numbers(id, 2, 0, &[(2.0, 1.0)]), NOW).await;
    let told = events.next().await.unwrap();
    assert!(matches!(told, IngestEvent::Trouble { why: Refused::Busy, .. }), "{told:?}");
    assert!(matches!(engine.create_project(&grant, project(), NOW).await, Err(Refused::Busy)));
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(points(&engine, &grant, &job, "loss").await, [(1.0, 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_stops_although_the_disk_is_full() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    kv.set_full(true);
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    engine.stop().await;
    drop(sink);
    while let Some(event) = events.next().await {
        assert!(!matches!(event, IngestEvent::Acked { .. }), "nothing was stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_read_is_in_nobodys_way() {
    for damaged in [1, 2] {
        let (engine, grant, kv) = engine().await;
        let mut jobs = Vec::new();
        for seed in [1, 2] {
            let (job, _) = running_job(&engine, &grant, seed).await;
            let (mut sink, mut events, _) = writer(&engine, &grant, &job, session(seed), loss()).await;
            sink.submit_frame(numbers(session(seed), 1, 0, &[(1.0, 0.5)]), NOW).await;
            acked(&mut events, session(seed), 1).await;
            jobs.push(job);
        }
        // Of another kind than the channel: taken for nothing, it would be written over.
        let state = neptune_store::ChannelState::Text(neptune_store::RowsState::default());
        let mut writes = neptune_store::Writes::new();
        let record = neptune_store::ChannelStateRecord { seq: 0, state };
        writes.put_channel_state(&uid(damaged), 0, &record);
        engine.store().commit(writes).await.unwrap();
        let engine = engine_over(kv.reborn()).await;
        let grant = everything(&engine).await;
        let mut leftovers = engine.core.registry.table.leftovers.subscribe();
        leftovers.wait_for(|leftovers| *leftovers == Some(false)).await.unwrap();
        assert_eq!(engine.store().list_jobs_with_frames().await.unwrap(), [uid(damaged)]);
        for (seed, job) in [1, 2].into_iter().zip(&jobs) {
            if seed == damaged {
                let refused = engine.list_channels(&grant, job).await;
                assert!(matches!(refused, Err(Refused::Storage(_))), "{refused:?}");
            } else {
                assert_eq!(points(&engine, &grant, job, "loss").await, [(1.0, 0.5)]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_frame_in_the_log_hides_no_other() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, loss()).await;
    for seq in 1..=3 {
        sink.submit_frame(numbers(id, seq, 0, &[(seq as f64, 1.0)]), NOW).await;
    }
    acked(&mut events, id, 3).await;
    let key = neptune_store::key::StoreKey::Frame { job: uid(1), seq: 2 }.encode();
    kv.commit(Batch::new().put(key, "flipped")).await.unwrap();
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(points(&engine, &grant, &job, "loss").await, [(1.0, 1.0), (3.0, 1.0)]);
}
