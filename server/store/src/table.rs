//! The job table as it was last saved: chunks of rows, cut into pieces that fit a value.
//!
//! ```text
//! key     tag "tb" · chunk u32 · generation u64 · part u16       big-endian
//! value   format u8 · parts u16 · bytes                          what the bytes are is the engine's
//! ```
//!
//! It is a copy of what is stored elsewhere, made so that a start need not gather it. A chunk is read in its newest
//! generation of which every part is there; so a save may end anywhere, and the generation before it stays until the new
//! one is whole. A chunk of which no generation is whole is as good as none.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::key::{StoreKey, Tag};
use crate::store::{Store, StoreError};
use crate::writes::Writes;

/// What begins every piece.
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 3;
/// Longest piece of a chunk; a value is at most 64 KiB.
const PART_BYTES: usize = 60 << 10;

/// A saved chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedChunk {
    /// Which.
    pub chunk: u32,
    /// When among the saves of this chunk.
    pub generation: u64,
    /// What was saved.
    pub bytes: Vec<u8>,
}

/// The pieces of one generation of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedParts {
    /// Which chunk.
    pub chunk: u32,
    /// Which generation.
    pub generation: u64,
    /// The first piece that is or may be there, and how many from there on.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// All that lies there.
#[derive(Debug, Default)]
pub struct SavedTable {
    /// The newest whole generation of each chunk.
    pub chunks: Vec<SavedChunk>,
    /// Everything that is there, whole or not.
    pub parts: Vec<SavedParts>,
}

/// Whether a value looks like a piece.
pub(crate) fn is_part(value: &[u8]) -> bool {
    value.len() > HEAD_BYTES && value[0] == FORMAT
}

/// Cuts a chunk into its pieces.
pub fn cut(bytes: &[u8]) -> Vec<Bytes> {
    let pieces = bytes.chunks(PART_BYTES);
    let parts = pieces.len() as u16;
    let piece = |piece: &[u8]| {
        let mut value = vec![FORMAT];
        value.extend_from_slice(&parts.to_be_bytes());
        value.extend_from_slice(piece);
        value.into()
    };
    pieces.map(piece).collect()
}

impl Store {
    /// Reads the saved table.
    ///
    /// # Errors
    ///
    /// What hinders the store. Pieces that make no whole are no error.
    pub async fn read_saved_table(&self) -> Result<SavedTable, StoreError> {
        let mut generations: BTreeMap<(u32, u64), Vec<(u16, Bytes)>> = BTreeMap::new();
        for (key, value) in self.scan_all(Tag::TablePart.control_range()).await? {
            let StoreKey::TablePart { chunk, generation, part } = key else { continue };
            generations.entry((chunk, generation)).or_default().push((part, value));
        }
        let mut table = SavedTable::default();
        for ((chunk, generation), parts) in generations {
            let (first, last) = (parts[0].0, parts[parts.len() - 1].0);
            table.parts.push(SavedParts { chunk, generation, first, count: last - first + 1 });
            let Some(bytes) = join(&parts) else { continue };
            // Later generations come later.
            match table.chunks.last_mut() {
                Some(before) if before.chunk == chunk => *before = SavedChunk { chunk, generation, bytes },
                _ => table.chunks.push(SavedChunk { chunk, generation, bytes }),
            }
        }
        Ok(table)
    }
}

/// The bytes of a generation; `None` if it is not whole.
fn join(parts: &[(u16, Bytes)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for ((number, value), wanted) in parts.iter().zip(0..) {
        let count = u16::from_be_bytes(value.get(1..HEAD_BYTES)?.try_into().ok()?);
        if !is_part(value) || *number != wanted || usize::from(count) != parts.len() {
            return None;
        }
        bytes.extend_from_slice(&value[HEAD_BYTES..]);
    }
    Some(bytes)
}

impl Writes {
    /// Frees all pieces of a generation.
    pub fn delete_saved(&mut self, parts: &SavedParts) {
        for part in parts.first..parts.first.saturating_add(parts.count) {
            self.delete_table_part(parts.chunk, parts.generation, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use neptune_kv::MemoryKv;

    use super::*;

    #[tokio::test]
    async fn the_newest_whole_generation_is_read() {
        let store = Store::open(Arc::new(MemoryKv::default()), [7; 32]).await.unwrap();
        let put = async |generation, bytes: &[u8], up_to: usize| {
            let mut writes = Writes::new();
            for (part, piece) in (0..).zip(cut(bytes)).take(up_to) {
                writes.put_table_part(3, generation, part, piece);
            }
            store.commit(writes).await.unwrap();
        };
        let (old, new) = (vec![1; 150_000], vec![2; 130_000]);
        put(1, &old, 9).await;
        // A save that ended before its last piece.
        put(2, &new, 2).await;
        let read = async || store.read_saved_table().await.unwrap();
        assert_eq!(read().await.chunks, [SavedChunk { chunk: 3, generation: 1, bytes: old }]);
        put(2, &new, 9).await;
        let table = read().await;
        assert_eq!(table.chunks, [SavedChunk { chunk: 3, generation: 2, bytes: new }]);
        assert_eq!(table.parts.len(), 2);
        let mut writes = Writes::new();
        writes.delete_saved(&table.parts[0]);
        store.commit(writes).await.unwrap();
        assert_eq!(read().await.parts, table.parts[1..]);
        let mut told = Vec::new();
        store.check(&crate::Blobs::in_memory(), &mut |damage| told.push(damage.to_string())).await;
        assert_eq!(told, Vec::<String>::new());
    }
}
