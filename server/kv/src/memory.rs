//! The reference backend: three ordered maps in memory, for tests and as the meaning of the trait.
//!
//! A snapshot shares the maps. The first write to a family after it copies that family's tree (not its bytes), so
//! snapshots are exact and free to take, and writes under a held snapshot cost O(keys). Lost with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Batch, CommitError, Family, Key, KeyRange, Kv, KvRead, Limits, Order, Page, ReadError, Scan};

/// [`Kv`] in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryKv {
    families: Arc<RwLock<Families>>,
}

impl MemoryKv {
    /// An empty store.
    pub fn new() -> MemoryKv {
        MemoryKv::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Families> {
        self.families.read().expect("no panic happens under this lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Families> {
        self.families.write().expect("no panic happens under this lock")
    }
}

#[async_trait]
impl KvRead for MemoryKv {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        Ok(self.read().value(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        Ok(self.read().values(keys))
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        self.read().page(&scan)
    }
}

#[async_trait]
impl Kv for MemoryKv {
    fn limits(&self) -> Limits {
        Limits::PROMISED
    }

    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError> {
        Ok(Arc::new(self.read().clone()))
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check(&self.limits())?;
        self.write().apply(batch)
    }

    async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        self.write().clear(&range);
        Ok(())
    }
}

/// One point in time: a map per family, shared until changed.
#[derive(Clone, Debug, Default)]
struct Families([Arc<BTreeMap<Bytes, Bytes>>; Family::ALL.len()]);

impl Families {
    fn map(&self, family: Family) -> &BTreeMap<Bytes, Bytes> {
        &self.0[family as usize]
    }

    fn map_mut(&mut self, family: Family) -> &mut BTreeMap<Bytes, Bytes> {
        Arc::make_mut(&mut self.0[family as usize])
    }

    fn value(&self, key: &Key) -> Option<&Bytes> {
        self.map(key.family).get(&key.bytes)
    }

    fn values(&self, keys: &[Key]) -> Vec<Option<Bytes>> {
        keys.iter().map(|key| self.value(key).cloned()).collect()
    }

    fn page(&self, scan: &Scan) -> Result<Page, ReadError> {
        let mut rows = self.rows(&scan.range);
        let rows = std::iter::from_fn(|| match scan.order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        });
        let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
        Page::fill(scan, &Limits::PROMISED, rows)
    }

    fn rows<'a>(&'a self, range: &'a KeyRange) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
        let end = match &range.end {
            // A map refuses a range whose end lies before its start; ours is empty.
            Some(end) => Bound::Excluded(&end.max(&range.start)[..]),
            None => Bound::Unbounded,
        };
        self.map(range.family).range::<[u8], _>((Bound::Included(&range.start[..]), end))
    }

    fn apply(&mut self, batch: Batch) -> Result<(), CommitError> {
        for (key, expected) in batch.expect {
            if self.value(&key) != expected.as_ref() {
                return Err(CommitError::Conflict(key));
            }
        }
        for key in batch.delete {
            self.map_mut(key.family).remove(&key.bytes);
        }
        for (key, value) in batch.put {
            self.map_mut(key.family).insert(key.bytes, value);
        }
        Ok(())
    }

    fn clear(&mut self, range: &KeyRange) {
        let gone: Vec<Bytes> = self.rows(range).map(|(key, _)| key.clone()).collect();
        let map = self.map_mut(range.family);
        for key in gone {
            map.remove(&key);
        }
    }
}

#[async_trait]
impl KvRead for Families {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        Ok(self.value(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        Ok(self.values(keys))
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        self.page(&scan)
    }
}
