//! Commits whose fate is unknown, over a storage that answers by a script.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use neptune_kv::{KvRead, Limits, MemoryKv, Page};
use neptune_wire::{AttemptNumber, JobUid, SessionId};

use super::*;
use crate::record::SessionRecord;

/// A backend that answers the next commits as told; `true` beside an answer: it writes all the same.
#[derive(Default)]
struct Scripted {
    kv: MemoryKv,
    script: Mutex<Vec<(bool, Answer)>>,
    /// So many reads of several keys fail.
    failing_reads: AtomicU32,
}

#[derive(Clone, Copy)]
enum Answer {
    Unknown,
    Busy,
    ReadOnly,
    Failed,
}

#[async_trait]
impl KvRead for Scripted {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        self.kv.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let left = |left: u32| left.checked_sub(1);
        if self.failing_reads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            return Err(ReadError::Io("unreadable for now".into()));
        }
        self.kv.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        self.kv.scan(scan).await
    }
}

#[async_trait]
impl Kv for Scripted {
    fn limits(&self) -> Limits {
        self.kv.limits()
    }

    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError> {
        self.kv.snapshot().await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let next = self.script.lock().unwrap().pop();
        let Some((written, answer)) = next else { return self.kv.commit(batch).await };
        if written {
            self.kv.commit(batch).await?;
        }
        Err(match answer {
            Answer::Unknown => CommitError::Unknown("lost".into()),
            Answer::Busy => CommitError::Busy,
            Answer::ReadOnly => CommitError::ReadOnly,
            Answer::Failed => CommitError::Failed("EIO".into()),
        })
    }

    async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        self.kv.clear(range).await
    }
}

const JOB: JobUid = JobUid::from_bytes([1; 16]);
const SESSION: SessionId = SessionId::from_bytes([2; 16]);

fn mark(mark: u64) -> SessionRecord {
    SessionRecord { attempt: AttemptNumber(1), mark }
}

/// Commits mark 0 -> 1 while the backend answers as scripted, last answer first; says the outcome and the mark stored.
async fn check(script: Vec<(bool, Answer)>, meanwhile: Option<u64>) -> (Result<(), WriteError>, u64) {
    let kv = Scripted::default();
    let kv = Arc::new(kv);
    let store = Store::open(kv.clone(), [0; 32]).await.unwrap();
    let mut writes = Writes::new();
    writes.create_session(&JOB, &SESSION, &mark(0));
    store.commit(writes).await.unwrap();
    if let Some(other) = meanwhile {
        let mut writes = Writes::new();
        writes.replace_session(&JOB, &SESSION, &mark(0), &mark(other));
        store.commit(writes).await.unwrap();
    }
    *kv.script.lock().unwrap() = script;
    let mut writes = Writes::new();
    writes.replace_session(&JOB, &SESSION, &mark(0), &mark(1));
    let outcome = store.commit(writes).await;
    let tables = store.read_job_tables(&JOB).await.unwrap();
    (outcome, tables.sessions[0].record.mark)
}

#[tokio::test(start_paused = true)]
async fn an_unknown_fate_is_settled() {
    use Answer::*;
    for script in [
        vec![(true, Unknown)],
        vec![(false, Unknown)],
        vec![(true, Unknown), (false, Unknown)],
        vec![(false, ReadOnly), (true, Unknown)],
        vec![(false, ReadOnly), (false, Unknown)],
        vec![(false, Busy); BUSY_TRIES as usize - 1],
    ] {
        let (outcome, mark) = check(script, None).await;
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(mark, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fate_that_cannot_be_read_for_now_stays_open() {
    let kv = Arc::new(Scripted::default());
    let store = Store::open(kv.clone(), [0; 32]).await.unwrap();
    *kv.script.lock().unwrap() = vec![(true, Answer::Unknown)];
    kv.failing_reads.store(3, Ordering::Relaxed);
    let mut writes = Writes::new();
    writes.create_session(&JOB, &SESSION, &mark(0));
    store.commit(writes).await.unwrap();
    assert_eq!(kv.failing_reads.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_says_so() {
    use Answer::*;
    let (outcome, mark) = check(vec![(false, ReadOnly)], None).await;
    assert!(matches!((outcome, mark), (Err(WriteError::ReadOnly), 0)));
    let (outcome, mark) = check(vec![(false, Busy); BUSY_TRIES as usize], None).await;
    assert!(matches!((outcome, mark), (Err(WriteError::Busy), 0)));
    let (outcome, mark) = check(vec![], Some(7)).await;
    assert!(matches!((outcome, mark), (Err(WriteError::Conflict), 7)));
    let (outcome, mark) = check(vec![(false, Unknown)], Some(7)).await;
    assert!(matches!((outcome, mark), (Err(WriteError::Conflict), 7)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_disk_ends_all_writing() {
    use Answer::*;
    for script in [vec![(false, Failed)], vec![(false, Failed), (true, Unknown)]] {
        let kv = Arc::new(Scripted::default());
        let store = Store::open(kv.clone(), [0; 32]).await.unwrap();
        *kv.script.lock().unwrap() = script;
        for session in 1..3 {
            let mut writes = Writes::new();
            writes.create_session(&JOB, &SessionId::from_bytes([session; 16]), &mark(0));
            assert!(matches!(store.commit(writes).await, Err(WriteError::Failed)));
        }
        assert!(store.disk().has_failed() && !store.disk().is_full());
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_store_ends_what_waits() {
    let kv = Scripted::default();
    let kv = Arc::new(kv);
    let store = Store::open(kv.clone(), [0; 32]).await.unwrap();
    *kv.script.lock().unwrap() = vec![(false, Answer::Unknown); 1_000];
    let mut writes = Writes::new();
    writes.create_session(&JOB, &SESSION, &mark(0));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit(writes).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished());
    store.close();
    assert!(matches!(waiting.await.unwrap(), Err(WriteError::Closed)));
}

#[tokio::test]
async fn the_first_key_stays() {
    let kv = Arc::new(MemoryKv::new());
    let made = Store::open(kv.clone(), [1; 32]).await.unwrap();
    let again = Store::open(kv, [2; 32]).await.unwrap();
    assert_eq!((made.server_key(), again.server_key()), (&[1; 32], &[1; 32]));
}

#[tokio::test]
async fn newer_and_foreign_data_is_refused() {
    let kv = Arc::new(MemoryKv::new());
    Store::open(kv.clone(), [0; 32]).await.unwrap();
    let newer = FormatRecord { format: FORMAT + 1, written_by: "9.1.0".into() };
    kv.commit(Batch::new().put(StoreKey::Format.encode(), newer.encode())).await.unwrap();
    let refused = Store::open(kv, [0; 32]).await.unwrap_err().to_string();
    expect_test::expect!["the data is of format 3, written by version 9.1.0; this version reads up to format 2: use that version or a newer one"]
        .assert_eq(&refused);

    let kv = Arc::new(MemoryKv::new());
    kv.commit(Batch::new().put(Key::bulk("x"), "y")).await.unwrap();
    assert!(matches!(Store::open(kv, [0; 32]).await, Err(OpenError::Foreign)));
}

#[tokio::test]
async fn a_store_that_is_opened_as_it_is_stays_so() {
    let kv = Arc::new(MemoryKv::new());
    let absent = Store::open_as_it_is(kv.clone()).await.map(drop);
    assert!(matches!(absent, Err(OpenError::Absent)), "{absent:?}");
    let made = Store::open(kv.clone(), [7; 32]).await.unwrap();
    let key = StoreKey::Format.encode();
    let older = FormatRecord { format: 1, written_by: "0.0.1".into() }.encode();
    kv.commit(Batch::new().put(key.clone(), older.clone())).await.unwrap();
    let store = Store::open_as_it_is(kv.clone()).await.unwrap();
    assert_eq!(kv.get(&key).await.unwrap().unwrap(), older);
    assert_eq!((store.server_key(), store.identity()), (made.server_key(), made.identity()));
    let mut writes = Writes::new();
    writes.create_session(&JOB, &SESSION, &mark(0));
    assert!(matches!(store.commit(writes).await, Err(WriteError::Closed)));
    // What it is to be used with brings it to this format.
    Store::open(kv.clone(), [7; 32]).await.unwrap();
    assert_ne!(kv.get(&key).await.unwrap().unwrap(), older);

    let newer = FormatRecord { format: FORMAT + 1, written_by: "9.9.9".into() }.encode();
    kv.commit(Batch::new().put(key, newer)).await.unwrap();
    let refused = Store::open_as_it_is(kv.clone()).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Newer { .. })), "{refused:?}");
    let other = Store::open(Arc::new(MemoryKv::new()), [8; 32]).await.unwrap();
    assert_ne!(other.identity(), made.identity());
}
