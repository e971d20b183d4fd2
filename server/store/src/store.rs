//! The store: opened over a backend, refused when it is newer than this program, committed to with every answer settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use neptune_kv::{Batch, CommitError, Family, Key, KeyRange, Kv, ReadError, Scan};
use neptune_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::chunk::ChunkError;
use crate::disk::Disk;
use crate::key::{StoreKey, UnknownKey};
use crate::pyramid::PageError;
use crate::record::{Record, RecordError};
use crate::sheet::SheetError;
use crate::writes::Writes;

/// The format this program writes. A change of layout or of a record raises it and adds a step to `Store::open`.
///
/// 1: frames alone. 2: what is sealed of them lies in chunks, pages, sheets and channel states beside them.
pub const FORMAT: u32 = 2;

/// Between two tries of a commit that was not written or whose fate is not known: doubles from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(500);
/// Tries of a commit that the backend is too busy for.
const BUSY_TRIES: u32 = 8;

/// Everything Neptune keeps, except the bytes of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    kv: Arc<dyn Kv>,
    server_key: [u8; 32],
    closed: Arc<AtomicBool>,
    disk: Arc<Disk>,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error(
        "the data is of format {found}, written by version {written_by}; this version reads up to format {known}: use \
         that version or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// Version of the program that wrote it.
        written_by: String,
        /// The newest format known here.
        known: u32,
    },
    /// There are keys, but not the one that every store has.
    #[error("the database holds something else: it has keys but no format version")]
    Foreign,
    /// It is to be opened as it is, and there is none.
    #[error("the database holds no store: it has no format version; start the server once to make one")]
    Absent,
    /// The backend, or what it answered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stored value that is no record.
    #[error("at key {key}: {source}")]
    Record {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A chunk of points that is none.
    #[error("at key {key}: {source}")]
    Chunk {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: ChunkError,
    },
    /// A page of the pyramid that is none.
    #[error("at key {key}: {source}")]
    Page {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: PageError,
    },
    /// A sheet that is none.
    #[error("at key {key}: {source}")]
    Sheet {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: SheetError,
    },
    /// A key of no known layout.
    #[error(transparent)]
    Key(#[from] UnknownKey),
    /// A record that another one needs.
    #[error("{what} is missing at key {key}")]
    Missing {
        /// What should be there.
        what: &'static str,
        /// Where.
        key: Key,
    },
}

/// Why a commit was not made. Nothing of it was written, nor will be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something it relied on has changed.
    #[error("changed meanwhile")]
    Conflict,
    /// Too much is waiting.
    #[error("storage is busy")]
    Busy,
    /// The disk is full.
    #[error("storage is read-only: the disk is full")]
    ReadOnly,
    /// Another process owns the data, or the store was closed: no further write can succeed.
    #[error("storage is closed to this process")]
    Closed,
    /// The disk failed. What was in doubt then stays so until the data is opened again; no further write can succeed.
    #[error("storage is read-only until the next start: the disk failed")]
    Failed,
    /// Larger than any batch may be.
    #[error(transparent)]
    TooLarge(neptune_kv::TooLarge),
    /// A condition could not be checked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every store has under [`StoreKey::Format`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormatRecord {
    format: u32,
    written_by: String,
}

impl Record for FormatRecord {
    // The one record whose own version never changes: every program must be able to read it.
    const VERSION: u8 = 1;
    const NAME: &'static str = "format";
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store over a backend, or makes it there. `fresh_key` becomes the server's key when it is made: 32 bytes
    /// of good randomness.
    ///
    /// # Errors
    ///
    /// [`OpenError::Newer`] for a store of a later version, [`OpenError::Foreign`] for a database of something else.
    pub async fn open(kv: Arc<dyn Kv>, fresh_key: [u8; 32]) -> Result<Store, OpenError> {
        let store = Store { kv, server_key: fresh_key, closed: Arc::default(), disk: Arc::default() };
        let format = match store.find::<FormatRecord>(&StoreKey::Format).await? {
            Some(format) => format,
            None => store.create().await?,
        };
        check_known(&format)?;
        if format.format < FORMAT {
            store.upgrade(&format).await?;
        }
        store.with_key().await
    }

    /// Opens the store over a backend to read it: writes nothing, and leaves one of an older format as it is.
    ///
    /// # Errors
    ///
    /// [`OpenError::Newer`] for a store of a later version, [`OpenError::Absent`] where there is none.
    pub async fn open_as_it_is(kv: Arc<dyn Kv>) -> Result<Store, OpenError> {
        let store = Store { kv, server_key: [0; 32], closed: Arc::default(), disk: Arc::default() };
        store.close();
        let format = store.find::<FormatRecord>(&StoreKey::Format).await?.ok_or(OpenError::Absent)?;
        check_known(&format)?;
        store.with_key().await
    }

    async fn with_key(self) -> Result<Store, OpenError> {
        let key = StoreKey::ServerKey.encode();
        let found = self.kv.get(&key).await.map_err(StoreError::Read)?;
        let server_key = found.and_then(|bytes| bytes[..].try_into().ok());
        let server_key = server_key.ok_or(StoreError::Missing { what: "the server's key", key })?;
        Ok(Store { server_key, ..self })
    }

    async fn create(&self) -> Result<FormatRecord, OpenError> {
        for family in Family::ALL {
            let first = Scan::ascending(KeyRange::all(family)).rows(1);
            if !self.kv.scan(first).await.map_err(StoreError::Read)?.rows.is_empty() {
                return Err(OpenError::Foreign);
            }
        }
        let format = FormatRecord { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").into() };
        let batch = Batch::new()
            .expect_absent(StoreKey::Format.encode())
            .put(StoreKey::Format.encode(), format.encode())
            .put(StoreKey::ServerKey.encode(), self.server_key.to_vec());
        match self.settle(batch).await {
            Ok(()) => Ok(format),
            Err(WriteError::Conflict) => Err(OpenError::Foreign),
            Err(WriteError::Store(error)) => Err(error.into()),
            Err(error) => Err(StoreError::Read(ReadError::Io(Box::new(error))).into()),
        }
    }

    /// Marks data of an older format as of this one. Everything this program adds lies under keys that it did not have,
    /// so nothing else changes; from now on older programs refuse it, as they would not see what is sealed.
    async fn upgrade(&self, old: &FormatRecord) -> Result<(), OpenError> {
        let new = FormatRecord { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").into() };
        let key = StoreKey::Format.encode();
        let batch = Batch::new().expect(key.clone(), old.encode()).put(key, new.encode());
        match self.settle(batch).await {
            Ok(()) => {
                tracing::info!(from = old.format, to = FORMAT, "the store is of a new format now");
                Ok(())
            }
            Err(WriteError::Store(error)) => Err(error.into()),
            Err(error) => Err(StoreError::Read(ReadError::Io(Box::new(error))).into()),
        }
    }

    pub(crate) fn kv(&self) -> &dyn Kv {
        self.kv.as_ref()
    }

    /// The secret from which tokens are derived; never leaves the server.
    pub fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }

    /// What tells this store from every other, made from its key, which it does not betray; a copy has the same.
    pub fn identity(&self) -> Digest {
        Digest::from_bytes(blake3::derive_key("neptune identity of a store", &self.server_key))
    }

    /// Whether the disk is full.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What one commit may hold.
    pub fn limits(&self) -> neptune_kv::Limits {
        self.kv.limits()
    }

    /// Refuses every later commit, and ends those that wait for a backend that cannot say what became of them.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Writes all of it or nothing; durable when it answers.
    ///
    /// An unknown fate is settled here: the same batch is tried until it is written or its conditions fail, and then
    /// what lies there tells which of the tries was written. This needs what [`Writes`] sees to: that a batch, once
    /// written, does not hold its own conditions any more. So it may take as long as the backend is in trouble, and
    /// must not be dropped before it answers by anyone who goes on with what it would have said.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was written.
    pub async fn commit(&self, writes: Writes) -> Result<(), WriteError> {
        self.settle(writes.into_batch()).await
    }

    /// Copies everything but the bytes of blobs, as of now, into a folder that is not there; what opens a folder opens it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`](neptune_kv::CheckpointError); the folder is no copy then.
    pub async fn checkpoint(&self, folder: &std::path::Path) -> Result<(), neptune_kv::CheckpointError> {
        self.kv.checkpoint(folder).await
    }

    /// Writes something that changes nothing, to find out whether a full disk has room again.
    ///
    /// # Errors
    ///
    /// What a commit would meet now.
    pub async fn probe(&self) -> Result<(), WriteError> {
        let key = StoreKey::Format.encode();
        let Some(format) = self.kv.get(&key).await.map_err(StoreError::Read)? else {
            return Err(StoreError::Missing { what: "the format version", key }.into());
        };
        self.settle(Batch::new().expect(key.clone(), format.clone()).put(key, format)).await
    }

    async fn settle(&self, batch: Batch) -> Result<(), WriteError> {
        let mut pause = PAUSE_FIRST;
        let mut busy = 0;
        let mut in_doubt = false;
        loop {
            self.check_open()?;
            let answer = self.kv.commit(batch.clone()).await;
            match &answer {
                Ok(()) => self.disk.found(false),
                Err(CommitError::ReadOnly) => self.disk.found(true),
                Err(CommitError::Failed(error)) => self.disk.failed(error.as_ref()),
                Err(_) => {}
            }
            match answer {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict(_)) if in_doubt => match self.holds(&batch).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err(WriteError::Conflict),
                    // What lies there is to be seen before anybody may be told; it is tried on.
                    Err(error) => tracing::warn!(%error, "a commit's fate is not known yet"),
                },
                Err(CommitError::Conflict(_)) => return Err(WriteError::Conflict),
                Err(CommitError::Fenced) => return Err(WriteError::Closed),
                Err(CommitError::Failed(_)) => return Err(WriteError::Failed),
                Err(CommitError::Unknown(_)) => in_doubt = true,
                // Whether an earlier try was written is still open, so it is tried on.
                Err(CommitError::ReadOnly | CommitError::Read(_) | CommitError::TooLarge(_)) if in_doubt => {}
                Err(CommitError::TooLarge(error)) => return Err(WriteError::TooLarge(error)),
                Err(CommitError::ReadOnly) => return Err(WriteError::ReadOnly),
                Err(CommitError::Read(error)) => return Err(StoreError::Read(error).into()),
                Err(CommitError::Busy) => {
                    busy += 1;
                    if busy == BUSY_TRIES && !in_doubt {
                        return Err(WriteError::Busy);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// Refuses to write where no write can succeed any more.
    pub(crate) fn check_open(&self) -> Result<(), WriteError> {
        if self.disk.has_failed() {
            return Err(WriteError::Failed);
        }
        if self.closed.load(Ordering::Acquire) { Err(WriteError::Closed) } else { Ok(()) }
    }

    /// Deletes keys that nobody refers to any more; may be repeated.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; some of the keys may be gone.
    pub(crate) async fn clear(&self, range: KeyRange) -> Result<(), WriteError> {
        self.check_open()?;
        match self.kv.clear(range).await {
            Ok(()) => Ok(()),
            Err(CommitError::ReadOnly) => {
                self.disk.found(true);
                Err(WriteError::ReadOnly)
            }
            Err(CommitError::Failed(error)) => {
                self.disk.failed(error.as_ref());
                Err(WriteError::Failed)
            }
            Err(CommitError::Fenced) => Err(WriteError::Closed),
            Err(CommitError::Read(error)) => Err(StoreError::Read(error).into()),
            Err(_) => Err(WriteError::Busy),
        }
    }

    /// Whether what the batch puts lies there, and what it deletes does not.
    async fn holds(&self, batch: &Batch) -> Result<bool, StoreError> {
        let keys: Vec<Key> = batch.put.iter().map(|(key, _)| key).chain(&batch.delete).cloned().collect();
        let found = self.kv.get_many(&keys).await?;
        let wanted = batch.put.iter().map(|(_, put)| Some(put)).chain(batch.delete.iter().map(|_| None));
        // A batch deletes before it puts, so a key in both is there.
        let put_again = |key: &Key| batch.put.iter().any(|(put, _)| put == key);
        Ok(keys
            .iter()
            .zip(found.iter().zip(wanted))
            .all(|(key, (found, wanted))| found.as_ref() == wanted || wanted.is_none() && put_again(key)))
    }

    /// One record; `None` when it is absent.
    pub(crate) async fn find<R: Record>(&self, key: &StoreKey) -> Result<Option<R>, StoreError> {
        let key = key.encode();
        let Some(bytes) = self.kv.get(&key).await? else { return Ok(None) };
        R::decode(&bytes).map(Some).map_err(|source| StoreError::Record { key, source })
    }

    /// Whether a key is there, whatever it holds.
    pub(crate) async fn has(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Ok(self.kv.get(&key.encode()).await?.is_some())
    }

    /// Values in the order asked.
    pub(crate) async fn find_many(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys: Vec<Key> = keys.iter().map(StoreKey::encode).collect();
        Ok(self.kv.get_many(&keys).await?)
    }

    /// One page of a range and what is left of it.
    pub(crate) async fn scan(
        &self,
        range: KeyRange,
    ) -> Result<(Vec<(StoreKey, Bytes)>, Option<KeyRange>), StoreError> {
        let family = range.family;
        let page = self.kv.scan(Scan::ascending(range)).await?;
        let rows = page.rows.into_iter().map(|(key, value)| Ok((StoreKey::decode(family, &key)?, value)));
        Ok((rows.collect::<Result<_, UnknownKey>>()?, page.rest))
    }

    /// All rows of a range, for tables that fit in memory.
    pub(crate) async fn scan_all(&self, range: KeyRange) -> Result<Vec<(StoreKey, Bytes)>, StoreError> {
        let mut rows = Vec::new();
        let mut next = Some(range);
        while let Some(range) = next {
            let (page, rest) = self.scan(range).await?;
            rows.extend(page);
            next = rest;
        }
        Ok(rows)
    }

    /// Whether a range has any key.
    pub(crate) async fn has_any(&self, range: KeyRange) -> Result<bool, StoreError> {
        Ok(!self.kv.scan(Scan::ascending(range).rows(1)).await?.rows.is_empty())
    }
}

fn check_known(format: &FormatRecord) -> Result<(), OpenError> {
    if format.format <= FORMAT {
        return Ok(());
    }
    Err(OpenError::Newer { found: format.format, written_by: format.written_by.clone(), known: FORMAT })
}

/// Reads a scanned value as a record.
pub(crate) fn record_at<R: Record>(key: &StoreKey, value: &[u8]) -> Result<R, StoreError> {
    R::decode(value).map_err(|source| StoreError::Record { key: key.encode(), source })
}

#[cfg(test)]
mod tests;
