//! Snapshots from the first manifest to the diff, over blobs in memory.

use std::sync::Arc;

use expect_test::expect;
use futures::TryStreamExt;
use neptune_store::{Blobs, Store};
use neptune_wire::snapshot::Mode;

use super::*;
use crate::testing::{NOW, TroubledKv, create_job, engine, everything, project, uid};

fn tree(files: &[(&str, &str)]) -> Manifest {
    let file = |(path, text): &(&str, &str)| File {
        path: path.to_string(),
        digest: digest_from_bytes(text.as_bytes()),
        size_bytes: text.len() as u64,
        mode: Mode::File,
    };
    Manifest { files: files.iter().map(file).collect() }
}

async fn upload(engine: &Engine, grant: &Grant, files: &[(&str, &str)]) -> SnapshotReceipt {
    let key = project().key;
    for (_, text) in files {
        let digest = digest_from_bytes(text.as_bytes());
        engine.put_blob(grant, &key, &digest, blob_from_bytes(text.to_string()), NOW).await.unwrap();
    }
    engine.create_snapshot(grant, &key, tree(files), NOW).await.unwrap()
}

#[tokio::test]
async fn only_missing_blobs_travel_and_an_incomplete_snapshot_cannot_be_named() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let files = [("a.py", "same"), ("b.py", "same"), ("main.py", "print()")];
    let key = project().key;
    let first = engine.create_snapshot(&grant, &key, tree(&files), NOW).await.unwrap();
    assert_eq!(first.missing, [digest_from_bytes(b"same"), digest_from_bytes(b"print()")]);
    let job = neptune_wire::CreateJob { snapshot: Some(first.snapshot), ..create_job(1) };
    let refused = engine.create_job(&grant, job.clone(), uid(0), NOW).await;
    assert!(matches!(refused, Err(Refused::UnknownSnapshot)));
    let complete = upload(&engine, &grant, &files).await;
    assert_eq!(complete, SnapshotReceipt { snapshot: first.snapshot, missing: vec![] });
    let job = engine.create_job(&grant, job, uid(0), NOW).await.unwrap();
    let figures = engine.read_snapshot(&grant, &job.uid.into()).await.unwrap();
    assert_eq!((figures.files, figures.size_bytes), (3, 15));
}

/// As after a restore that left bytes out, or on a disk that lost them: records stand for what is not there.
#[tokio::test]
async fn bytes_that_are_gone_are_asked_for_and_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path()).unwrap();
    let store = Store::open(Arc::new(TroubledKv::default()), [7; 32]).await.unwrap();
    let engine = Engine::open(store, blobs.clone()).await.unwrap();
    let grant = everything(&engine).await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let key = project().key;
    let files = [("a.py", "a"), ("b.py", "b")];
    let snapshot = upload(&engine, &grant, &files).await.snapshot;
    let create = neptune_wire::CreateJob { snapshot: Some(snapshot), ..create_job(1) };
    let job = JobRef::Uid(engine.create_job(&grant, create, uid(0), NOW).await.unwrap().uid);
    let named = || engine.create_snapshot(&grant, &key, tree(&files), NOW);

    let a = digest_from_bytes(b"a");
    blobs.delete(&a).await.unwrap();
    assert_eq!(named().await.unwrap(), SnapshotReceipt { snapshot, missing: vec![a] });
    let other = engine.create_snapshot(&grant, &key, tree(&[("other.py", "a")]), NOW).await.unwrap();
    assert_eq!(other.missing, [a]);
    engine.put_blob(&grant, &key, &a, blob_from_bytes("a"), NOW).await.unwrap();
    assert_eq!(named().await.unwrap().missing, []);
    engine.open_snapshot_file(&grant, &job, "a.py").await.unwrap();

    // The manifest itself: no job is made with one that cannot be read.
    blobs.delete(&snapshot).await.unwrap();
    let create = neptune_wire::CreateJob { snapshot: Some(snapshot), ..create_job(2) };
    let refused = engine.create_job(&grant, create, uid(0), NOW).await;
    assert!(matches!(refused, Err(Refused::UnknownSnapshot)), "{refused:?}");
    assert_eq!(named().await.unwrap().missing, []);
    assert_eq!(engine.read_manifest(&grant, &job).await.unwrap(), tree(&files));
    let hex = snapshot.to_string();
    std::fs::write(folder.path().join(&hex[..2]).join(&hex[2..4]).join(&hex), "{\"files\":[]}").unwrap();
    let refused = engine.read_manifest(&grant, &job).await;
    assert!(matches!(refused, Err(Refused::Storage(_))), "{refused:?}");
    named().await.unwrap();
    assert_eq!(engine.read_manifest(&grant, &job).await.unwrap(), tree(&files));
}

#[tokio::test]
async fn files_come_back_and_trees_are_compared() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let trees: [&[(&str, &str)]; 2] =
        [&[("gone.py", "1\n"), ("main.py", "a\nb\n")], &[("main.py", "a\nc\n"), ("new.py", "2\n")]];
    let mut jobs = Vec::new();
    for (seed, files) in (1..).zip(trees) {
        let receipt = upload(&engine, &grant, files).await;
        let create = neptune_wire::CreateJob { snapshot: Some(receipt.snapshot), ..create_job(seed) };
        jobs.push(JobRef::Uid(engine.create_job(&grant, create, uid(0), NOW).await.unwrap().uid));
    }
    let file = engine.open_snapshot_file(&grant, &jobs[1], "main.py").await.unwrap();
    let pieces: Vec<_> = file.bytes.bytes.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"a\nc\n");
    let refused = engine.open_snapshot_file(&grant, &jobs[1], "gone.py").await;
    assert!(matches!(refused, Err(Refused::UnknownFile { .. })));
    let manifest = engine.read_manifest(&grant, &jobs[1]).await.unwrap();
    let bytes = engine.open_manifest_file(&grant, &jobs[1], &manifest.files[1]).await.unwrap().bytes;
    assert_eq!(bytes.try_collect::<Vec<_>>().await.unwrap().concat(), b"2\n");
    let foreign = File { digest: digest_from_bytes(b"of another"), ..manifest.files[1].clone() };
    let refused = engine.open_manifest_file(&grant, &jobs[1], &foreign).await;
    assert!(matches!(refused, Err(Refused::UnknownBlob { .. })));
    let diff = engine.diff_snapshots(&grant, &jobs[0], &jobs[1]).await.unwrap();
    let shown: String = diff
        .files
        .iter()
        .map(|file| format!("{:?}\n{}", file.change, file.unified.as_deref().unwrap()))
        .collect();
    expect![[r"
        Removed
        --- a/gone.py
        +++ b/gone.py
        @@ -1 +0,0 @@
        -1
        Modified
        --- a/main.py
        +++ b/main.py
        @@ -1,2 +1,2 @@
         a
        -b
        +c
        Added
        --- a/new.py
        +++ b/new.py
        @@ -0,0 +1 @@
        +2
    "]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn beyond_its_bounds_a_diff_only_names_files() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let files = [("a", "1\n"), ("b", "2\n"), ("c", "3\n")];
    upload(&engine, &grant, &files).await;
    let bounds = DiffBounds { files: 10, size_bytes: 1_000, time: Duration::from_secs(1_000) };
    let shown = async |bounds| {
        let diff = engine.diff_within(&tree(&[]), &tree(&files), bounds).await.unwrap();
        diff.files.iter().map(|file| file.unified.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(shown(bounds).await, [true, true, true]);
    assert_eq!(shown(DiffBounds { files: 2, ..bounds }).await, [true, true, false]);
    // What is shown counts with what was read: 2 bytes and 33 for each file.
    assert_eq!(shown(DiffBounds { size_bytes: 35, ..bounds }).await, [true, false, false]);
    assert_eq!(shown(DiffBounds { size_bytes: 36, ..bounds }).await, [true, true, false]);
    assert_eq!(shown(DiffBounds { time: Duration::ZERO, ..bounds }).await, [false, false, false]);
    // A file that is longer than its manifest says is one that is too long to be shown.
    let long = "x".repeat(diff::DIFF_BYTES as usize + 1);
    upload(&engine, &grant, &[("d", &long)]).await;
    let mut manifest = tree(&[("d", &long)]);
    manifest.files[0].size_bytes = 1;
    let diff = engine.diff_within(&tree(&[]), &manifest, bounds).await.unwrap();
    assert_eq!(diff.files[0].unified, None);
}

/// On the one thread of this runtime, others go on while lines are compared.
#[tokio::test]
async fn a_long_diff_holds_nobody_up() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    // Much the same lines in two orders, which takes all the time one file may take.
    let lines = |factor: u64| -> String {
        (0..40_000).map(|at: u64| format!("{}\n", at * factor % 40_009 % 5_000)).collect()
    };
    let (from, to) = (lines(7_919), lines(104_729));
    let (from, to) = ([("a", from.as_str())], [("a", to.as_str())]);
    upload(&engine, &grant, &from).await;
    upload(&engine, &grant, &to).await;
    let (from, to) = (tree(&from), tree(&to));
    let mut turns = 0;
    let others = async {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            turns += 1;
        }
    };
    tokio::select! {
        diff = engine.diff_within(&from, &to, DIFF_BOUNDS) => assert!(diff.unwrap().files[0].unified.is_some()),
        () = others => {}
    }
    assert!(turns > 10, "{turns}");
}

#[tokio::test]
async fn a_blob_is_seen_only_by_projects_that_brought_it() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let other = neptune_wire::CreateProject { key: "OTHER".parse().unwrap(), name: "other".into() };
    engine.create_project(&grant, other.clone(), NOW).await.unwrap();
    let digest = digest_from_bytes(b"secret");
    engine.put_blob(&grant, &project().key, &digest, blob_from_bytes("secret"), NOW).await.unwrap();
    assert!(engine.has_blob(&grant, &project().key, &digest).await.unwrap());
    let refused = engine.open_blob(&grant, &other.key, &digest).await;
    assert!(matches!(refused, Err(Refused::UnknownBlob { .. })));
    let wrong = engine.put_blob(&grant, &other.key, &digest, blob_from_bytes("guess"), NOW).await;
    assert!(matches!(wrong, Err(Refused::DigestDiffers { .. })));
    assert!(!engine.has_blob(&grant, &other.key, &digest).await.unwrap());
}

#[tokio::test]
async fn a_manifest_too_long_to_be_stored_is_refused_before_its_files_travel() {
    let (engine, grant, _kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let mut manifest = tree(&[("", "same")]);
    let folder = "f".repeat(1_000);
    let file = manifest.files.remove(0);
    manifest.files =
        (0..30_000).map(|at| File { path: format!("{folder}/{at:06}"), ..file.clone() }).collect();
    let refused = engine.create_snapshot(&grant, &project().key, manifest, NOW).await.unwrap_err();
    assert_eq!(refused.to_string(), "size of the manifest in bytes is over the limit of 33554432");
}
