//! Deleting, restoring, removing with a crash at every write, collecting.

use std::collections::BTreeSet;

use neptune_store::Blobs;
use neptune_store::blob::{blob_from_bytes, digest_from_bytes};
use neptune_store::kv::{Family, KeyRange, KvRead, Scan};
use neptune_wire::frame::{FrameBuilder, ImageRecord};
use neptune_wire::job::{AbortJob, JobsQuery, PatchJob};
use neptune_wire::life::{DeleteQuery, DeleteReceipt, KeptWhy};
use neptune_wire::query::{ImagesQuery, PointsQuery};
use neptune_wire::snapshot::{File, Manifest};
use neptune_wire::table::JobsAnswer;
use neptune_wire::{ChannelKind, CreateJob, JobRef, RetentionRule};

use super::*;
use crate::testing::*;
use crate::{Engine, Grant, IngestEvent};

mod chores;
mod damage;
mod races;

const LATER: Micros = Micros(NOW.0 + 100 * DAY_MICROS);

/// A server's data: what a process that died leaves.
#[derive(Clone)]
struct Data {
    kv: TroubledKv,
    blobs: Blobs,
}

impl Data {
    fn new() -> Data {
        Data { kv: TroubledKv::default(), blobs: Blobs::in_memory() }
    }

    async fn open(&self) -> (Engine, Grant) {
        let store = Store::open(Arc::new(self.kv.clone()), [7; 32]).await.unwrap();
        let engine = Engine::open(store, self.blobs.clone()).await.unwrap();
        let grant = everything(&engine).await;
        (engine, grant)
    }

    /// Keys of everything, tokens among them.
    async fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for family in Family::ALL {
            let mut next = Some(KeyRange::all(family));
            while let Some(range) = next {
                let page = self.kv.scan(Scan::ascending(range)).await.unwrap();
                keys.extend(page.rows.iter().map(|(key, _)| format!("{family:?} {}", key.escape_ascii())));
                next = page.rest;
            }
        }
        keys
    }

    async fn check(&self) -> neptune_store::Checked {
        let store = Store::open(Arc::new(self.kv.clone()), [7; 32]).await.unwrap();
        let mut told = Vec::new();
        let checked = store.check(&self.blobs, &mut |damage| told.push(damage.to_string())).await;
        assert_eq!(told, Vec::<String>::new());
        checked
    }

    async fn files(&self) -> usize {
        use futures::StreamExt as _;
        self.blobs.list().collect::<Vec<_>>().await.len()
    }
}

/// Uploads files and registers them as a snapshot.
async fn snapshot(engine: &Engine, grant: &Grant, files: &[&'static [u8]]) -> Digest {
    let key = project().key;
    let mut manifest = Manifest { files: vec![] };
    for (at, bytes) in files.iter().enumerate() {
        let digest = digest_from_bytes(bytes);
        engine.put_blob(grant, &key, &digest, blob_from_bytes(*bytes), NOW).await.unwrap();
        let file = serde_json::json!({
            "path": format!("{at}.py"), "digest": digest, "size_bytes": bytes.len(), "mode": "file",
        });
        manifest.files.push(serde_json::from_value::<File>(file).unwrap());
    }
    let receipt = engine.create_snapshot(grant, &key, manifest, NOW).await.unwrap();
    assert!(receipt.missing.is_empty());
    receipt.snapshot
}

/// A job that ran: 3 points of one channel, an image, a chartless end.
async fn ended_job(
    engine: &Engine,
    grant: &Grant,
    seed: u8,
    files: &[&'static [u8]],
    image: &'static [u8],
) -> JobRef {
    engine.create_project(grant, project(), NOW).await.unwrap();
    let snapshot = snapshot(engine, grant, files).await;
    let create = CreateJob { snapshot: Some(snapshot), ..create_job(seed) };
    let job = JobRef::Uid(engine.create_job(grant, create, uid(0), NOW).await.unwrap().uid);
    engine.claim_job(grant, &job, claim(seed), NOW).await.unwrap();
    let digest = digest_from_bytes(image);
    engine.put_blob(grant, &project().key, &digest, blob_from_bytes(image), NOW).await.unwrap();
    let channels = vec![channel(0, "loss", ChannelKind::Numeric), channel(1, "pictures", ChannelKind::Image)];
    let id = session(seed);
    let (mut sink, mut events, _) = writer(engine, grant, &job, id, channels).await;
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 2.0), (2.0, 3.0), (3.0, f64::NAN)]), NOW).await;
    let mut frame = FrameBuilder::new(id, 2);
    assert!(frame.push_image(1, &image_record(digest, image.len() as u64)));
    sink.submit_frame(frame.finish().into(), NOW).await;
    acked(&mut events, id, 2).await;
    end(engine, grant, &job).await;
    job
}

fn image_record(digest: Digest, size_bytes: u64) -> ImageRecord {
    ImageRecord {
        x: 1.0,
        time: NOW.0,
        name: "n".into(),
        description: String::new(),
        width: 1,
        height: 1,
        size_bytes,
        digest,
    }
}

async fn end(engine: &Engine, grant: &Grant, job: &JobRef) {
    let exit = serde_json::json!({ "how": { "kind": "code", "code": 0 }, "ended_micros": NOW.0 + 5 });
    let exit = serde_json::from_value(exit).unwrap();
    engine.end_attempt(grant, job, FIRST, exit, NOW).await.unwrap();
}

async fn delete(engine: &Engine, grant: &Grant, job: &JobRef, now: bool) -> Result<DeleteReceipt, Refused> {
    engine.delete_job(grant, job, DeleteQuery { now, reason: None }, NOW).await
}

async fn listed(engine: &Engine, grant: &Grant, deleted: bool) -> u64 {
    let query = JobsQuery { deleted: Some(deleted), ..JobsQuery::default() };
    match engine.list_jobs(grant, &query, NOW).await.unwrap() {
        JobsAnswer::Jobs(page) => page.total,
        other => panic!("jobs were asked for: {other:?}"),
    }
}

#[track_caller]
fn is_deleted<T: std::fmt::Debug>(outcome: Result<T, Refused>) {
    assert!(matches!(outcome, Err(Refused::JobDeleted { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_deleted_job_is_hidden_takes_no_writes_and_comes_back() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"a"], b"png").await;
    let before = engine.read_job(&grant, &job).await.unwrap();
    let receipt = delete(&engine, &grant, &job, false).await.unwrap();
    assert_eq!((receipt.channels, receipt.points, receipt.removed), (2, 4, Default::default()));
    let until = Micros(NOW.0 + 30 * DAY_MICROS);
    assert_eq!(receipt.restorable_until_micros, Some(until));
    // Again: the first deletion stands.
    let again = engine.delete_job(&grant, &job, DeleteQuery::default(), LATER).await.unwrap();
    assert_eq!(again, receipt);
    let check = |engine: Engine, grant: Grant, job: JobRef| async move {
        assert_eq!((listed(&engine, &grant, false).await, listed(&engine, &grant, true).await), (0, 1));
        assert_eq!(engine.read_project(&grant, &project().key).await.unwrap().jobs, 0);
        let deleted = engine.read_job(&grant, &job).await.unwrap().deleted.unwrap();
        assert_eq!((deleted.until_micros, deleted.reason.as_str()), (until, "on request"));
        // What it produced is still there to look at.
        let points = engine.read_points(&grant, &job, &name("loss"), &PointsQuery::default()).await.unwrap();
        assert_eq!(points.y.len(), 3);
        let patch = PatchJob { name: Some("x".into()), ..PatchJob::default() };
        is_deleted(engine.patch_job(&grant, &job, patch, NOW).await);
        let points = [(name("loss"), vec![])].into();
        is_deleted(engine.append_points(&grant, &job, "k", points, NOW).await);
        is_deleted(engine.abort_job(&grant, &job, AbortJob::default(), NOW).await);
        let (mut sink, _events) = engine.open_ingest(&grant);
        is_deleted(sink.open_session(session(1), &job, FIRST, NOW).await);
    };
    check(engine.clone(), grant.clone(), job.clone()).await;
    // A start changes nothing of it.
    let (engine, grant) = data.open().await;
    check(engine.clone(), grant.clone(), job.clone()).await;
    let restored = engine.restore_job(&grant, &job, NOW).await.unwrap();
    assert_eq!(restored, before);
    assert_eq!(listed(&engine, &grant, false).await, 1);
    assert_eq!(engine.read_project(&grant, &project().key).await.unwrap().jobs, 1);
    data.check().await;
}

#[tokio::test]
async fn a_job_that_runs_is_not_deleted() {
    let (engine, grant, _) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    for now in [false, true] {
        let refused = delete(&engine, &grant, &job, now).await;
        assert!(matches!(refused, Err(Refused::State { .. })), "{refused:?}");
    }
    let created = created_job(&engine, &grant, 2).await;
    delete(&engine, &grant, &JobRef::Uid(created.uid), true).await.unwrap();
}

#[tokio::test]
async fn a_receipt_says_what_went_and_what_somebody_needs() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let other = ended_job(&engine, &grant, 2, &[b"shared", b"others"], b"same picture").await;
    let before = data.keys().await;
    let files = data.files().await;
    let job = ended_job(&engine, &grant, 1, &[b"shared", b"mine!"], b"picture").await;
    let id = engine.read_job(&grant, &job).await.unwrap().id;
    let receipt = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!(receipt.restorable_until_micros, None);
    assert_eq!((receipt.channels, receipt.points), (2, 4));
    // Channels, session, its bindings, two frames.
    assert_eq!(receipt.removed.records, 6);
    // A file, a picture, the manifest.
    assert_eq!(receipt.removed.blobs, 3);
    assert_eq!(receipt.freed_bytes, receipt.removed.record_bytes + receipt.removed.blob_bytes);
    assert_eq!(receipt.kept.len(), 1);
    assert_eq!(
        (receipt.kept[0].why, receipt.kept[0].blobs, receipt.kept[0].blob_bytes),
        (KeptWhy::OtherJob, 1, 6)
    );
    assert_eq!((data.keys().await, data.files().await), (before, files));
    for job in [JobRef::Id(id.clone()), job] {
        let gone = engine.read_job(&grant, &job).await;
        assert!(
            matches!(
                (&job, &gone),
                (JobRef::Id(_), Err(Refused::JobGone { .. }))
                    | (JobRef::Uid(_), Err(Refused::UnknownJob { .. }))
            ),
            "{gone:?}"
        );
    }
    assert_eq!(
        engine.read_images(&grant, &other, &name("pictures"), &ImagesQuery::default()).await.unwrap().total,
        1
    );
    assert_eq!(engine.stats().removed_jobs, 1);
    data.check().await;
}

#[tokio::test]
async fn a_blob_that_somebody_asked_for_since_stays_for_the_collector() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let used = digest_from_bytes(b"mine");
    engine.put_blob(&grant, &project().key, &used, blob_from_bytes("mine"), LATER).await.unwrap();
    let receipt = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!((receipt.kept.len(), receipt.kept[0].why, receipt.kept[0].blobs), (1, KeptWhy::Upload, 1));
    assert!(engine.has_blob(&grant, &project().key, &used).await.unwrap());
}

/// The process dies before and after each write of a removal; the next one finishes it, and takes nothing else along.
#[tokio::test(start_paused = true)]
async fn a_removal_that_is_cut_off_anywhere_is_finished_by_the_next_start() {
    let mut deaths = 0;
    'writes: for write in 0.. {
        for death in [Trouble::DiesBefore, Trouble::DiesAfter] {
            let data = Data::new();
            let (engine, grant) = data.open().await;
            ended_job(&engine, &grant, 2, &[b"shared"], b"same picture").await;
            seal(&engine, 2).await;
            let before = data.keys().await;
            let job = ended_job(&engine, &grant, 1, &[b"shared", b"mine"], b"picture").await;
            seal(&engine, 1).await;
            data.kv.script(std::iter::repeat_n(Trouble::None, write).chain([death]));
            let deleted = tokio::select! {
                deleted = delete(&engine, &grant, &job, true) => Some(deleted.unwrap()),
                () = data.kv.death() => None,
            };
            if deleted.is_some() {
                break 'writes;
            }
            deaths += 1;
            let data = Data { kv: data.kv.reborn(), blobs: data.blobs };
            data.check().await;
            let (engine, grant) = data.open().await;
            engine.core.do_chores(NOW).await.unwrap();
            if write == 0 && death == Trouble::DiesBefore {
                assert_eq!(engine.read_job(&grant, &job).await.unwrap().uid, uid(1));
                continue;
            }
            let gone = engine.read_job(&grant, &job).await;
            assert!(matches!(gone, Err(Refused::UnknownJob { .. })), "{gone:?}");
            // Blobs are the collector's now: it marks, lets go of a snapshot after the grace, and then of its files.
            for days in [0, 100, 200] {
                engine.collect(&grant, Micros(NOW.0 + days * DAY_MICROS)).await.unwrap();
            }
            assert_eq!(data.keys().await, before, "{death:?} at write {write}");
            let checked = data.check().await;
            assert_eq!((checked.leftovers, checked.unneeded, checked.removing), (0, 0, 0));
        }
    }
    // The tombstone, thirteen ranges, the attempt, the rest, the snapshot, the blobs: each twice.
    assert_eq!(deaths, 2 * 18);
}

/// All that is open of a job goes into chunks.
async fn seal(engine: &Engine, seed: u8) {
    let cell = engine.core.registry.find_uid(&uid(seed)).unwrap();
    let heads = cell.heads(&engine.core).await.unwrap();
    engine.core.seal_job(&heads).await.unwrap();
}

/// A job that ended with more points than one chunk and one node of the pyramid hold.
async fn numeric_job(engine: &Engine, grant: &Grant, seed: u8) -> JobRef {
    let (job, _) = running_job(engine, grant, seed).await;
    let id = session(seed);
    let channels = vec![channel(0, "loss", ChannelKind::Numeric)];
    let (mut sink, mut events, _) = writer(engine, grant, &job, id, channels).await;
    let points: Vec<(f64, f64)> = (0..5_000).map(|at| (f64::from(at), f64::from(at).sin())).collect();
    for (seq, part) in (1..).zip(points.chunks(2_500)) {
        sink.submit_frame(numbers(id, seq, 0, part), NOW).await;
    }
    acked(&mut events, id, 2).await;
    end(engine, grant, &job).await;
    job
}

#[tokio::test]
async fn chunks_and_pages_go_with_their_job() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let before = data.keys().await;
    let job = numeric_job(&engine, &grant, 1).await;
    seal(&engine, 1).await;
    let points = engine.read_points(&grant, &job, &name("loss"), &PointsQuery::default()).await.unwrap();
    assert_eq!(points.y.len(), 5_000);
    let checked = data.check().await;
    assert_eq!((checked.frames, checked.chunks, checked.pages > 0), (0, 2, true));
    let receipt = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!(receipt.points, 5_000);
    // Channel, session, its bindings, how far it is sealed, what is sealed of the channel.
    assert_eq!(receipt.removed.records, 5 + checked.chunks + checked.pages);
    assert!(receipt.removed.record_bytes > 5_000, "{receipt:?}");
    assert_eq!(receipt.freed_bytes, receipt.removed.record_bytes);
    assert_eq!(data.keys().await, before);
    // The uid is free again, and nothing is left of the job before in any memory.
    numeric_job(&engine, &grant, 1).await;
    let points = engine.read_points(&grant, &job, &name("loss"), &PointsQuery::default()).await.unwrap();
    assert_eq!(points.y.len(), 5_000);
    assert_eq!(listed(&engine, &grant, false).await, 1);
}

/// A round that is about to commit when its job is removed: whether it seals for the job's heads as they are, or for such
/// that were let go of meanwhile, nothing of it is there afterwards.
#[tokio::test]
async fn a_removal_waits_for_the_round_that_is_under_way() {
    for let_go in [false, true] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        engine.create_project(&grant, project(), NOW).await.unwrap();
        let before = data.keys().await;
        let job = numeric_job(&engine, &grant, 1).await;
        let cell = engine.core.registry.find_uid(&uid(1)).unwrap();
        let heads = cell.heads(&engine.core).await.unwrap();
        data.kv.script([Trouble::Waits]);
        let (core, sealed) = (engine.core.clone(), heads.clone());
        let round = tokio::spawn(async move { core.seal_job(&sealed).await });
        data.kv.held().await;
        if let_go {
            heads.make_stale();
            engine.core.sealer.drop_stale(&heads);
            cell.forget_heads(&heads);
        }
        let (asker, may) = (engine.clone(), grant.clone());
        let removal = tokio::spawn(async move { delete(&asker, &may, &job, true).await });
        while !cell.is_gone() {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!removal.is_finished());
        data.kv.release();
        // The round was first, or it has met the end of the job; either will do.
        let _ = round.await.unwrap();
        removal.await.unwrap().unwrap();
        // Whoever comes late with the same heads seals nothing.
        engine.core.seal_job(&heads).await.unwrap();
        assert_eq!(data.keys().await, before, "let go: {let_go}");
        drop(heads);
        assert_eq!((engine.stats().open_points, engine.stats().unsealed_bytes), (0, 0));
    }
}

/// Jobs are written and sealed at once, round after round, while they are removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn jobs_go_while_they_are_written_and_sealed() {
    let data = Data::new();
    let store = Store::open(Arc::new(data.kv.clone()), [7; 32]).await.unwrap();
    let times = Times { seal_after_micros: 0, ..Times::default() };
    let engine = Engine::open_with(store, data.blobs.clone(), times).await.unwrap();
    let grant = everything(&engine).await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let before = data.keys().await;
    for seed in 1..=20 {
        let job = JobRef::Uid(created_job(&engine, &grant, seed).await.uid);
        let create = serde_json::json!({ "name": "loss", "kind": "numeric" });
        engine.create_channel(&grant, &job, serde_json::from_value(create).unwrap(), NOW).await.unwrap();
        let (sender, may, to) = (engine.clone(), grant.clone(), job.clone());
        let (told, mut stored) = tokio::sync::watch::channel(0);
        let sending = tokio::spawn(async move {
            for number in 0.. {
                let point = serde_json::json!([number, 0.5]);
                let points = [(name("loss"), vec![serde_json::from_value(point).unwrap()])].into();
                let sent = sender.append_points(&may, &to, &format!("{number}"), points, NOW).await;
                match sent {
                    Ok(_) => drop(told.send_replace(number)),
                    Err(Refused::Busy) => {}
                    Err(refused) => return refused,
                }
            }
            unreachable!("the job is removed some time")
        });
        stored.wait_for(|number| *number >= 3 * i64::from(seed)).await.unwrap();
        delete(&engine, &grant, &job, true).await.unwrap();
        let refused = sending.await.unwrap();
        assert!(
            matches!(
                refused,
                Refused::UnknownJob { .. } | Refused::JobGone { .. } | Refused::JobDeleted { .. }
            ),
            "{refused:?}"
        );
        engine.core.sealer.round_ended().await;
        assert_eq!(data.keys().await, before, "job {seed}");
    }
    data.check().await;
}

#[tokio::test]
async fn time_removes_what_was_not_restored() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"a"], b"png").await;
    delete(&engine, &grant, &job, false).await.unwrap();
    engine.core.do_chores(Micros(NOW.0 + 30 * DAY_MICROS - 1)).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 1);
    engine.core.do_chores(Micros(NOW.0 + 30 * DAY_MICROS)).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 0);
    let gone = engine.restore_job(&grant, &job, LATER).await;
    assert!(matches!(gone, Err(Refused::UnknownJob { .. })), "{gone:?}");
    data.check().await;
}

#[tokio::test]
async fn frames_of_an_open_session_are_refused_once_the_job_is_deleted() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let channels = vec![channel(0, "loss", ChannelKind::Numeric)];
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, channels).await;
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 2.0)]), NOW).await;
    acked(&mut events, id, 1).await;
    end(&engine, &grant, &job).await;
    delete(&engine, &grant, &job, false).await.unwrap();
    sink.submit_frame(numbers(id, 2, 0, &[(2.0, 2.0)]), NOW).await;
    let event = events.next().await.unwrap();
    assert!(matches!(event, IngestEvent::Trouble { why: Refused::JobDeleted { .. }, .. }), "{event:?}");
    delete(&engine, &grant, &job, true).await.unwrap();
    sink.submit_frame(numbers(id, 2, 0, &[(2.0, 2.0)]), NOW).await;
    let event = events.next().await.unwrap();
    assert!(matches!(event, IngestEvent::Trouble { .. }), "{event:?}");
    let opened = sink.open_channels(id, vec![channel(1, "more", ChannelKind::Numeric)], NOW).await;
    assert!(opened.is_err());
    assert_eq!(data.check().await.frames, 0);
    assert!(!data.keys().await.iter().any(|key| key.contains(r"\x01\x01\x01\x01\x01\x01")));
}

#[tokio::test]
async fn the_collector_waits_for_whoever_may_name_a_blob() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let key = project().key;
    let kept = ended_job(&engine, &grant, 1, &[b"needed"], b"picture").await;
    let unused = snapshot(&engine, &grant, &[b"needed", b"unused"]).await;
    let lone = digest_from_bytes(b"lone");
    engine.put_blob(&grant, &key, &lone, blob_from_bytes("lone"), NOW).await.unwrap();
    // Bytes that no record stands for: a crash between bytes and record.
    data.blobs.put(&digest_from_bytes(b"orphan"), blob_from_bytes("orphan"), 100).await.unwrap();
    let grace = engine.core.life.times.grace_micros;

    let first = engine.collect(&grant, NOW).await.unwrap();
    // The snapshot and the blob; the snapshot's files are its own affair as long as it is there.
    assert_eq!((first.marked, first.forgotten, first.removed_files, first.freed_bytes), (2, 0, 1, 6));
    assert_eq!(data.check().await.unneeded, 2);
    let early = engine.collect(&grant, Micros(NOW.0 + grace - 1)).await.unwrap();
    assert_eq!(early, Default::default());
    // Somebody is told that the blob is there: it starts anew.
    engine.put_blob(&grant, &key, &lone, blob_from_bytes("lone"), NOW).await.unwrap();
    let second = engine.collect(&grant, Micros(NOW.0 + grace)).await.unwrap();
    // The snapshot goes, its manifest with it; its file and the blob are marked.
    assert_eq!((second.marked, second.forgotten, second.removed_files), (2, 1, 1));
    let create = CreateJob { snapshot: Some(unused), ..create_job(9) };
    let refused = engine.create_job(&grant, create, uid(0), NOW).await;
    assert!(matches!(refused, Err(Refused::UnknownSnapshot)), "{refused:?}");
    let third = engine.collect(&grant, Micros(NOW.0 + 2 * grace)).await.unwrap();
    assert_eq!((third.forgotten, third.removed_files, third.freed_bytes), (2, 2, 10));
    assert_eq!(engine.read_manifest(&grant, &kept).await.unwrap().files.len(), 1);
    assert_eq!(data.check().await.blobs, 3);
    assert_eq!(engine.stats().removed_blobs, 4);
}

#[tokio::test]
async fn the_collector_gives_back_the_memory_it_took() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    for seed in 1..=3 {
        ended_job(&engine, &grant, seed, &[b"a"], b"picture").await;
    }
    let (engine, grant) = data.open().await;
    let mut leftovers = engine.core.registry.table.leftovers.subscribe();
    leftovers.wait_for(|all| *all == Some(true)).await.unwrap();
    // Heads stay until the table of jobs has heard of them, which it does every second.
    engine.core.registry.table.take_in();
    // One tick to see that nobody uses them, one long after.
    engine.core.registry.forget_idle(NOW);
    engine.core.registry.forget_idle(LATER);
    assert_eq!(engine.stats().channels, 0);
    let collected = engine.collect(&grant, NOW).await.unwrap();
    assert_eq!(collected, Default::default());
    assert_eq!((engine.stats().channels, engine.stats().unsealed_bytes), (0, 0));
}

#[tokio::test]
async fn rules_delete_softly_and_say_why() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let old = ended_job(&engine, &grant, 1, &[b"a"], b"png").await;
    let rule = RetentionRule { older_than_days: Some(50), ..RetentionRule::default() };
    let retention = Retention { rules: vec![rule] };
    let key = project().key;
    let preview = engine.preview_retention(&grant, &key, Some(retention.clone()), LATER).await.unwrap();
    assert_eq!(preview.jobs[0].reason, "retention: ended jobs older than 50 days");
    engine.core.do_chores(NOW).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 0, "a preview changes nothing");
    engine.replace_retention(&grant, &key, retention.clone()).await.unwrap();
    // A start remembers them.
    let (engine, grant) = data.open().await;
    assert_eq!(engine.read_retention(&grant, &key).await.unwrap(), retention);
    engine.core.do_chores(Micros(NOW.0 + 49 * DAY_MICROS)).await.unwrap();
    assert_eq!(listed(&engine, &grant, true).await, 0);
    engine.core.do_chores(LATER).await.unwrap();
    let deleted = engine.read_job(&grant, &old).await.unwrap().deleted.unwrap();
    assert_eq!(deleted.reason, "retention: ended jobs older than 50 days");
    assert_eq!(deleted.until_micros, Micros(LATER.0 + 30 * DAY_MICROS));
    data.check().await;
}
