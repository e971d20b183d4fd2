//! What time alone does: one thing that fails keeps nothing else from being done, and what has just come here is not old.

use neptune_wire::job::{ClaimJob, Exit, ExitKind, History};

use super::*;

async fn hidden_jobs(engine: &Engine, grant: &Grant) -> Vec<JobRef> {
    let mut jobs = Vec::new();
    for seed in [1, 2] {
        let job = ended_job(engine, grant, seed, &[b"a"], b"png").await;
        delete(engine, grant, &job, false).await.unwrap();
        jobs.push(job);
    }
    jobs
}

fn keep_last(count: u32) -> Retention {
    Retention { rules: vec![RetentionRule { keep_last: Some(count), ..RetentionRule::default() }] }
}

fn older_than(days: u32) -> Retention {
    Retention { rules: vec![RetentionRule { older_than_days: Some(days), ..RetentionRule::default() }] }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_keeps_nothing_else_from_being_done() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    hidden_jobs(&engine, &grant).await;
    ended_job(&engine, &grant, 3, &[b"a"], b"png").await;
    engine.replace_retention(&grant, &project().key, keep_last(0)).await.unwrap();
    // Both begin; the first range of the one that is first cannot be cleared.
    data.kv.script([Trouble::None, Trouble::None].into_iter().chain([Trouble::Busy; 10]));
    let failed = engine.core.do_chores(LATER).await;
    assert!(matches!(failed, Err(Refused::Busy)), "{failed:?}");
    assert_eq!(engine.stats().removed_jobs, 1);
    assert_eq!(listed(&engine, &grant, true).await, 1, "the rule was looked at");
    // It is not tried at once again.
    engine.core.do_chores(LATER).await.unwrap();
    assert_eq!(engine.stats().removed_jobs, 1);
    engine.core.do_chores(Micros(LATER.0 + 1_000_000)).await.unwrap();
    assert_eq!(engine.stats().removed_jobs, 2);
    assert_eq!(data.check().await.removing, 0);
}

#[tokio::test]
async fn the_collector_looks_soon_after_a_start() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let lone = digest_from_bytes(b"lone");
    engine.put_blob(&grant, &project().key, &lone, blob_from_bytes("lone"), NOW).await.unwrap();
    let minutes = |minutes: i64| Micros(NOW.0 + minutes * 60 * 1_000_000);
    for (start, unneeded) in [(0, 1), (60, 1), (8 * 24 * 60, 0)] {
        let (engine, _) = data.open().await;
        engine.core.do_chores(minutes(start)).await.unwrap();
        engine.core.do_chores(minutes(start + 9)).await.unwrap();
        assert_eq!(engine.core.life.last_collect.load(Ordering::Relaxed), minutes(start - 350).0);
        engine.core.do_chores(minutes(start + 10)).await.unwrap();
        assert_eq!(data.check().await.unneeded, unneeded, "{start}");
    }
    assert_eq!(data.files().await, 0);
}

#[tokio::test]
async fn rules_read_nothing_of_what_jobs_produced_and_pass_over_one_that_fails() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    for seed in 1..=3 {
        ended_job(&engine, &grant, seed, &[b"a"], b"picture").await;
    }
    engine.replace_retention(&grant, &project().key, keep_last(0)).await.unwrap();
    let (engine, grant) = data.open().await;
    let mut leftovers = engine.core.registry.table.leftovers.subscribe();
    leftovers.wait_for(|all| *all == Some(true)).await.unwrap();
    // What the table has not heard of stays in memory.
    engine.core.registry.table.take_in();
    engine.core.registry.forget_idle(NOW);
    engine.core.registry.forget_idle(LATER);
    data.kv.script([Trouble::TooLarge]);
    engine.core.do_chores(NOW).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 2);
    assert_eq!(engine.stats().channels, 0);
    engine.core.do_chores(Micros(NOW.0 + RETENTION_EVERY_MICROS)).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 3);
    assert_eq!(engine.stats().channels, 0);
}

/// A job that was made, ran and ended long ago, and is told of now, is no older here than that.
#[tokio::test]
async fn what_comes_late_is_not_old() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let days = |days: i64| Micros(NOW.0 + days * DAY_MICROS);
    let ended =
        Exit { how: ExitKind::Code { code: 0 }, ended_micros: days(-40), aborted: false, reason: None };
    // From a spool; and one whose end alone was told of late.
    let spooled = CreateJob { created_micros: Some(days(-41)), ..create_job(1) };
    let spooled = JobRef::Uid(engine.create_job(&grant, spooled, uid(0), NOW).await.unwrap().uid);
    let history = Some(History { started_micros: days(-41), exit: ended.clone() });
    engine.claim_job(&grant, &spooled, ClaimJob { history, ..claim(1) }, NOW).await.unwrap();
    let registered = CreateJob { created_micros: Some(days(-41)), ..create_job(2) };
    let registered = JobRef::Uid(engine.create_job(&grant, registered, uid(0), days(-41)).await.unwrap().uid);
    engine.claim_job(&grant, &registered, claim(2), days(-41)).await.unwrap();
    engine.end_attempt(&grant, &registered, FIRST, ended, NOW).await.unwrap();
    let only_made = CreateJob { created_micros: Some(days(-41)), ..create_job(3) };
    engine.create_job(&grant, only_made, uid(0), NOW).await.unwrap();
    let mut rules = older_than(30);
    rules
        .rules
        .push(RetentionRule { states: vec![neptune_wire::JobState::Created], ..rules.rules[0].clone() });
    engine.replace_retention(&grant, &project().key, rules).await.unwrap();
    let (engine, grant) = data.open().await;
    engine.core.do_chores(days(29)).await.unwrap();
    assert_eq!((listed(&engine, &grant, false).await, listed(&engine, &grant, true).await), (3, 0));
    engine.core.do_chores(days(30)).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 3);
    data.check().await;
}
