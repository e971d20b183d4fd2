//! Reading: points, pages of a range, and the law by which a page is filled.
//!
//! A page says exactly what is left ([`Page::rest`]), so walking a range needs no counting and no guessing:
//!
//! ```
//! # use neptune_kv::{Family, KeyRange, KvRead, ReadError, Scan};
//! # async fn walk(kv: &dyn KvRead) -> Result<(), ReadError> {
//! let mut next = Some(KeyRange::all(Family::State));
//! while let Some(range) = next {
//!     let page = kv.scan(Scan::ascending(range)).await?;
//!     for (key, value) in page.rows { /* … */ }
//!     next = page.rest;
//! }
//! # Ok(()) }
//! ```

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Cause, Family, Key, KeyRange, Limits};

/// The reads of a store or of one of its snapshots.
///
/// Each call sees one point in time, and every commit that was acknowledged before it began. Two calls on a store
/// may see two points in time; on a snapshot they never do.
#[async_trait]
pub trait KvRead: Send + Sync {
    /// Reads one value; `None` if the key is absent.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError>;

    /// Reads many values as of one point in time, in the order asked. A key may be asked twice.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError>;

    /// Reads the next rows of a range, as many as the bounds of `scan` allow.
    ///
    /// The first row is always returned, whatever its size, so a walk always gets on. An empty range is an empty
    /// page without a rest.
    async fn scan(&self, scan: Scan) -> Result<Page, ReadError>;
}

/// One page to read: what, in which direction, and how much at most.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The keys to read.
    pub range: KeyRange,
    /// The direction; [`Order::Descending`] begins with the last key of the range.
    pub order: Order,
    /// At most so many rows; zero counts as one, more than [`Limits::page_rows`] as that.
    pub rows: usize,
    /// At most so many bytes of keys and values together; more than [`Limits::page_bytes`] counts as that.
    pub bytes: usize,
}

impl Scan {
    /// The first page of `range`, as large as the backend's limits allow.
    pub fn ascending(range: KeyRange) -> Scan {
        Scan { range, order: Order::Ascending, rows: usize::MAX, bytes: usize::MAX }
    }

    /// The last page of `range`, last key first, as large as the backend's limits allow.
    pub fn descending(range: KeyRange) -> Scan {
        Scan { order: Order::Descending, ..Scan::ascending(range) }
    }

    /// The same page with at most `rows` rows.
    pub fn rows(self, rows: usize) -> Scan {
        Scan { rows, ..self }
    }

    /// The same page with at most `bytes` bytes, but at least one row.
    pub fn bytes(self, bytes: usize) -> Scan {
        Scan { bytes, ..self }
    }

    /// The part of the range beyond `last`, the last key returned.
    fn rest_after(&self, last: &Bytes) -> KeyRange {
        let range = self.range.clone();
        match self.order {
            Order::Ascending => KeyRange { start: successor(last), ..range },
            Order::Descending => KeyRange { end: Some(last.clone()), ..range },
        }
    }
}

/// The direction of a scan, by unsigned bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The rows a scan returned and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Key and value, in the order asked.
    pub rows: Vec<(Bytes, Bytes)>,
    /// The range not yet read, for the next scan in the same order. `None` exactly if there was no further row.
    pub rest: Option<KeyRange>,
}

impl Page {
    /// Fills a page from `rows`, which walk the range of `scan` in its order; takes one row more than fits.
    ///
    /// For backends: this is the one place that knows where a page ends.
    ///
    /// # Errors
    ///
    /// The first error among the rows taken.
    pub fn fill(
        scan: &Scan,
        limits: &Limits,
        rows: impl IntoIterator<Item = Result<(Bytes, Bytes), ReadError>>,
    ) -> Result<Page, ReadError> {
        let max_rows = scan.rows.clamp(1, limits.page_rows);
        let max_bytes = scan.bytes.min(limits.page_bytes);
        let mut page = Page { rows: Vec::new(), rest: None };
        let mut size_bytes = 0;
        for row in rows {
            let (key, value) = row?;
            size_bytes += key.len() + value.len();
            let full = page.rows.len() == max_rows || size_bytes > max_bytes;
            if let (true, Some((last, _))) = (full, page.rows.last()) {
                page.rest = Some(scan.rest_after(last));
                break;
            }
            page.rows.push((key, value));
        }
        Ok(page)
    }
}

/// The smallest key above `key`.
fn successor(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

/// Why something could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk or the network below; the same read may succeed later.
    #[error("storage could not be read")]
    Io(#[source] Cause),
    /// What is stored does not match its own checksums or format. Reading again will not help.
    #[error("stored data of family {family:?} is damaged")]
    Corrupt {
        /// Where it was met.
        family: Family,
        /// What the backend said.
        #[source]
        cause: Cause,
    },
    /// The snapshot is older than the backend keeps them (never less than five seconds): take a new one.
    #[error("snapshot is no longer kept")]
    SnapshotExpired,
}
