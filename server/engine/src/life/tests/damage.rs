//! What cannot be read: nobody loses anything by it, and it is in nobody's way.

use neptune_wire::life::Unknown;
use neptune_wire::{CreateProject, ProjectKey};

use super::*;

fn other() -> CreateProject {
    CreateProject { key: ProjectKey::new("OTHER").unwrap(), name: "other".into() }
}

/// A file in each of two projects that no job names.
async fn lone_files(engine: &Engine, grant: &Grant) -> [(ProjectKey, Digest); 2] {
    engine.create_project(grant, other(), NOW).await.unwrap();
    let lone = [(project().key, "lone here"), (other().key, "lone there")];
    let mut files = Vec::new();
    for (key, bytes) in lone {
        let digest = digest_from_bytes(bytes.as_bytes());
        engine.put_blob(grant, &key, &digest, blob_from_bytes(bytes), NOW).await.unwrap();
        files.push((key, digest));
    }
    files.try_into().unwrap()
}

/// Passes of the collector over three graces: what nobody names is gone then. Answers the last one.
async fn collect_for_long(engine: &Engine, grant: &Grant, from: Micros) -> neptune_wire::life::Collected {
    let grace = engine.core.life.times.grace_micros;
    let mut last = Default::default();
    for pass in 0..4 {
        last = engine.collect(grant, Micros(from.0 + pass * grace)).await.unwrap();
    }
    last
}

async fn holds(engine: &Engine, grant: &Grant, (key, digest): &(ProjectKey, Digest)) -> bool {
    let held = engine.has_blob(grant, key, digest).await.unwrap();
    assert_eq!(engine.core.blobs.find_size(digest).await.unwrap().is_some(), held);
    held
}

#[tokio::test]
async fn a_manifest_that_is_gone_keeps_its_projects_files_and_no_others() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let damaged = ended_job(&engine, &grant, 1, &[b"a"], b"picture 1").await;
    let beside = ended_job(&engine, &grant, 2, &[b"b"], b"picture 2").await;
    let [here, there] = lone_files(&engine, &grant).await;
    let manifest = engine.read_job(&grant, &damaged).await.unwrap().snapshot.unwrap();
    data.blobs.delete(&manifest).await.unwrap();

    assert_eq!(collect_for_long(&engine, &grant, NOW).await.passed_over, 1);
    assert_eq!(engine.stats().projects_passed_over, 1);
    assert!(holds(&engine, &grant, &here).await && !holds(&engine, &grant, &there).await);
    // Whatever of a job the lost list may name stays, and the receipt says so.
    let receipt = delete(&engine, &grant, &beside, true).await.unwrap();
    assert_eq!((receipt.unknown, receipt.removed.blobs), (vec![Unknown::OtherJobs], 1), "the manifest");
    let picture = (project().key, digest_from_bytes(b"picture 2"));
    assert!(holds(&engine, &grant, &picture).await);

    // The same sources again.
    assert_eq!(snapshot(&engine, &grant, &[b"a"]).await, manifest);
    assert_eq!(collect_for_long(&engine, &grant, LATER).await, Default::default());
    assert_eq!(engine.stats().projects_passed_over, 0);
    assert!(!holds(&engine, &grant, &here).await && !holds(&engine, &grant, &picture).await);
    engine.open_snapshot_file(&grant, &damaged, "0.py").await.unwrap();
    data.check().await;
}

#[tokio::test]
async fn a_job_whose_manifest_is_gone_is_removed_and_leaves_its_files_to_the_collector() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let job = ended_job(&engine, &grant, 1, &[b"a"], b"picture").await;
    let manifest = engine.read_job(&grant, &job).await.unwrap().snapshot.unwrap();
    data.blobs.delete(&manifest).await.unwrap();
    let receipt = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!((receipt.unknown, receipt.removed.blobs), (vec![Unknown::Sources], 1), "the picture");
    assert!(holds(&engine, &grant, &(project().key, digest_from_bytes(b"a"))).await);
    assert_eq!(collect_for_long(&engine, &grant, NOW).await.passed_over, 0);
    assert_eq!(data.files().await, 0);
    data.check().await;
}

/// What is sealed of its images is of another kind than the channel.
async fn damage(data: &Data, seed: u8) {
    let store = Store::open(Arc::new(data.kv.clone()), [7; 32]).await.unwrap();
    let mut writes = neptune_store::Writes::new();
    let state = neptune_store::ChannelState::Text(neptune_store::RowsState::default());
    writes.put_channel_state(&uid(seed), 1, &neptune_store::ChannelStateRecord { seq: 0, state });
    store.commit(writes).await.unwrap();
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_deleted_all_the_same() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let before = data.keys().await;
    let job = ended_job(&engine, &grant, 1, &[b"a"], b"picture").await;
    damage(&data, 1).await;
    let (engine, grant) = data.open().await;
    let hidden = delete(&engine, &grant, &job, false).await.unwrap();
    assert_eq!((hidden.unknown, hidden.channels), (vec![Unknown::Produced], 0));
    assert!(hidden.restorable_until_micros.is_some());
    assert_eq!((listed(&engine, &grant, false).await, listed(&engine, &grant, true).await), (0, 1));
    engine.restore_job(&grant, &job, NOW).await.unwrap();

    let removed = delete(&engine, &grant, &job, true).await.unwrap();
    assert_eq!(removed.unknown, [Unknown::Produced]);
    // The source and its list; what it produced was counted as it went.
    assert_eq!((removed.removed.blobs, removed.removed.records > 0), (2, true), "{removed:?}");
    assert_eq!((listed(&engine, &grant, false).await, listed(&engine, &grant, true).await), (0, 0));
    assert_eq!(collect_for_long(&engine, &grant, NOW).await.passed_over, 0);
    assert_eq!(data.files().await, 0);
    data.check().await;
    let project = data.keys().await.len() - before.len();
    assert_eq!(project, 1, "the project alone is left");
}

#[tokio::test]
async fn a_job_that_cannot_be_read_keeps_its_projects_files_and_no_others() {
    let data = Data::new();
    let (engine, grant) = data.open().await;
    let damaged = ended_job(&engine, &grant, 1, &[b"a"], b"picture 1").await;
    let beside = ended_job(&engine, &grant, 2, &[b"b"], b"picture 2").await;
    let [here, there] = lone_files(&engine, &grant).await;
    damage(&data, 1).await;
    let (engine, grant) = data.open().await;
    assert_eq!(collect_for_long(&engine, &grant, NOW).await.passed_over, 1);
    assert!(holds(&engine, &grant, &here).await && !holds(&engine, &grant, &there).await);
    let receipt = delete(&engine, &grant, &beside, true).await.unwrap();
    assert_eq!((receipt.unknown, receipt.removed.blobs), (vec![Unknown::OtherJobs], 1), "the manifest");

    delete(&engine, &grant, &damaged, true).await.unwrap();
    assert_eq!(collect_for_long(&engine, &grant, LATER).await.passed_over, 0);
    assert_eq!(data.files().await, 0);
    data.check().await;
}
