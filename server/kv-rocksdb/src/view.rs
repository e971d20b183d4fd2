//! Reads, of the newest state or of a snapshot.
//!
//! A point read first asks memory alone (write buffers and cache), inline: about a microsecond. Only if that does
//! not know is it sent to a thread that may wait for the disk, and so is every scan: the hand-over costs some ten
//! microseconds, a stalled runtime costs everybody. Snapshots do not expire; a long one keeps what was overwritten.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use neptune_kv::{Family, Key, KvRead, Limits, Order, Page, ReadError, Scan};
use rocksdb::{DBRawIterator, ErrorKind, ReadOptions, ReadTier, SnapshotWithThreadMode};
use tokio::task::spawn_blocking;

use crate::open::Database;

/// More keys than these are not tried inline: even from memory they take too long for a runtime's thread.
const INLINE_KEYS: usize = 64;

/// The database as of now, or as of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct View {
    snapshot: Option<Arc<Snapshot>>,
    database: Arc<Database>,
}

impl View {
    pub(crate) fn newest(database: Arc<Database>) -> View {
        View { snapshot: None, database }
    }

    /// The same view, standing still.
    pub(crate) fn fixed(&self) -> View {
        let snapshot = self.snapshot.clone().unwrap_or_else(|| Arc::new(Snapshot::of(&self.database)));
        View { snapshot: Some(snapshot), database: self.database.clone() }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    fn options(&self, tier: ReadTier) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_read_tier(tier);
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(&snapshot.inner);
        }
        options
    }

    fn read(&self, key: &Key, options: &ReadOptions) -> Result<Option<Bytes>, rocksdb::Error> {
        let family = self.database.family(key.family);
        let value = self.database.rocks.get_pinned_cf_opt(family, &key.bytes, options)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Reads one by one what memory knows; `None` if the disk must be asked.
    ///
    /// Not by RocksDB's multi-get, which in memory alone takes "may be there" for an empty value.
    fn read_many_from_memory(&self, keys: &[Key]) -> Result<Option<Vec<Option<Bytes>>>, ReadError> {
        let options = self.options(ReadTier::BlockCache);
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match self.read(key, &options) {
                Ok(value) => values.push(value),
                Err(error) if error.kind() == ErrorKind::Incomplete => return Ok(None),
                Err(error) => return Err(read_error(key.family, error)),
            }
        }
        Ok(Some(values))
    }

    fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let options = self.options(ReadTier::All);
        let mut values = vec![None; keys.len()];
        for family in Family::ALL {
            let places: Vec<usize> = (0..keys.len()).filter(|&place| keys[place].family == family).collect();
            if places.is_empty() {
                continue;
            }
            let keys = places.iter().map(|&place| &keys[place].bytes[..]);
            let handle = self.database.family(family);
            let found = self.database.rocks.batched_multi_get_cf_opt(handle, keys, false, &options);
            for (place, value) in places.into_iter().zip(found) {
                let value = value.map_err(|error| read_error(family, error))?;
                values[place] = value.map(|value| Bytes::copy_from_slice(&value));
            }
        }
        Ok(values)
    }

    fn read_page(&self, scan: &Scan) -> Result<Page, ReadError> {
        let mut options = self.options(ReadTier::All);
        options.set_iterate_lower_bound(&scan.range.start[..]);
        if let Some(end) = &scan.range.end {
            options.set_iterate_upper_bound(&end[..]);
        }
        let handle = self.database.family(scan.range.family);
        let mut rows = self.database.rocks.raw_iterator_cf_opt(handle, options);
        match scan.order {
            Order::Ascending => rows.seek_to_first(),
            Order::Descending => rows.seek_to_last(),
        }
        let rows = std::iter::from_fn(|| next_row(&mut rows, scan));
        Page::fill(scan, &Limits::PROMISED, rows)
    }
}

/// The row an iterator stands on, after which it stands on the next one.
fn next_row(rows: &mut DBRawIterator<'_>, scan: &Scan) -> Option<Result<(Bytes, Bytes), ReadError>> {
    let Some((key, value)) = rows.item() else {
        return rows.status().err().map(|error| Err(read_error(scan.range.family, error)));
    };
    let row = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    match scan.order {
        Order::Ascending => rows.next(),
        Order::Descending => rows.prev(),
    }
    Some(Ok(row))
}

#[async_trait]
impl KvRead for View {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        match self.read(key, &self.options(ReadTier::BlockCache)) {
            Err(error) if error.kind() == ErrorKind::Incomplete => {}
            other => return other.map_err(|error| read_error(key.family, error)),
        }
        let (view, key) = (self.clone(), key.clone());
        blocking(move || {
            let value = view.read(&key, &view.options(ReadTier::All));
            value.map_err(|error| read_error(key.family, error))
        })
        .await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let view = self.fixed();
        if keys.len() <= INLINE_KEYS
            && let Some(values) = view.read_many_from_memory(keys)?
        {
            return Ok(values);
        }
        let keys = keys.to_vec();
        blocking(move || view.read_many(&keys)).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        if scan.range.is_empty() {
            return Ok(Page { rows: Vec::new(), rest: None });
        }
        let view = self.clone();
        blocking(move || view.read_page(&scan)).await
    }
}

/// Runs a read where it may wait for the disk.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    spawn_blocking(read).await.unwrap_or_else(|error| Err(ReadError::Io(error.into())))
}

pub(crate) fn read_error(family: Family, error: rocksdb::Error) -> ReadError {
    match error.kind() {
        ErrorKind::Corruption => ReadError::Corrupt { family, cause: error.into() },
        _ => ReadError::Io(error.into()),
    }
}

/// A snapshot that owns its database.
struct Snapshot {
    /// Borrows from `_database`, so is declared, and dropped, before it.
    inner: SnapshotWithThreadMode<'static, rocksdb::DB>,
    _database: Arc<Database>,
}

impl Snapshot {
    fn of(database: &Arc<Database>) -> Snapshot {
        let rocks: *const rocksdb::DB = &database.rocks;
        // SAFETY: the database does not move inside its `Arc`, which is kept beside the borrow and dropped after it.
        let inner = unsafe { &*rocks }.snapshot();
        Snapshot { inner, _database: database.clone() }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("sequence", &self.inner.sequence_number()).finish_non_exhaustive()
    }
}
