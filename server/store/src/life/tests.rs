//! What is cleared with a job, and what is not.

use std::sync::Arc;

use neptune_kv::{Batch, Family, Kv, KvRead, MemoryKv};
use neptune_wire::{Micros, SessionId};

use super::*;
use crate::record::{JobSpec, ProjectRecord, StatusRecord};

const JOB: JobUid = JobUid::from_bytes([1; 16]);
/// In the same shard, and the next uid there is.
const NEIGHBOUR: JobUid = JobUid::from_bytes([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);

/// One key of every data tag.
fn produced(job: JobUid) -> Vec<StoreKey> {
    let (session, hash) = (SessionId::from_bytes([3; 16]), Digest::from_bytes([4; 32]));
    vec![
        StoreKey::Channel { job, channel: 0 },
        StoreKey::Chart { job, number: 0 },
        StoreKey::Session { job, session },
        StoreKey::Bindings { job, session, part: 0 },
        StoreKey::Dropped { job },
        StoreKey::Appended { job, hash },
        StoreKey::Frame { job, seq: u64::MAX },
        StoreKey::Seal { job },
        StoreKey::ChannelState { job, channel: 1 },
        StoreKey::Chunk { job, channel: 1, first: 0 },
        StoreKey::Page { job, channel: 1, level: 0, page: 0 },
        StoreKey::Sheet { job, channel: 2, first: 0 },
        StoreKey::LogLine { job, channel: 2, line: 0, first: 0 },
    ]
}

fn job_record(number: u64) -> JobRecord {
    let status = StatusRecord {
        state: neptune_wire::JobState::Created,
        attempt: None,
        silent_since: None,
        reason: None,
        exit_code: None,
        started: None,
        ended: None,
        abort: None,
    };
    JobRecord {
        revision: 1,
        project: ProjectKey::new("TRIG").unwrap(),
        number,
        name: String::new(),
        description: String::new(),
        tags: vec![],
        created: Micros(1),
        status,
        arrived: None,
    }
}

/// All keys, in words.
async fn keys(kv: &MemoryKv) -> Vec<StoreKey> {
    let mut found = Vec::new();
    for family in Family::ALL {
        let page = kv.scan(Scan::ascending(KeyRange::all(family))).await.unwrap();
        found.extend(page.rows.iter().map(|(key, _)| StoreKey::decode(family, key).unwrap()));
    }
    found
}

#[tokio::test]
async fn all_that_a_job_is_goes_and_its_neighbour_stays() {
    let kv = Arc::new(MemoryKv::new());
    let store = Store::open(kv.clone(), [7; 32]).await.unwrap();
    let mut writes = Writes::new();
    let project = ProjectRecord { name: "T".into(), created: Micros(1), last_number: 2, jobs: 1 };
    writes.create_project(&ProjectKey::new("TRIG").unwrap(), &project);
    writes.create_job(&NEIGHBOUR, &job_record(2), &JobSpec::default(), []);
    store.commit(writes).await.unwrap();
    let mut batch = Batch::new();
    for key in produced(NEIGHBOUR) {
        batch = batch.put(key.encode(), "x");
    }
    kv.commit(batch).await.unwrap();
    let before = keys(&kv).await;

    let mut writes = Writes::new();
    let property = ("a".to_owned(), "b".to_owned());
    let long = JobSpec { command: vec!["x".repeat(200_000)], ..JobSpec::default() };
    writes.create_job(&JOB, &job_record(1), &long, [(&property.0, &property.1)]);
    let deleted = DeletedRecord { since: Micros(1), until: Micros(1), reason: "x".into(), removing: true };
    writes.put_deleted(&JOB, &deleted);
    store.commit(writes).await.unwrap();
    let attempts: Vec<(AttemptNumber, Digest)> =
        (1..=1_000).map(|n| (AttemptNumber(n), Digest::from_bytes([(n % 251) as u8; 32]))).collect();
    let mut batch = Batch::new();
    for key in produced(JOB) {
        batch = batch.put(key.encode(), "x");
    }
    for (attempt, hash) in &attempts[..400] {
        batch = batch.put(StoreKey::Attempt { job: JOB, attempt: *attempt }.encode(), "x");
        batch = batch.put(StoreKey::AttemptToken { hash: *hash }.encode(), "x");
    }
    kv.commit(batch).await.unwrap();

    assert_eq!(produced(JOB).iter().map(StoreKey::tag).collect::<Vec<_>>(), Tag::DATA);
    assert_eq!(store.measure_job(&JOB).await.unwrap().records, Tag::DATA.len() as u64);
    for _twice in 0..2 {
        store.clear_job(&JOB).await.unwrap();
        assert_eq!(store.measure_job(&JOB).await.unwrap(), Measured::default());
    }
    for _twice in 0..2 {
        store.finish_removal(&JOB, &attempts).await.unwrap();
        assert_eq!(keys(&kv).await, before);
    }
}
