//! Removals beside those who count on what is removed: restoring, reading, naming blobs.

use neptune_wire::query::Appended;
use neptune_wire::snapshot::SnapshotReceipt;

use super::*;
use crate::heads::DIRECT;
use crate::{Access, ImportFrames};

/// Writes of a removal at once before it lets go of the snapshot: the tombstone, thirteen ranges, the attempt, the rest.
const BEFORE_SNAPSHOT: usize = 16;

fn manifest(files: &[&'static [u8]]) -> Manifest {
    let file = |(at, bytes): (usize, &&'static [u8])| {
        let digest = digest_from_bytes(bytes);
        let file = serde_json::json!({
            "path": format!("{at}.py"), "digest": digest, "size_bytes": bytes.len(), "mode": "file",
        });
        serde_json::from_value::<File>(file).unwrap()
    };
    Manifest { files: files.iter().enumerate().map(file).collect() }
}

/// Lets everything that can go on do so.
async fn let_run() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// Begins a removal at once, which waits at its so-manieth write.
async fn held_removal(
    data: &Data,
    engine: &Engine,
    grant: &Grant,
    job: &JobRef,
    writes: usize,
) -> tokio::task::JoinHandle<Result<DeleteReceipt, Refused>> {
    data.kv.script(std::iter::repeat_n(Trouble::None, writes).chain([Trouble::Waits]));
    let (engine, grant, job) = (engine.clone(), grant.clone(), job.clone());
    let removal = tokio::spawn(async move { delete(&engine, &grant, &job, true).await });
    data.kv.held().await;
    removal
}

#[tokio::test]
async fn who_is_told_of_a_file_that_goes_is_told_that_it_is_missing() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let removal = held_removal(&data, &engine, &grant, &job, BEFORE_SNAPSHOT + 1).await;
    let (asker, may) = (engine.clone(), grant.clone());
    let asked = tokio::spawn(async move {
        let other = manifest(&[b"mine", b"mine"]);
        asker.create_snapshot(&may, &project().key, other, NOW).await
    });
    let_run().await;
    assert!(!asked.is_finished());
    data.kv.release();
    let receipt = removal.await.unwrap().unwrap();
    // The file, the picture, the manifest.
    assert_eq!((receipt.removed.blobs, receipt.kept.len()), (3, 0));
    assert_eq!(asked.await.unwrap().unwrap().missing, [digest_from_bytes(b"mine")]);
    data.check().await;
}

#[tokio::test]
async fn a_job_is_not_made_with_a_snapshot_that_goes() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let snapshot = engine.read_job(&grant, &job).await.unwrap().snapshot;
    let removal = held_removal(&data, &engine, &grant, &job, BEFORE_SNAPSHOT).await;
    let (asker, may) = (engine.clone(), grant.clone());
    let asked = tokio::spawn(async move {
        let create = CreateJob { snapshot, ..create_job(2) };
        asker.create_job(&may, create, uid(0), NOW).await
    });
    let_run().await;
    assert!(!asked.is_finished());
    data.kv.release();
    removal.await.unwrap().unwrap();
    let refused = asked.await.unwrap();
    assert!(matches!(refused, Err(Refused::UnknownSnapshot)), "{refused:?}");
}

/// Whoever was told first, and is about to store what names the file, is waited for.
#[tokio::test]
async fn a_removal_sees_what_is_being_named() {
    for names_a_snapshot in [true, false] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
        let snapshot = engine.read_job(&grant, &job).await.unwrap().snapshot;
        data.kv.script([Trouble::Waits]);
        let (asker, may) = (engine.clone(), grant.clone());
        let naming = tokio::spawn(async move {
            if names_a_snapshot {
                let other = manifest(&[b"mine", b"mine"]);
                let SnapshotReceipt { snapshot, missing } =
                    asker.create_snapshot(&may, &project().key, other, NOW).await.unwrap();
                assert!(missing.is_empty());
                return snapshot;
            }
            let create = CreateJob { snapshot, ..create_job(2) };
            asker.create_job(&may, create, uid(0), NOW).await.unwrap().snapshot.unwrap()
        });
        data.kv.held().await;
        let (asker, may) = (engine.clone(), grant.clone());
        let removal = tokio::spawn(async move { delete(&asker, &may, &job, true).await });
        // The job that is being made keeps the project's record for itself, so the removal does not even begin.
        while names_a_snapshot && engine.stats().removed_jobs == 0 {
            tokio::task::yield_now().await;
        }
        let_run().await;
        assert!(!removal.is_finished());
        data.kv.release();
        let snapshot = Some(naming.await.unwrap());
        removal.await.unwrap().unwrap();
        let create = CreateJob { snapshot, ..create_job(3) };
        let job = JobRef::Uid(engine.create_job(&grant, create, uid(0), NOW).await.unwrap().uid);
        engine.open_snapshot_file(&grant, &job, "0.py").await.unwrap();
        data.check().await;
    }
}

/// A job whose attempt was told that a picture is there, and has not sent the frame that names it.
async fn about_to_name(engine: &Engine, grant: &Grant, seed: u8, picture: &'static [u8]) -> (JobRef, Grant) {
    let (job, token) = running_job(engine, grant, seed).await;
    let attempt = engine.access(Access::Token(&token)).await.unwrap();
    let digest = digest_from_bytes(picture);
    // Before the other job's end, by the clock.
    let early = Micros(NOW.0 - 100);
    engine.put_blob(&attempt, &project().key, &digest, blob_from_bytes(picture), early).await.unwrap();
    (job, attempt)
}

async fn name_picture(engine: &Engine, job: &JobRef, attempt: &Grant, seed: u8, picture: &'static [u8]) {
    let id = session(seed);
    let channels = vec![channel(0, "pictures", ChannelKind::Image)];
    let (mut sink, mut events, _) = writer(engine, attempt, job, id, channels).await;
    let mut frame = FrameBuilder::new(id, 1);
    assert!(frame.push_image(0, &image_record(digest_from_bytes(picture), picture.len() as u64)));
    sink.submit_frame(frame.finish().into(), NOW).await;
    acked(&mut events, id, 1).await;
    engine.open_image(attempt, job, &name("pictures"), 0).await.unwrap();
}

fn kept(receipt: &DeleteReceipt) -> Vec<(KeptWhy, u64)> {
    receipt.kept.iter().map(|kept| (kept.why, kept.blobs)).collect()
}

#[tokio::test]
async fn a_picture_stays_that_another_attempt_is_about_to_name() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let (other, attempt) = about_to_name(&engine, &grant, 2, b"picture").await;
    let receipt = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!(kept(&receipt), [(KeptWhy::Upload, 1)]);
    name_picture(&engine, &other, &attempt, 2, b"picture").await;
    data.check().await;
}

/// What a process before this one told its writers is not remembered: while such a writer may live, pictures stay.
#[tokio::test]
async fn a_picture_stays_that_an_attempt_from_before_the_start_may_name() {
    for has_ended in [false, true] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
        let (other, _) = about_to_name(&engine, &grant, 2, b"picture").await;
        if has_ended {
            end(&engine, &grant, &other).await;
        }
        let (engine, grant) = data.open().await;
        let receipt = delete(&engine, &grant, &job, true).await.unwrap();
        if has_ended {
            assert_eq!((receipt.removed.blobs, kept(&receipt)), (3, vec![]));
            continue;
        }
        assert_eq!(kept(&receipt), [(KeptWhy::Upload, 2)]);
        name_picture(&engine, &other, &grant, 2, b"picture").await;
        data.check().await;
    }
}

#[tokio::test]
async fn a_job_that_is_restored_in_the_last_moment_stays() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"a"], b"png").await;
    delete(&engine, &grant, &job, false).await.unwrap();
    data.kv.script([Trouble::Waits]);
    let (asker, may, this) = (engine.clone(), grant.clone(), job.clone());
    let restoring = tokio::spawn(async move { asker.restore_job(&may, &this, LATER).await });
    data.kv.held().await;
    // Its time has passed, as far as can be seen.
    let core = engine.core.clone();
    let chores = tokio::spawn(async move { core.do_chores(LATER).await });
    let_run().await;
    assert!(!chores.is_finished());
    data.kv.release();
    let restored = restoring.await.unwrap().unwrap();
    chores.await.unwrap().unwrap();
    assert_eq!(engine.read_job(&grant, &job).await.unwrap(), restored);
    assert_eq!((listed(&engine, &grant, false).await, engine.stats().removed_jobs), (1, 0));
    let points = engine.read_points(&grant, &job, &name("loss"), &PointsQuery::default()).await.unwrap();
    assert_eq!(points.y.len(), 3);
}

#[tokio::test]
async fn whoever_asks_again_has_the_same_receipt() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let id = JobRef::Id(engine.read_job(&grant, &job).await.unwrap().id);
    let removal = held_removal(&data, &engine, &grant, &job, BEFORE_SNAPSHOT + 1).await;
    let again = [job.clone(), id.clone()].map(|job| {
        let (engine, grant) = (engine.clone(), grant.clone());
        tokio::spawn(async move { delete(&engine, &grant, &job, true).await })
    });
    let_run().await;
    assert!(again.iter().all(|again| !again.is_finished()));
    data.kv.release();
    let receipt = removal.await.unwrap().unwrap();
    assert_eq!(receipt.removed.blobs, 3);
    for again in again {
        assert_eq!(again.await.unwrap().unwrap(), receipt);
    }
    assert_eq!(delete(&engine, &grant, &id, true).await.unwrap(), receipt);
    let gone = delete(&engine, &grant, &id, false).await;
    assert!(matches!(gone, Err(Refused::JobGone { .. })), "{gone:?}");
    let unknown = delete(&engine, &grant, &JobRef::Uid(uid(9)), true).await;
    assert!(matches!(unknown, Err(Refused::UnknownJob { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_reader_whose_job_is_removed_is_told_so() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"mine"], b"picture").await;
    let (begun, go) = data.kv.hold_frames();
    let (reader, may, this) = (engine.clone(), grant.clone(), job.clone());
    let reading = tokio::spawn(async move {
        reader.read_images(&may, &this, &name("pictures"), &ImagesQuery::default()).await
    });
    begun.await.unwrap();
    delete(&engine, &grant, &job, true).await.unwrap();
    go.send(()).unwrap();
    let gone = reading.await.unwrap();
    assert!(matches!(gone, Err(Refused::JobGone { .. })), "{gone:?}");
}

/// A request that waits for room for its points, as there is none and will be none.
async fn waiting_request(
    engine: &Engine,
    grant: &Grant,
    job: &JobRef,
    is_import: bool,
) -> tokio::task::JoinHandle<Result<Appended, Refused>> {
    let request = request_without_room(engine, grant, job, is_import).await;
    let_run().await;
    assert!(!request.is_finished());
    request
}

async fn request_without_room(
    engine: &Engine,
    grant: &Grant,
    job: &JobRef,
    is_import: bool,
) -> tokio::task::JoinHandle<Result<Appended, Refused>> {
    let create = serde_json::json!({ "name": "loss", "kind": "numeric" });
    engine.create_channel(grant, job, serde_json::from_value(create).unwrap(), NOW).await.unwrap();
    let heads = engine.core.registry.find_uid(&uid(1)).unwrap().heads(&engine.core).await.unwrap();
    engine.core.sealer.added(&heads, 0, 1 << 40);
    drop(heads);
    let (engine, grant, job) = (engine.clone(), grant.clone(), job.clone());
    tokio::spawn(async move {
        if is_import {
            let frame = numbers(DIRECT, 1, 0, &[(1.0, 0.5)]);
            let bytes = [&(frame.len() as u32).to_le_bytes(), &frame[..]].concat();
            let import = ImportFrames { key: "key", behind: None, bytes: bytes.into() };
            return engine.import_frames(&grant, &job, import, NOW).await;
        }
        let point = serde_json::from_value(serde_json::json!([1, 0.5])).unwrap();
        engine.append_points(&grant, &job, "key", [(name("loss"), vec![point])].into(), NOW).await
    })
}

const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_removal_does_not_wait_for_whoever_waits_for_room() {
    for is_import in [false, true] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
        let request = waiting_request(&engine, &grant, &job, is_import).await;
        let removal = tokio::time::timeout(WITHIN, delete(&engine, &grant, &job, true)).await;
        removal.expect("the job is removed").unwrap();
        let refused = request.await.unwrap();
        assert!(matches!(refused, Err(Refused::JobGone { .. })), "{refused:?}");
        assert_eq!(data.check().await.removing, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_is_told_of_a_full_disk() {
    for is_import in [false, true] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
        let request = waiting_request(&engine, &grant, &job, is_import).await;
        data.kv.set_full(true);
        let other = neptune_wire::CreateProject { key: "OTHER".parse().unwrap(), ..project() };
        assert!(matches!(engine.create_project(&grant, other, NOW).await, Err(Refused::ReadOnly)));
        let told = tokio::time::timeout(WITHIN, request).await.expect("an answer").unwrap();
        assert!(matches!(told, Err(Refused::ReadOnly)), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_is_told_of_a_disk_that_failed() {
    for is_import in [false, true] {
        let data = Data::new();
        let (engine, grant) = data.open().await;
        let job = JobRef::Uid(created_job(&engine, &grant, 1).await.uid);
        let point = serde_json::from_value(serde_json::json!([1, 0.5])).unwrap();
        let points = [(name("open"), vec![point])].into();
        engine.append_points(&grant, &job, "before", points, NOW).await.unwrap();
        // The channel is made; the round that would make room fails.
        data.kv.script([Trouble::None, Trouble::Fails]);
        let request = request_without_room(&engine, &grant, &job, is_import).await;
        let told = tokio::time::timeout(WITHIN, request).await.expect("an answer").unwrap();
        assert!(matches!(told, Err(Refused::Failed)), "{told:?}");
    }
}
