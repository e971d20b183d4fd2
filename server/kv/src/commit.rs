//! Writing: one conditional, atomic, durable batch, and what a backend may refuse.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Cause, Key, KeyRange, KvRead, ReadError};

/// A store of ordered bytes: the reads of [`KvRead`] and one way to write.
///
/// Commits take effect one after the other: each sees everything acknowledged before it began, and of two that
/// expect the same and change it, one wins. Callers need not gather batches for speed; a backend syncs
/// once for all commits that wait at the same time. A future that is dropped may still have written.
#[async_trait]
pub trait Kv: KvRead {
    /// What this backend accepts, at least [`Limits::PROMISED`]. Constant while it lives.
    fn limits(&self) -> Limits;

    /// The same reads as of now, good for at least five seconds. Costs little to take; holds back space while kept.
    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError>;

    /// Writes the whole batch or nothing. Once it answers `Ok`, the batch survives the loss of power.
    ///
    /// # Errors
    ///
    /// Nothing was written, except for [`CommitError::Unknown`], where nobody can tell: read back to find out.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// Deletes every key of `range` that was there before the call.
    ///
    /// For keys that nobody refers to any more: it is not atomic (a failure or a crash may leave a part), snapshots
    /// taken earlier may lose the keys too, and it may be repeated. Cheap for any number of keys. Once it answers
    /// `Ok`, the keys stay away after the loss of power.
    async fn clear(&self, range: KeyRange) -> Result<(), CommitError>;

    /// Copies the store as of now into `folder`, which is not there yet and whose parent is; commits go on meanwhile.
    ///
    /// What lies there then opens as a store of this backend, with all that was acknowledged before the call. Cheap where
    /// files can be shared with the copy. A backend whose data lies elsewhere has ways of its own to be backed up: it refuses,
    /// as this default does, and whoever backs up says so.
    ///
    /// # Errors
    ///
    /// What `folder` holds then is no copy, and may be removed.
    async fn checkpoint(&self, folder: &Path) -> Result<(), CheckpointError> {
        let _ = folder;
        Err(CheckpointError::Unsupported)
    }
}

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// This backend does not copy itself into a folder.
    #[error("this storage does not copy itself into a folder; back it up by its own means")]
    Unsupported,
    /// The disk below, or what the backend said.
    #[error("the storage could not be copied")]
    Io(#[source] Cause),
}

/// Changes that are made together, on conditions that must all hold.
///
/// Deletes are applied before puts, and of two puts of one key the later wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The value each of these keys must have for the batch to be written; `None`: it must be absent.
    pub expect: Vec<(Key, Option<Bytes>)>,
    /// Keys to write, whether or not they exist.
    pub put: Vec<(Key, Bytes)>,
    /// Keys to remove, whether or not they exist.
    pub delete: Vec<Key>,
}

impl Batch {
    /// An empty batch. Committing it is allowed and writes nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds the condition that `key` holds exactly `value`.
    pub fn expect(mut self, key: Key, value: impl Into<Bytes>) -> Batch {
        self.expect.push((key, Some(value.into())));
        self
    }

    /// Adds the condition that `key` is absent.
    pub fn expect_absent(mut self, key: Key) -> Batch {
        self.expect.push((key, None));
        self
    }

    /// Adds a key to write.
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Batch {
        self.put.push((key, value.into()));
        self
    }

    /// Adds a key to remove.
    pub fn delete(mut self, key: Key) -> Batch {
        self.delete.push(key);
        self
    }

    /// Conditions, puts and deletes together: what [`Limits::batch_ops`] bounds.
    pub fn ops(&self) -> usize {
        self.expect.len() + self.put.len() + self.delete.len()
    }

    /// All keys and values together, conditions included: what [`Limits::batch_bytes`] bounds.
    pub fn size_bytes(&self) -> usize {
        let keys = self.keys().map(|key| key.bytes.len()).sum::<usize>();
        let values = self.values().map(Bytes::len).sum::<usize>();
        keys + values
    }

    /// Checks the batch against `limits`. Backends call it before anything else.
    ///
    /// # Errors
    ///
    /// The first limit that is exceeded, in the order of the fields of [`Limits`].
    pub fn check(&self, limits: &Limits) -> Result<(), TooLarge> {
        let longest_key = self.keys().map(|key| key.bytes.len()).max().unwrap_or(0);
        let longest_value = self.values().map(Bytes::len).max().unwrap_or(0);
        TooLarge::check("key", longest_key, limits.key_bytes, "bytes")?;
        TooLarge::check("value", longest_value, limits.value_bytes, "bytes")?;
        TooLarge::check("batch", self.size_bytes(), limits.batch_bytes, "bytes")?;
        TooLarge::check("batch", self.ops(), limits.batch_ops, "operations")
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let expected = self.expect.iter().map(|(key, _)| key);
        expected.chain(self.put.iter().map(|(key, _)| key)).chain(&self.delete)
    }

    fn values(&self) -> impl Iterator<Item = &Bytes> {
        let expected = self.expect.iter().filter_map(|(_, value)| value.as_ref());
        expected.chain(self.put.iter().map(|(_, value)| value))
    }
}

/// The sizes a backend accepts and the largest page it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest key that can be written. A longer one is simply never present.
    pub key_bytes: usize,
    /// The longest value; larger things are blobs, which do not live here.
    pub value_bytes: usize,
    /// The largest batch by [`Batch::size_bytes`].
    pub batch_bytes: usize,
    /// The longest batch by [`Batch::ops`].
    pub batch_ops: usize,
    /// The most rows of one page.
    pub page_rows: usize,
    /// The most bytes of one page of more than one row.
    pub page_bytes: usize,
}

impl Limits {
    /// What every backend accepts at least, so what a portable caller may rely on.
    pub const PROMISED: Limits = Limits {
        key_bytes: 1 << 10,
        value_bytes: 64 << 10,
        batch_bytes: 1 << 20,
        batch_ops: 1_000,
        page_rows: 10_000,
        page_bytes: 4 << 20,
    };
}

/// A part of a batch is beyond the limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {size} {unit}, the limit is {limit}")]
pub struct TooLarge {
    /// `key`, `value` or `batch`.
    pub what: &'static str,
    /// Its size, in `unit`.
    pub size: usize,
    /// The largest allowed, in `unit`.
    pub limit: usize,
    /// `bytes` or `operations`.
    pub unit: &'static str,
}

impl TooLarge {
    fn check(what: &'static str, size: usize, limit: usize, unit: &'static str) -> Result<(), TooLarge> {
        if size <= limit { Ok(()) } else { Err(TooLarge { what, size, limit, unit }) }
    }
}

/// Why a batch was not written or, for [`CommitError::Unknown`] alone, may not have been.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// This key did not hold what the batch expected. Read it again and decide anew.
    #[error("conflict at key {0}")]
    Conflict(Key),
    /// Too much is waiting; not written. The same batch may be committed again after a pause.
    #[error("storage is busy")]
    Busy,
    /// It is not known whether it was written, now or later. Read back by an id of your own before trying again.
    #[error("it is not known whether the batch was written")]
    Unknown(#[source] Cause),
    /// This process no longer owns the data; not written. It must stop writing, another one has taken over.
    #[error("storage is owned by another process")]
    Fenced,
    /// Never acceptable; not written.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The disk is full: reads go on; not written. It accepts again by itself when there is room.
    #[error("storage is read-only: the disk is full")]
    ReadOnly,
    /// The disk failed in another way: reads go on; not written, nor will anything be until the data is opened again.
    #[error("storage is read-only until it is opened again: the disk failed")]
    Failed(#[source] Cause),
    /// A condition could not be checked; not written.
    #[error(transparent)]
    Read(#[from] ReadError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(batch: Batch, message: Option<&str>) {
        let limits =
            Limits { key_bytes: 2, value_bytes: 3, batch_bytes: 8, batch_ops: 2, ..Limits::PROMISED };
        let refused = batch.check(&limits).err().map(|too_large| too_large.to_string());
        assert_eq!(refused.as_deref(), message);
    }

    #[test]
    fn a_batch_names_the_limit_it_exceeds() {
        check(Batch::new(), None);
        check(Batch::new().put(Key::state("ab"), "cde"), None);
        check(Batch::new().delete(Key::log("abc")), Some("key has 3 bytes, the limit is 2"));
        check(Batch::new().expect(Key::bulk(""), "cdef"), Some("value has 4 bytes, the limit is 3"));
        let ten_bytes = Batch::new().expect(Key::log("ab"), "cde").put(Key::log("ab"), "cde");
        check(ten_bytes, Some("batch has 10 bytes, the limit is 8"));
        let three_ops =
            Batch::new().expect_absent(Key::log("a")).put(Key::log("b"), "").delete(Key::log("c"));
        check(three_ops, Some("batch has 3 operations, the limit is 2"));
    }
}
