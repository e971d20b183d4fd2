//! Beats, wishes, and patience, with the clock in the test's hands.

use std::time::Duration;

use neptune_wire::control::{LOST_AFTER_MILLIS, SILENT_AFTER_MILLIS};
use neptune_wire::job::{AbortJob, Exit, ExitKind};
use neptune_wire::life::DeleteQuery;

use super::*;
use crate::testing::*;

const SECOND: i64 = 1_000_000;

fn exit() -> Exit {
    Exit { how: ExitKind::Code { code: 0 }, ended_micros: NOW, aborted: false, reason: None }
}

fn beat(seq: u64, job: u8, phase: Phase, exit: Option<Exit>) -> Beat {
    let holding = Holding { job: uid(job), attempt: FIRST, phase, since_micros: NOW, pid: Some(1), exit };
    Beat { seq, uptime_micros: 0, holding: vec![holding] }
}

/// Time passes in ticks of a second.
async fn pass(engine: &Engine, now: &mut i64, seconds: u64) {
    for _ in 0..seconds {
        *now += SECOND;
        engine.tick(Micros(*now)).await.unwrap();
    }
}

async fn state(engine: &Engine, grant: &Grant, job: &JobRef) -> (JobState, bool) {
    let job = engine.read_job(grant, job).await.unwrap();
    (job.state, job.silent_since_micros.is_some())
}

#[tokio::test(start_paused = true)]
async fn silence_is_shown_then_given_up_and_taken_back() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let mut now = NOW.0;
    engine.tick(NOW).await.unwrap();
    pass(&engine, &mut now, SILENT_AFTER_MILLIS / 1_000 - 1).await;
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, false));
    pass(&engine, &mut now, 1).await;
    let silent = engine.read_job(&grant, &job).await.unwrap();
    assert_eq!((silent.state, silent.silent_since_micros), (JobState::Running, Some(NOW)));

    // A beat is heard; the count begins anew.
    let mut control = engine.open_control(&grant, &job, FIRST, Micros(now)).await.unwrap();
    let wish = control.beat(beat(1, 1, Phase::Running, None), Micros(now)).await.unwrap();
    let this = AttemptRef { job: uid(1), attempt: FIRST };
    assert_eq!(wish, Wish { ack: 1, hold: vec![this], ..Wish::default() });
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, false));
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000).await;
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Lost, true));
    assert_eq!(engine.stats().live_jobs, 0);

    // Lost, but it lives after all.
    let wish = control.beat(beat(2, 1, Phase::Running, None), Micros(now)).await.unwrap();
    assert_eq!(wish.hold, [this]);
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, false));
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000).await;
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Lost);

    // Lost, and its end comes late, after the server was started again.
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    let mut control = engine.open_control(&grant, &job, FIRST, Micros(now)).await.unwrap();
    let wish = control.beat(beat(1, 1, Phase::Ended, Some(exit())), Micros(now)).await.unwrap();
    assert_eq!(wish, Wish { ack: 1, forget: vec![this], ..Wish::default() });
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Succeeded, false));
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_to_count_anew() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let mut now = NOW.0;
    engine.tick(NOW).await.unwrap();
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000 - 1).await;
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, true));
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    engine.tick(Micros(now)).await.unwrap();
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000 - 1).await;
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, true));
    pass(&engine, &mut now, 1).await;
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_makes_nobody_lost() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    for jump in [0, 3_600, -7_200, 86_400, 86_401] {
        engine.tick(Micros(NOW.0 + jump * SECOND)).await.unwrap();
    }
    assert_eq!(state(&engine, &grant, &job).await, (JobState::Running, false));
}

#[tokio::test(start_paused = true)]
async fn many_fall_silent_in_one_tick() {
    let (engine, grant, _) = engine().await;
    for seed in 1..=200 {
        running_job(&engine, &grant, seed).await;
    }
    let mut now = NOW.0;
    engine.tick(NOW).await.unwrap();
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000).await;
    assert_eq!(engine.stats().live_jobs, 0);
}

#[tokio::test(start_paused = true)]
async fn an_abort_reaches_the_runner_twice_over() {
    let (engine, grant, _) = engine().await;
    let (job, token) = running_job(&engine, &grant, 1).await;
    let attempt = engine.access(crate::Access::Token(&token)).await.unwrap();
    let mut control = engine.open_control(&attempt, &job, FIRST, NOW).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_secs(60), control.next_abort()).await;
    assert!(quiet.is_err());
    let asked = AbortJob { reason: Some("enough".into()), grace_millis: Some(7) };
    engine.abort_job(&grant, &job, asked, NOW).await.unwrap();
    let abort = control.next_abort().await.unwrap();
    let expected = Abort {
        job: uid(1),
        attempt: FIRST,
        mode: StopMode::Graceful,
        grace_millis: 7,
        reason: "enough".into(),
    };
    assert_eq!(abort, expected);
    // The hint comes once, the wish with every beat.
    assert!(tokio::time::timeout(Duration::from_secs(60), control.next_abort()).await.is_err());
    for seq in 1..3 {
        let wish = control.beat(beat(seq, 1, Phase::Ending, None), NOW).await.unwrap();
        assert_eq!(wish, Wish { ack: seq, stop: vec![expected.clone()], ..Wish::default() });
    }
    // A runner that connects again is told at once.
    let mut again = engine.open_control(&attempt, &job, FIRST, NOW).await.unwrap();
    assert!(control.next_abort().await.is_none(), "a newer connection replaces the older");
    assert_eq!(again.next_abort().await, Some(expected));
    let obeyed = Exit { aborted: true, ..exit() };
    let wish = again.beat(beat(1, 1, Phase::Ended, Some(obeyed)), NOW).await.unwrap();
    assert_eq!(wish.forget.len(), 1);
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Aborted);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_forgotten_only_once_it_is_stored() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let mut control = engine.open_control(&grant, &job, FIRST, NOW).await.unwrap();
    kv.set_full(true);
    let wish = control.beat(beat(1, 1, Phase::Ended, Some(exit())), NOW).await.unwrap();
    assert_eq!(wish, Wish { ack: 1, ..Wish::default() });
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Running);
    kv.set_full(false);
    for seq in 2..4 {
        let wish = control.beat(beat(seq, 1, Phase::Ended, Some(exit())), NOW).await.unwrap();
        assert_eq!(wish.forget.len(), 1);
    }
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_recorded_whatever_is_said_of_it() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let mut control = engine.open_control(&grant, &job, FIRST, NOW).await.unwrap();
    let chatty = Exit { reason: Some("é".repeat(100_000)), ..exit() };
    let wish = control.beat(beat(1, 1, Phase::Ended, Some(chatty)), NOW).await.unwrap();
    assert_eq!(wish.forget.len(), 1);
    let attempt = engine.read_attempt(&grant, &job, FIRST).await.unwrap();
    assert_eq!(attempt.exit.unwrap().reason.unwrap(), "é".repeat(2_048));
}

#[tokio::test(start_paused = true)]
async fn what_a_beat_may_not_speak_of_is_in_no_list() {
    let (engine, grant, _) = engine().await;
    let (job, token) = running_job(&engine, &grant, 1).await;
    let (other, _) = running_job(&engine, &grant, 2).await;
    let attempt = engine.access(crate::Access::Token(&token)).await.unwrap();
    let mut control = engine.open_control(&attempt, &job, FIRST, NOW).await.unwrap();
    for foreign in [2, 9] {
        let wish = control.beat(beat(1, foreign, Phase::Ended, Some(exit())), NOW).await.unwrap();
        assert_eq!(wish, Wish { ack: 1, ..Wish::default() });
    }
    assert_eq!(state(&engine, &grant, &other).await.0, JobState::Running);
    let unknown = engine.open_control(&grant, &job, AttemptNumber(2), NOW).await;
    assert!(matches!(unknown, Err(Refused::UnknownAttempt { .. })));
}

/// A job that was taken for lost, and deleted, lives after all: nobody ends its program, and a restored job tells its end.
#[tokio::test(start_paused = true)]
async fn a_deleted_job_that_lives_runs_on() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let mut control = engine.open_control(&grant, &job, FIRST, NOW).await.unwrap();
    let mut now = NOW.0;
    engine.tick(NOW).await.unwrap();
    pass(&engine, &mut now, LOST_AFTER_MILLIS / 1_000).await;
    assert_eq!(state(&engine, &grant, &job).await.0, JobState::Lost);
    engine.delete_job(&grant, &job, DeleteQuery::default(), Micros(now)).await.unwrap();
    for (seq, phase) in [(1, Phase::Preparing), (2, Phase::Running), (3, Phase::Ending)] {
        let wish = control.beat(beat(seq, 1, phase, None), Micros(now)).await.unwrap();
        assert_eq!(wish, Wish { ack: seq, ..Wish::default() });
    }
    let wish = control.beat(beat(4, 1, Phase::Ended, Some(exit())), Micros(now)).await.unwrap();
    let this = AttemptRef { job: uid(1), attempt: FIRST };
    assert_eq!(wish, Wish { ack: 4, forget: vec![this], ..Wish::default() });
    let late = engine.end_attempt(&grant, &job, FIRST, exit(), Micros(now)).await;
    assert!(matches!(late, Err(Refused::JobDeleted { .. })), "{late:?}");
    let restored = engine.restore_job(&grant, &job, Micros(now)).await.unwrap();
    assert_eq!(restored.state, JobState::Succeeded);
}
