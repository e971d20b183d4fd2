//! The table's metrics as they are saved: about once a minute and at the end, only the chunks of rows that changed.
//!
//! Of each job the summaries of its metrics lie there and [`SealRecord::commits`], up to which they are known to reflect
//! what is sealed. A start takes a job's summaries from here when this number is still the same; otherwise, or when
//! nothing is saved of it, it reads what is sealed. A job of which not all is in is saved with a number that no job
//! reaches, so it is read, too. What is not sealed is known by the heads. Fields, params and
//! properties are not saved: the registry reads them at every start anyway.
//!
//! ```text
//! chunk    zstd of
//!   rows u8 · for each: its place in the chunk u8 · job uid (16) · commits u64
//!   metrics u32 · for each: name length u16 · name · rows u8 · for each: which of the rows above u8
//!                           then lane after lane, for each row an f64             little-endian
//! ```
//!
//! [`SealRecord::commits`]: neptune_store::SealRecord::commits

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use neptune_store::table::{SavedParts, SavedTable, cut};
use neptune_store::{Store, StoreError, WriteError, Writes};
use neptune_wire::JobUid;

use super::paged::{Mask, NONE, PAGE_ROWS, rows_of};
use super::rows::{CHUNK_ROWS, LANES, MetricCells, Rows};
use crate::Refused;
use crate::engine::Core;

/// Changed chunks are saved so often.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// What one commit of a save may hold; well below what a backend takes.
const COMMIT_BYTES: usize = 512 << 10;
const COMMIT_OPS: usize = 500;
/// Chunks that are put together at a time.
const CHUNKS: usize = 32;
/// A chunk of more than this is not believed.
const CHUNK_BYTES: usize = 256 << 20;
const LEVEL: i32 = 1;
/// In place of [`SealRecord::commits`] of a job whose metrics are not all in: no job is sealed so often, so what is saved
/// of it is never taken for the truth.
///
/// [`SealRecord::commits`]: neptune_store::SealRecord::commits
const UNREAD: u64 = u64::MAX;
/// A saved chunk is looked at so often again: what was taken in before is sealed within a minute or two after it.
const LOOKS: u8 = 4;

/// What is saved and since when.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The generation that lies there of each chunk.
    chunks: HashMap<u32, SavedParts>,
    /// Pieces that no chunk needs any more.
    waste: Vec<SavedParts>,
    /// Chunks that were saved lately: the sum of their jobs' commits then, and how often to look at it again.
    watched: BTreeMap<u32, (u64, u8)>,
}

/// One row of a chunk.
struct SavedRow {
    place: u8,
    uid: JobUid,
    commits: u64,
}

/// Puts together a chunk; `None` when it has no jobs.
fn encode(rows: &Rows, chunk: u32, commits: &HashMap<JobUid, u64>) -> Option<Vec<u8>> {
    let mask = mask_of(rows, chunk);
    let page = chunk * CHUNK_ROWS / PAGE_ROWS as u32;
    let base = page * PAGE_ROWS as u32;
    let numbers: Vec<u32> = rows_of(&mask).map(|at| base + at).collect();
    if numbers.is_empty() {
        return None;
    }
    let mut bytes = vec![numbers.len() as u8];
    for row in &numbers {
        let uid = rows.uid(*row);
        bytes.push((row % CHUNK_ROWS) as u8);
        bytes.extend_from_slice(uid.as_bytes());
        let commits = commits.get(&uid).copied().unwrap_or(0);
        let commits = if rows.is_unread(&uid) { UNREAD } else { commits };
        bytes.extend_from_slice(&commits.to_le_bytes());
    }
    let count_at = bytes.len();
    let mut count = 0_u32;
    bytes.extend_from_slice(&count.to_le_bytes());
    for metric in rows.metrics() {
        let held = metric.cells.select(page, 0, &mask, |_| true);
        if held == NONE {
            continue;
        }
        count += 1;
        bytes.extend_from_slice(&(metric.name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(metric.name.as_bytes());
        let held: Vec<u32> = rows_of(&held).map(|at| base + at).collect();
        bytes.push(held.len() as u8);
        bytes.extend(held.iter().map(|row| (row % CHUNK_ROWS) as u8));
        for lane in 0..LANES {
            for row in &held {
                bytes.extend_from_slice(&metric.cells.get(*row, lane).to_bits().to_le_bytes());
            }
        }
    }
    bytes[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    let packed = zstd::bulk::compress(&bytes, LEVEL);
    Some(packed.expect("compressing in memory fails only without memory"))
}

/// The rows of a chunk that are of a job, within their page.
fn mask_of(rows: &Rows, chunk: u32) -> Mask {
    let first = chunk * CHUNK_ROWS;
    let present = rows.present(first / PAGE_ROWS as u32);
    // A chunk is a word of its page's mask.
    let word = first as usize % PAGE_ROWS / 64;
    let mut mask = NONE;
    mask[word] = present[word];
    mask
}

/// A chunk as it was saved.
struct Chunk {
    rows: Vec<SavedRow>,
    metrics: Vec<(String, Vec<(u8, MetricCells)>)>,
}

/// Reads a chunk; `None` for bytes that [`encode`] does not make.
fn decode(bytes: &[u8]) -> Option<Chunk> {
    let bytes = zstd::bulk::decompress(bytes, CHUNK_BYTES).ok()?;
    let mut rest = &bytes[..];
    let mut take = |count: usize| -> Option<&[u8]> {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    let mut chunk = Chunk { rows: Vec::new(), metrics: Vec::new() };
    for _ in 0..take(1)?[0] {
        let place = take(1)?[0];
        let uid = JobUid::from_bytes(take(16)?.try_into().ok()?);
        let commits = u64::from_le_bytes(take(8)?.try_into().ok()?);
        if u32::from(place) >= CHUNK_ROWS {
            return None;
        }
        chunk.rows.push(SavedRow { place, uid, commits });
    }
    for _ in 0..u32::from_le_bytes(take(4)?.try_into().ok()?) {
        let length = u16::from_le_bytes(take(2)?.try_into().ok()?);
        let name = String::from_utf8(take(usize::from(length))?.to_vec()).ok()?;
        let count = usize::from(take(1)?[0]);
        let places = take(count)?.to_vec();
        let lanes = take(count * LANES * 8)?;
        let cell = |lane: usize, at: usize| {
            let from = (lane * count + at) * 8;
            Some(f64::from_bits(u64::from_le_bytes(lanes[from..from + 8].try_into().ok()?)))
        };
        let mut cells = Vec::with_capacity(count);
        for (at, place) in places.into_iter().enumerate() {
            let mut row = [0.0; LANES];
            for (lane, value) in row.iter_mut().enumerate() {
                *value = cell(lane, at)?;
            }
            cells.push((place, MetricCells(row)));
        }
        chunk.metrics.push((name, cells));
    }
    rest.is_empty().then_some(chunk)
}

impl Core {
    /// Takes what is saved into the empty table, as far as it is of jobs there are and still true: `seals` says how far
    /// each job is sealed now. Answers the jobs whose metrics are in.
    pub(crate) async fn load_saved_table(
        &self,
        seals: &HashMap<JobUid, u64>,
    ) -> Result<HashSet<JobUid>, StoreError> {
        let found = self.store.read_saved_table().await?;
        let (saved, taken) = self.take_saved(found, seals);
        *self.registry.table.saved.lock().await = saved;
        Ok(taken)
    }

    fn take_saved(&self, found: SavedTable, seals: &HashMap<JobUid, u64>) -> (Saved, HashSet<JobUid>) {
        let mut taken = HashSet::new();
        let mut rows = self.registry.table.write();
        let mut saved = Saved::default();
        for parts in found.parts {
            // Generations of a chunk come in order, and the last whole one is the one to keep.
            let at = found.chunks.binary_search_by_key(&parts.chunk, |chunk| chunk.chunk);
            let whole = at.is_ok_and(|at| found.chunks[at].generation == parts.generation);
            let old = if whole { saved.chunks.insert(parts.chunk, parts) } else { Some(parts) };
            saved.waste.extend(old);
        }
        let is_known = |uid: &JobUid| self.registry.find_uid(uid).is_some();
        // No table is so much larger than its jobs; a number that says so is damaged.
        let chunks = (self.registry.count().0 * 4 / u64::from(CHUNK_ROWS) + 1_024) as u32;
        for found in found.chunks {
            match decode(&found.bytes).filter(|_| found.chunk < chunks) {
                Some(chunk) => take_chunk(&mut rows, found.chunk, &chunk, seals, is_known, &mut taken),
                None => tracing::warn!(
                    chunk = found.chunk,
                    "a saved piece of the job table cannot be read; it is made again"
                ),
            }
        }
        (saved, taken)
    }

    /// Saves chunks that changed from time to time, until the engine stops.
    pub(crate) async fn keep_table_saved(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(SAVE_EVERY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            self.save_table().await;
        }
    }

    /// Saves the chunks that changed since they were last saved. What cannot be written is tried again the next time.
    pub(crate) async fn save_table(&self) {
        if self.registry.table.has_failed() || self.store.disk().is_full() {
            return;
        }
        if let Err(error) = self.try_save_table().await {
            tracing::warn!(%error, "the job table was not saved; a start takes longer until it is");
        }
    }

    async fn try_save_table(&self) -> Result<(), Refused> {
        let table = &self.registry.table;
        let mut saved = table.saved.lock().await;
        table.take_in();
        let unsaved = table.write().take_unsaved();
        let outcome = self.save_chunks(&mut saved, &unsaved).await;
        if outcome.is_err() {
            let mut rows = table.write();
            unsaved.iter().for_each(|chunk| rows.note_unsaved(*chunk));
        }
        outcome
    }

    async fn save_chunks(&self, saved: &mut Saved, unsaved: &BTreeSet<u32>) -> Result<(), Refused> {
        let table = &self.registry.table;
        let looked_at: BTreeSet<u32> = unsaved.iter().chain(saved.watched.keys()).copied().collect();
        if looked_at.is_empty() && saved.waste.is_empty() {
            return Ok(());
        }
        let jobs: Vec<(u32, Vec<JobUid>)> = {
            let rows = table.read();
            looked_at.iter().map(|chunk| (*chunk, jobs_of(&rows, *chunk))).collect()
        };
        let mut commits = HashMap::new();
        let mut sums = BTreeMap::new();
        for (chunk, jobs) in jobs {
            let sum = read_commits(&self.store, &jobs, &mut commits).await?;
            let is_as_saved = saved.watched.get(&chunk).is_some_and(|(before, _)| *before == sum);
            if unsaved.contains(&chunk) || !is_as_saved {
                sums.insert(chunk, sum);
            }
        }
        saved.watched.retain(|_, (_, looks)| {
            *looks -= 1;
            *looks > 0
        });
        // What is sealed by now was applied before; so the rows that are written down hold at least that.
        table.take_in();
        let chunks: Vec<u32> = sums.keys().copied().collect();
        let mut save = Save { store: &self.store, saved, writes: Writes::new() };
        for some in chunks.chunks(CHUNKS) {
            for (chunk, bytes) in table.encode_chunks(some, &commits) {
                save.put(chunk, bytes).await?;
            }
            tokio::task::yield_now().await;
        }
        save.end().await?;
        saved.watched.extend(sums.into_iter().map(|(chunk, sum)| (chunk, (sum, LOOKS))));
        Ok(())
    }
}

/// Takes a saved chunk into the rows, as far as it is of known jobs and still true.
fn take_chunk(
    rows: &mut Rows,
    number: u32,
    chunk: &Chunk,
    seals: &HashMap<JobUid, u64>,
    is_known: impl Fn(&JobUid) -> bool,
    taken: &mut HashSet<JobUid>,
) {
    let mut at = HashMap::new();
    for SavedRow { place, uid, commits } in &chunk.rows {
        let row = number * CHUNK_ROWS + u32::from(*place);
        // A job keeps its row, so that only chunks that change are saved again.
        let is_there = is_known(uid) && rows.put_back(row, uid);
        if is_there && seals.get(uid).copied().unwrap_or(0) == *commits {
            at.insert(*place, row);
            taken.insert(*uid);
        } else {
            rows.note_unsaved(number);
        }
    }
    for (name, cells) in &chunk.metrics {
        for (place, cells) in cells {
            if let Some(row) = at.get(place) {
                rows.take_metric(*row, name, cells);
            }
        }
    }
}

/// The jobs of a chunk.
fn jobs_of(rows: &Rows, chunk: u32) -> Vec<JobUid> {
    let base = chunk * CHUNK_ROWS / PAGE_ROWS as u32 * PAGE_ROWS as u32;
    rows_of(&mask_of(rows, chunk)).map(|at| rows.uid(base + at)).collect()
}

/// Reads how far each of these jobs is sealed; answers the sum, which changes when any of them does.
async fn read_commits(
    store: &Store,
    jobs: &[JobUid],
    commits: &mut HashMap<JobUid, u64>,
) -> Result<u64, Refused> {
    let mut sum = 0;
    for uid in jobs {
        if let Some(seal) = store.find_seal(uid).await? {
            commits.insert(*uid, seal.commits);
            sum += seal.commits;
        }
    }
    Ok(sum)
}

impl super::Table {
    fn encode_chunks(&self, chunks: &[u32], commits: &HashMap<JobUid, u64>) -> Vec<(u32, Option<Vec<u8>>)> {
        let rows = self.read();
        chunks.iter().map(|chunk| (*chunk, encode(&rows, *chunk, commits))).collect()
    }
}

/// A save on its way: pieces of the new generations first, then the old ones are freed.
struct Save<'a> {
    store: &'a Store,
    saved: &'a mut Saved,
    writes: Writes,
}

impl Save<'_> {
    async fn put(&mut self, chunk: u32, bytes: Option<Vec<u8>>) -> Result<(), WriteError> {
        let generations = self.saved.chunks.get(&chunk).into_iter().chain(&self.saved.waste);
        let generation = generations.map(|parts| parts.generation).max().unwrap_or(0) + 1;
        let mut count = 0;
        for piece in bytes.iter().flat_map(|bytes| cut(bytes)) {
            self.writes.put_table_part(chunk, generation, count, piece);
            count += 1;
            if self.writes.size_bytes() >= COMMIT_BYTES || self.writes.ops() >= COMMIT_OPS {
                // Whatever is there of a generation that does not come to its end is to be freed.
                self.saved.waste.push(SavedParts { chunk, generation, first: 0, count });
                self.commit().await?;
                self.saved.waste.pop();
            }
        }
        let old = match count {
            0 => self.saved.chunks.remove(&chunk),
            count => self.saved.chunks.insert(chunk, SavedParts { chunk, generation, first: 0, count }),
        };
        self.saved.waste.extend(old);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), WriteError> {
        self.store.commit(std::mem::take(&mut self.writes)).await
    }

    /// Commits what is left, then frees what is not needed any more.
    async fn end(mut self) -> Result<(), WriteError> {
        if !self.writes.is_empty() {
            self.commit().await?;
        }
        while let Some(parts) = self.saved.waste.last().copied() {
            self.writes.delete_saved(&parts);
            if self.writes.ops() >= COMMIT_OPS {
                self.commit().await?;
            }
            self.saved.waste.pop();
        }
        if self.writes.is_empty() { Ok(()) } else { self.commit().await }
    }
}

#[cfg(test)]
mod tests;
