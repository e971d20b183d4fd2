//! Taking in jobs beside those that are here, and what rules of retention make of them.

use neptune_store::blob::{blob_from_bytes, digest_from_bytes};
use neptune_wire::frame::{FrameBuilder, ImageRecord};
use neptune_wire::job::JobsQuery;
use neptune_wire::query::{PointsQuery, TextQuery};
use neptune_wire::table::JobsAnswer;
use neptune_wire::{ChannelKind, ChannelOrigin, CreateChannel, JobId, Retention, RetentionRule};

use super::*;
use crate::engine::DAY_MICROS;
use crate::testing::*;

const LONG_AGO: Micros = Micros(NOW.0 - 100 * DAY_MICROS);

/// A job as another server exported it: it ended long ago.
fn exported(seed: u8, number: u64) -> ImportJob {
    let key = project().key;
    let job = serde_json::json!({
        "id": JobId { project: key.clone(), number }, "uid": uid(seed), "project": key,
        "name": format!("job {seed}"), "state": "succeeded",
        "created_micros": LONG_AGO.0 - 5, "ended_micros": LONG_AGO,
    });
    ImportJob {
        job: serde_json::from_value(job).unwrap(),
        attempts: vec![],
        channels: vec![CreateChannel {
            name: name("text"),
            kind: ChannelKind::Text,
            origin: ChannelOrigin::User,
        }],
        first_channel: 0,
        charts: vec![],
    }
}

async fn import(engine: &Engine, grant: &Grant, retention: Retention, now: Micros) {
    let created = engine.create_project(grant, project(), now).await.unwrap();
    let other = Project { key: "OTHER".parse().unwrap(), ..created };
    engine.import_project(grant, ImportProject { project: other, retention }).await.unwrap();
}

fn of_other(seed: u8, number: u64) -> ImportJob {
    let mut import = exported(seed, number);
    import.job.project = "OTHER".parse().unwrap();
    import.job.id.project = import.job.project.clone();
    import
}

async fn deleted(engine: &Engine, grant: &Grant) -> u64 {
    let query = JobsQuery { deleted: Some(true), ..JobsQuery::default() };
    match engine.list_jobs(grant, &query, NOW).await.unwrap() {
        JobsAnswer::Jobs(page) => page.total,
        other => panic!("jobs were asked for: {other:?}"),
    }
}

/// A request of so many frames, each with one short text.
fn frames(count: u64) -> Bytes {
    let mut bytes = Vec::new();
    for seq in 1..=count {
        let mut frame = FrameBuilder::new(DIRECT, seq);
        assert!(frame.push_text(0, seq as f64, NOW.0, "t", false));
        let frame = frame.finish();
        bytes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&frame);
    }
    bytes.into()
}

/// A request of one frame.
fn one(frame: Bytes) -> Bytes {
    let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&frame);
    bytes.into()
}

/// Frames that go on wherever the job's points end.
fn request(key: &str, bytes: Bytes) -> ImportFrames<'_> {
    ImportFrames { key, behind: None, bytes }
}

#[tokio::test]
async fn a_number_that_leaves_no_room_is_refused_and_the_last_one_ends_the_count() {
    let (engine, grant, _) = engine().await;
    let first = created_job(&engine, &grant, 1).await;
    for number in [JOB_NUMBER_MAX + 1, u64::MAX] {
        let refused = engine.import_job(&grant, exported(2, number), NOW).await.unwrap_err();
        let wanted = "job.id: must be of the job's project, with a number from 1 to 9007199254740991";
        assert_eq!(refused.to_string(), wanted, "{number}");
    }
    let last = engine.import_job(&grant, exported(2, JOB_NUMBER_MAX), NOW).await.unwrap();
    assert_eq!(last.id.number, JOB_NUMBER_MAX);
    let full = engine.create_job(&grant, create_job(3), uid(0), NOW).await;
    assert!(matches!(full, Err(Refused::TooLarge { limit: JOB_NUMBER_MAX, .. })), "{full:?}");
    // Its number is taken.
    let full = engine.import_job(&grant, exported(4, 1), NOW).await;
    assert!(matches!(full, Err(Refused::TooLarge { limit: JOB_NUMBER_MAX, .. })), "{full:?}");
    assert_eq!(engine.read_job(&grant, &JobRef::Id(first.id.clone())).await.unwrap(), first);
    assert_eq!(engine.import_job(&grant, exported(5, 2), NOW).await.unwrap().id.number, 2);
}

#[tokio::test]
async fn a_job_that_was_made_here_is_told_from_one_that_is_taken() {
    let (engine, grant, _) = engine().await;
    let made = created_job(&engine, &grant, 1).await;
    let refused = engine.import_job(&grant, exported(1, 1), NOW).await;
    assert!(matches!(&refused, Err(Refused::MadeHere { job }) if *job == made.id), "{refused:?}");
    engine.import_job(&grant, exported(2, 2), NOW).await.unwrap();
    let mut another = exported(2, 2);
    another.job.name = "another".into();
    let refused = engine.import_job(&grant, another, NOW).await;
    assert!(matches!(refused, Err(Refused::Taken { .. })), "{refused:?}");
    let job = JobRef::Uid(uid(2));
    engine.import_frames(&grant, &job, request("k", frames(1)), NOW).await.unwrap();
    let refused = engine.import_frames(&grant, &job, request("k", frames(2)), NOW).await;
    assert!(matches!(refused, Err(Refused::Taken { .. })), "{refused:?}");
}

/// Two imports of one job at once: what both bring is stored once, whatever keys they take, and a log is in nobody's way.
#[tokio::test]
async fn frames_go_on_where_the_points_end_or_are_refused() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let mut import = exported(1, 1);
    let log =
        CreateChannel { name: name("sys/stdout"), kind: ChannelKind::Text, origin: ChannelOrigin::Stdout };
    let loss = CreateChannel { name: name("loss"), kind: ChannelKind::Numeric, ..import.channels[0].clone() };
    import.channels.extend([log, loss]);
    engine.import_job(&grant, import, NOW).await.unwrap();
    let job = &JobRef::Uid(uid(1));
    let send = async |key, behind, bytes| {
        let import = ImportFrames { key, behind: Some(behind), bytes };
        engine.import_frames(&grant, job, import, NOW).await
    };
    let stored = |points| Appended { points, repeated: false };
    assert_eq!(send("a-1", 0, frames(3)).await.unwrap(), stored(3));
    let line = one(crate::testing::log(DIRECT, 1, 1, 0, b"a line\n"));
    assert_eq!(send("a-2", 3, line).await.unwrap(), stored(1));
    assert_eq!(
        send("a-3", 3, one(numbers(DIRECT, 1, 2, &[(1.0, 2.0), (2.0, 3.0)]))).await.unwrap(),
        stored(2)
    );
    // Another one began when there were 3, or will when there are 6.
    for behind in [3, 6] {
        let refused = send("b-1", behind, one(numbers(DIRECT, 1, 2, &[(1.0, 2.0)]))).await.unwrap_err();
        assert!(matches!(refused, Refused::CountDiffers { found: 5, .. }), "{refused:?}");
    }
    // What is stored was answered already, wherever the points end now.
    assert_eq!(send("a-1", 0, frames(3)).await.unwrap(), Appended { points: 3, repeated: true });
    assert_eq!(send("b-1", 5, one(numbers(DIRECT, 1, 2, &[(3.0, 4.0)]))).await.unwrap(), stored(1));
    let points = engine.read_points(&grant, job, &name("loss"), &PointsQuery::default()).await.unwrap();
    assert_eq!(points.x, [1.0, 2.0, 3.0]);
}

/// An image whose file went between its upload and the frame that names it: not acknowledged, and the same request is taken
/// once it is there again.
#[tokio::test]
async fn frames_are_refused_while_an_image_is_not_there() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let mut import = exported(1, 1);
    import.channels[0].kind = ChannelKind::Image;
    engine.import_job(&grant, import, NOW).await.unwrap();
    let job = &JobRef::Uid(uid(1));
    let mut frame = FrameBuilder::new(DIRECT, 1);
    let digest = digest_from_bytes(b"png");
    let image = ImageRecord {
        x: 1.0,
        time: NOW.0,
        name: "n".into(),
        description: String::new(),
        width: 1,
        height: 1,
        size_bytes: 3,
        digest,
    };
    assert!(frame.push_image(0, &image));
    let bytes = one(frame.finish().into());
    let send = async || engine.import_frames(&grant, job, request("k", bytes.clone()), NOW).await;
    let refused = send().await.unwrap_err();
    assert!(matches!(refused, Refused::UnknownBlob { digest: found } if found == digest), "{refused:?}");
    assert_eq!(engine.list_channels(&grant, job).await.unwrap()[0].summary.count, 0);
    engine.put_blob(&grant, &project().key, &digest, blob_from_bytes(&b"png"[..]), NOW).await.unwrap();
    assert_eq!(send().await.unwrap(), Appended { points: 1, repeated: false });
    engine.open_image(&grant, job, &name("text"), 0).await.unwrap();
}

#[tokio::test]
async fn more_frames_than_one_commit_holds_are_refused_at_once() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    engine.import_job(&grant, exported(1, 1), NOW).await.unwrap();
    let job = JobRef::Uid(uid(1));
    let refused = engine.import_frames(&grant, &job, request("many", frames(999)), NOW).await;
    assert!(matches!(refused, Err(Refused::TooLarge { limit: 998, .. })), "{refused:?}");
    let stored = engine.import_frames(&grant, &job, request("fit", frames(998)), NOW).await.unwrap();
    assert_eq!(stored, Appended { points: 998, repeated: false });
    let lines = engine.read_text(&grant, &job, &name("text"), &TextQuery::default()).await.unwrap();
    assert_eq!(lines.total, 998);
}

/// Whatever else one request may come to that no commit holds: it is told so, not that it may try again.
#[tokio::test]
async fn what_no_commit_holds_is_not_called_busy() {
    let (engine, grant, kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    engine.import_job(&grant, exported(1, 1), NOW).await.unwrap();
    kv.script([Trouble::TooLarge]);
    let refused = engine.import_frames(&grant, &JobRef::Uid(uid(1)), request("k", frames(1)), NOW).await;
    assert!(matches!(refused, Err(Refused::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_archive_is_not_deleted_by_the_rules_it_brings() {
    let (engine, grant, _) = engine().await;
    let rule = RetentionRule { older_than_days: Some(30), ..RetentionRule::default() };
    let few = RetentionRule { keep_last: Some(1), ..RetentionRule::default() };
    import(&engine, &grant, Retention { rules: vec![rule, few] }, NOW).await;
    let minutes = |minutes: i64| Micros(NOW.0 + minutes * 60 * 1_000_000);
    engine.import_job(&grant, of_other(1, 7), NOW).await.unwrap();
    engine.import_job(&grant, of_other(2, 8), minutes(5)).await.unwrap();
    engine.core.do_chores(minutes(6)).await.unwrap();
    assert_eq!(deleted(&engine, &grant).await, 0, "an import is under way");
    engine.import_frames(&grant, &JobRef::Uid(uid(1)), request("k", frames(1)), minutes(12)).await.unwrap();
    engine.core.do_chores(minutes(18)).await.unwrap();
    assert_eq!(deleted(&engine, &grant).await, 0, "an import is under way");
    // Now the rule that names no age.
    engine.core.do_chores(minutes(40)).await.unwrap();
    assert_eq!(deleted(&engine, &grant).await, 1);
    engine.core.do_chores(Micros(NOW.0 + 29 * DAY_MICROS)).await.unwrap();
    assert_eq!(deleted(&engine, &grant).await, 1);
    engine.core.do_chores(Micros(minutes(5).0 + 30 * DAY_MICROS)).await.unwrap();
    assert_eq!(engine.stats().jobs, 2);
    assert_eq!(deleted(&engine, &grant).await, 2);
}
