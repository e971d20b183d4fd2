//! The one thread that writes: conditions one after the other, one sync for all commits that wait.
//!
//! While one group is being synced, the next gathers in the queue, so the slower the disk, the larger the groups.
//! Conditions are checked against the database and, over it, what the group has changed so far ([`Group`]); nobody
//! else writes, so nothing comes between check and write. All answers of a group, conflicts too, are given after
//! its sync: whoever is told of a conflict can read what it conflicted with.

use std::{collections::HashMap, mem, sync::Arc, thread};

use bytes::Bytes;
use neptune_kv::{Batch, Cause, CommitError, Key, KeyRange, Limits, ReadError};
use rocksdb::{WriteBatch, WriteOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{Durability, Options, disk::Disk, open::Database, view::read_error};

/// Commits that may wait, by number and by bytes; one more is told [`CommitError::Busy`]. At a full megabyte each,
/// the bytes bind first; they take about a second to write.
const WAITING_COMMITS: usize = 4096;
const WAITING_KIB: usize = 64 << 10;

/// The most commits and bytes of one group, so that none of it waits long for the rest.
const GROUP_COMMITS: usize = 512;
const GROUP_BYTES: usize = 4 << 20;

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    room: Arc<Semaphore>,
    thread: Option<thread::JoinHandle<()>>,
}

type Answer = oneshot::Sender<Result<(), CommitError>>;

#[derive(Debug)]
struct Request {
    work: Work,
    answer: Answer,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Work {
    Commit(Batch),
    Clear(KeyRange),
}

impl Writer {
    pub(crate) fn start(database: Arc<Database>, options: &Options) -> Writer {
        let (requests, waiting) = mpsc::channel(WAITING_COMMITS);
        let mut write = WriteOptions::default();
        write.set_sync(options.durability == Durability::PowerLoss);
        let thread = Thread { database, write, disk: Disk::new(options) };
        let thread = thread::Builder::new().name("kv-writer".to_owned()).spawn(move || thread.run(waiting));
        Writer {
            requests: Some(requests),
            room: Arc::new(Semaphore::new(WAITING_KIB)),
            thread: Some(thread.expect("a thread can be started")),
        }
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let size = batch.size_bytes();
        self.request(Work::Commit(batch), size).await
    }

    pub(crate) async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        if range.is_empty() {
            return Ok(());
        }
        self.request(Work::Clear(range), 0).await
    }

    async fn request(&self, work: Work, size: usize) -> Result<(), CommitError> {
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(kib).map_err(|_| CommitError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().expect("taken only at the end");
        let request = Request { work, answer, _room: room };
        requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommitError::Busy,
            mpsc::error::TrySendError::Closed(_) => {
                CommitError::Failed("the writing thread has ended".into())
            }
        })?;
        // The thread ends without an answer only if it panicked, perhaps after writing.
        answered.await.unwrap_or_else(|error| Err(CommitError::Unknown(error.into())))
    }
}

impl Writer {
    /// Waits until the thread has written all that waits; nothing more is taken.
    pub(crate) fn finish(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there, and every answer it owed was Unknown.
            let _ = thread.join();
        }
    }
}

struct Thread {
    database: Arc<Database>,
    write: WriteOptions,
    disk: Disk,
}

impl Thread {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(GROUP_COMMITS);
        while requests.blocking_recv_many(&mut waiting, GROUP_COMMITS) > 0 {
            let mut group = Group::default();
            for Request { work, answer, _room } in waiting.drain(..) {
                match work {
                    Work::Commit(batch) => {
                        if group.batch.size_in_bytes() + batch.size_bytes() > GROUP_BYTES {
                            self.write_group(mem::take(&mut group));
                        }
                        group.add(&self.database, batch, answer);
                    }
                    Work::Clear(range) => {
                        self.write_group(mem::take(&mut group));
                        // Whoever asked may have gone.
                        let _ = answer.send(self.clear(&range));
                    }
                }
            }
            self.write_group(group);
        }
    }

    fn write_group(&mut self, mut group: Group) {
        if group.members.is_empty() {
            return;
        }
        if let Err(refusal) = self.disk.takes_commits(&self.database) {
            return group.answer(|_| Err(refusal.clone().into()));
        }
        if group.batch.is_empty() {
            return group.answer(|verdict| verdict);
        }
        match self.database.rocks.write_opt(mem::take(&mut group.batch), &self.write) {
            Ok(()) => group.answer(|verdict| verdict),
            Err(error) => {
                self.disk.failed(&self.database, &error);
                group.answer(|verdict| Err(failed_with_group(verdict, &error)));
            }
        }
    }

    fn clear(&mut self, range: &KeyRange) -> Result<(), CommitError> {
        self.disk.takes_clears(&self.database)?;
        let family = self.database.family(range.family);
        let beyond = beyond_all_keys();
        let end = range.end.as_deref().unwrap_or(&beyond);
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, &range.start[..], end);
        if let Err(error) = self.database.rocks.write_opt(batch, &self.write) {
            self.disk.failed(&self.database, &error);
            return Err(CommitError::Unknown(error.into()));
        }
        // The keys are gone; this frees whole files at once, instead of when compaction comes by. Nothing can have
        // been written to the range since, as this thread is the only one to write.
        let last = last_key_before(end);
        if let Err(error) = self.database.rocks.delete_file_in_range_cf(family, &range.start[..], &last) {
            tracing::warn!(store = %self.database.folder.path().display(), %error, "files of a clear remain");
        }
        Ok(())
    }
}

/// What became of one commit of a group whose write failed.
fn failed_with_group(verdict: Result<(), CommitError>, error: &rocksdb::Error) -> CommitError {
    match verdict {
        Ok(()) => CommitError::Unknown(Cause::from(error.clone())),
        // It may have conflicted with a commit that was not written.
        Err(CommitError::Conflict(_)) => CommitError::Busy,
        Err(other) => other,
    }
}

/// Commits that are written and synced together.
#[derive(Default)]
struct Group {
    batch: WriteBatch,
    /// What `batch` changes, for the conditions of later members.
    changed: HashMap<Key, Option<Bytes>>,
    members: Vec<(Answer, Result<(), CommitError>)>,
}

impl Group {
    /// Judges `batch` by the state after all earlier members, and takes it in if its conditions hold.
    fn add(&mut self, database: &Database, batch: Batch, answer: Answer) {
        let verdict = self.check(database, &batch.expect);
        if verdict.is_ok() {
            self.apply(database, batch);
        }
        self.members.push((answer, verdict));
    }

    fn check(&self, database: &Database, expect: &[(Key, Option<Bytes>)]) -> Result<(), CommitError> {
        for (key, expected) in expect {
            let holds = match self.changed.get(key) {
                Some(value) => value == expected,
                None => holds(database, key, expected.as_deref())?,
            };
            if !holds {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        Ok(())
    }

    fn apply(&mut self, database: &Database, batch: Batch) {
        for key in batch.delete {
            self.batch.delete_cf(database.family(key.family), &key.bytes);
            self.changed.insert(key, None);
        }
        for (key, value) in batch.put {
            self.batch.put_cf(database.family(key.family), &key.bytes, &value);
            self.changed.insert(key, Some(value));
        }
    }

    fn answer(self, mut answer_from_verdict: impl FnMut(Result<(), CommitError>) -> Result<(), CommitError>) {
        for (answer, verdict) in self.members {
            // Whoever asked may have gone.
            let _ = answer.send(answer_from_verdict(verdict));
        }
    }
}

fn holds(database: &Database, key: &Key, expected: Option<&[u8]>) -> Result<bool, ReadError> {
    let value = database.rocks.get_pinned_cf(database.family(key.family), &key.bytes);
    let value = value.map_err(|error| read_error(key.family, error))?;
    Ok(value.as_deref() == expected)
}

/// Larger than any key that can be written.
fn beyond_all_keys() -> Vec<u8> {
    vec![0xff; Limits::PROMISED.key_bytes + 1]
}

/// The largest key that can be written below `end`, for RocksDB deletes files up to a key *included*.
fn last_key_before(end: &[u8]) -> Vec<u8> {
    let mut last = end.to_vec();
    match last.pop() {
        // Nothing lies between a key and itself with a zero.
        Some(0) | None => {}
        Some(byte) => {
            last.push(byte - 1);
            last.resize(Limits::PROMISED.key_bytes.max(last.len()), 0xff);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use neptune_kv::{Family, Kv, KvRead, Scan};
    use neptune_kv_conformance::run;
    use tempfile::TempDir;
    use tokio::task::JoinSet;

    use super::*;
    use crate::{RocksKv, wal};

    fn open(place: &TempDir) -> RocksKv {
        RocksKv::open(place.path().join("store"), Options::default()).unwrap()
    }

    /// Commits all batches at once, so that they wait together; the answers in order.
    fn commit_at_once(kv: RocksKv, batches: Vec<Batch>) -> (RocksKv, Vec<Result<(), CommitError>>) {
        let kv = Arc::new(kv);
        let answers = run(async {
            let mut commits = JoinSet::new();
            for (place, batch) in batches.into_iter().enumerate() {
                let kv = kv.clone();
                commits.spawn(async move { (place, kv.commit(batch).await) });
            }
            let mut answers = commits.join_all().await;
            answers.sort_by_key(|(place, _)| *place);
            answers.into_iter().map(|(_, answer)| answer).collect()
        });
        (Arc::into_inner(kv).unwrap(), answers)
    }

    #[test]
    fn commits_that_wait_share_a_sync() {
        let place = tempfile::tempdir().unwrap();
        let batches =
            (0..1_000_u32).map(|number| Batch::new().put(Key::state(number.to_be_bytes().to_vec()), ""));
        let (kv, answers) = commit_at_once(open(&place), batches.collect());
        assert!(answers.iter().all(Result::is_ok));
        // Each record of the log was synced by itself.
        let logs =
            std::fs::read_dir(place.path().join("store/rocksdb")).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let records: usize = logs.map(|log| wal::count_records(&std::fs::read(log).unwrap())).sum();
        assert!((1..=500).contains(&records), "{records} syncs for 1,000 commits");
        drop(kv);
    }

    #[test]
    fn too_much_at_once_is_busy_and_leaves_no_trace() {
        let place = tempfile::tempdir().unwrap();
        let values: Vec<Bytes> = (0..16).map(|byte| Bytes::from(vec![byte; 65_000])).collect();
        let megabyte = |number: u32| {
            let name = |part: usize| Key::bulk([&number.to_be_bytes()[..], &[part as u8]].concat());
            values
                .iter()
                .enumerate()
                .fold(Batch::new(), |batch, (part, value)| batch.put(name(part), value.clone()))
        };
        let (kv, answers) = commit_at_once(open(&place), (0..200).map(megabyte).collect());
        let busy = answers.iter().filter(|answer| matches!(answer, Err(CommitError::Busy))).count();
        assert!(busy > 0 && busy < 200, "{busy} of 200 MB at once are refused");
        for (number, answer) in (0_u32..).zip(&answers) {
            let range = KeyRange::prefix(Family::Bulk, number.to_be_bytes().to_vec());
            let there = run(kv.scan(Scan::ascending(range))).unwrap().rows.len();
            match answer {
                Ok(()) => assert_eq!(there, 16, "batch {number}"),
                Err(CommitError::Busy) => assert_eq!(there, 0, "batch {number}"),
                Err(other) => panic!("batch {number}: {other:?}"),
            }
        }
    }

    #[test]
    fn clearing_whole_files_keeps_the_end_of_the_range() {
        let place = tempfile::tempdir().unwrap();
        let kv = open(&place);
        for family in Family::ALL {
            let key = |number: u32| Key::new(family, number.to_be_bytes().to_vec());
            let batch = (0..100).fold(Batch::new(), |batch, number| batch.put(key(number), vec![1; 9_000]));
            run(kv.commit(batch)).unwrap();
            // Into one file below the first level, from the first key to the last.
            let handle = kv.database().family(family);
            kv.database().rocks.flush_cf(handle).unwrap();
            kv.database().rocks.compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
            run(kv.clear(KeyRange::new(family, key(0).bytes, key(99).bytes))).unwrap();
            assert_eq!(run(kv.get(&key(98))).unwrap(), None, "{family:?}");
            assert!(run(kv.get(&key(99))).unwrap().is_some(), "{family:?} lost the end of the range");
            let live = || kv.database().rocks.live_files().unwrap();
            let files = || {
                live().iter().filter(|file| file.column_family_name == crate::tuning::name(family)).count()
            };
            assert_eq!(files(), 1, "{family:?}");
            run(kv.clear(KeyRange::all(family))).unwrap();
            assert_eq!(files(), 0, "{family:?} keeps files of cleared ranges");
        }
    }

    #[test]
    fn the_last_key_before_an_end_is_next_to_it() {
        assert_eq!(last_key_before(b"a\0"), b"a");
        assert_eq!(last_key_before(b"\0"), b"");
        let last = last_key_before(b"ab");
        assert!(last[..] > b"aa\xff"[..] && last[..] < b"ab"[..] && last.len() == Limits::PROMISED.key_bytes);
        assert!(last_key_before(&beyond_all_keys()) > vec![0xff; Limits::PROMISED.key_bytes]);
    }
}
