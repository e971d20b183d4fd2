//! Reading what is sealed, and clearing the frames behind it.
//!
//! A block's parts are read in one scan, which shows one moment. They may be merged or grow between the moment a reader
//! learned how many points there are and the scan; then it finds those points and more. A part that does not begin where
//! the ones before it end is left over from a commit that was not followed by its state, and is passed over.

use std::collections::HashMap;

use bytes::Bytes;
use neptune_kv::{Family, KeyRange, Scan};
use neptune_wire::JobUid;

use crate::chunk::{BLOCK_POINTS, Points};
use crate::key::{StoreKey, Tag, range_between};
use crate::pyramid::Page;
use crate::record::{ChannelStateRecord, SealRecord};
use crate::store::{Store, StoreError, WriteError, record_at};

/// The first point of a block.
pub fn block_start(block: u64) -> u64 {
    block * BLOCK_POINTS as u64
}

/// Chunks of some blocks as they were read.
#[derive(Debug)]
pub struct Chunks {
    job: JobUid,
    channel: u32,
    first: u64,
    counts: Vec<usize>,
    rows: Vec<(u64, Bytes)>,
}

impl Chunks {
    fn key(&self, first: u64) -> StoreKey {
        StoreKey::Chunk { job: self.job, channel: self.channel, first }
    }

    /// As many points of each block as were wanted.
    ///
    /// Cost: some 8 ns a point.
    ///
    /// # Errors
    ///
    /// [`StoreError::Chunk`] for a damaged chunk, [`StoreError::Missing`] for a block that has fewer points.
    pub fn decode(self) -> Result<Vec<Points>, StoreError> {
        let mut blocks = vec![Points::default(); self.counts.len()];
        for (first, value) in &self.rows {
            let at = (first / BLOCK_POINTS as u64 - self.first) as usize;
            let (block, count) = (&mut blocks[at], self.counts[at]);
            let is_next = *first == block_start(self.first + at as u64) + block.len() as u64;
            if block.len() < count && is_next {
                let damaged = |source| StoreError::Chunk { key: self.key(*first).encode(), source };
                let points = Points::decode(value).map_err(damaged)?;
                let taken = points.len().min(count - block.len());
                match block.is_empty() && taken == points.len() {
                    true => *block = points,
                    false => block.extend(&points, 0..taken),
                }
            }
        }
        for (at, (block, count)) in blocks.iter().zip(&self.counts).enumerate() {
            if block.len() < *count {
                let key = self.key(block_start(self.first + at as u64)).encode();
                return Err(StoreError::Missing { what: "the rest of a block's points", key });
            }
        }
        Ok(blocks)
    }
}

impl Store {
    /// What is sealed of a job's channels, by channel number.
    ///
    /// # Errors
    ///
    /// What hinders the store, or a record that is damaged.
    pub async fn read_channel_states(
        &self,
        job: &JobUid,
    ) -> Result<HashMap<u32, ChannelStateRecord>, StoreError> {
        let mut states = HashMap::new();
        for (key, value) in self.scan_all(Tag::ChannelState.job_range(job)).await? {
            let StoreKey::ChannelState { channel, .. } = key else { continue };
            states.insert(channel, record_at(&key, &value)?);
        }
        Ok(states)
    }

    /// How far a job is sealed; `None` for a job that never was.
    ///
    /// # Errors
    ///
    /// What hinders the store, or a record that is damaged.
    pub async fn find_seal(&self, job: &JobUid) -> Result<Option<SealRecord>, StoreError> {
        self.find(&StoreKey::Seal { job: *job }).await
    }

    /// How far every job is sealed that ever was.
    ///
    /// # Errors
    ///
    /// What hinders the store, or a record that is damaged.
    pub async fn read_seals(&self) -> Result<Vec<(JobUid, SealRecord)>, StoreError> {
        let mut seals = Vec::new();
        for shard in 0..=u8::MAX {
            for (key, value) in self.scan_all(Tag::Seal.shard_range(shard)).await? {
                let StoreKey::Seal { job } = key else { continue };
                seals.push((job, record_at(&key, &value)?));
            }
        }
        Ok(seals)
    }

    /// Jobs whose frame log is not empty.
    ///
    /// # Errors
    ///
    /// What hinders the store.
    pub async fn list_jobs_with_frames(&self) -> Result<Vec<JobUid>, StoreError> {
        let mut jobs = Vec::new();
        let mut start = KeyRange::all(Family::Log).start;
        loop {
            let range = KeyRange { family: Family::Log, start, end: None };
            let page = self.kv().scan(Scan::ascending(range).rows(1)).await?;
            let Some((key, _)) = page.rows.into_iter().next() else { return Ok(jobs) };
            let StoreKey::Frame { job, .. } = StoreKey::decode(Family::Log, &key)? else { return Ok(jobs) };
            jobs.push(job);
            match Tag::Frame.job_range(&job).end {
                Some(end) => start = end,
                None => return Ok(jobs),
            }
        }
    }

    /// Whether a job's frame log is not empty.
    ///
    /// # Errors
    ///
    /// What hinders the store.
    pub async fn has_frames(&self, job: &JobUid) -> Result<bool, StoreError> {
        self.has_any(Tag::Frame.job_range(job)).await
    }

    /// The chunks of some blocks of a channel: `counts[i]` points of block `first + i` are wanted. One scan.
    ///
    /// # Errors
    ///
    /// What hinders the store.
    pub async fn read_chunks(
        &self,
        job: &JobUid,
        channel: u32,
        first: u64,
        counts: Vec<usize>,
    ) -> Result<Chunks, StoreError> {
        let mut chunks = Chunks { job: *job, channel, first, counts, rows: Vec::new() };
        let end = first + chunks.counts.len() as u64;
        let mut next = Some(range_between(&chunks.key(block_start(first)), &chunks.key(block_start(end))));
        while let Some(range) = next {
            let (rows, rest) = self.scan(range).await?;
            for (key, value) in rows {
                let StoreKey::Chunk { first, .. } = key else { continue };
                chunks.rows.push((first, value));
            }
            next = rest;
        }
        Ok(chunks)
    }

    /// Pages `first .. first + count` of one level of a channel's pyramid.
    ///
    /// # Errors
    ///
    /// [`StoreError::Page`] for a damaged page, [`StoreError::Missing`] for one that is not there.
    pub async fn read_pages(
        &self,
        job: &JobUid,
        channel: u32,
        level: u8,
        first: u64,
        count: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let key = |page: u64| StoreKey::Page { job: *job, channel, level, page };
        let mut pages = Vec::with_capacity(count);
        let mut next = Some(range_between(&key(first), &key(first + count as u64)));
        while let Some(range) = next {
            let (rows, rest) = self.scan(range).await?;
            for (found, value) in rows {
                if found != key(first + pages.len() as u64) {
                    break;
                }
                let damaged = |source| StoreError::Page { key: found.encode(), source };
                pages.push(Page::decode(level, &value).map_err(damaged)?);
            }
            next = rest;
        }
        if pages.len() < count {
            let key = key(first + pages.len() as u64).encode();
            return Err(StoreError::Missing { what: "a page of the pyramid", key });
        }
        Ok(pages)
    }

    /// Frees the frames of a job up to `through`, which its channels' states hold. May be repeated.
    ///
    /// # Errors
    ///
    /// What hinders the store; some of the frames may be gone then.
    pub async fn clear_frames(&self, job: &JobUid, through: u64) -> Result<(), WriteError> {
        let key = |seq| StoreKey::Frame { job: *job, seq };
        self.clear(range_between(&key(0), &key(through.saturating_add(1)))).await
    }
}

/// Where the parts of an incomplete block begin, and what lies behind the last.
pub fn part_starts(block: u64, parts: &[u32]) -> impl Iterator<Item = u64> + '_ {
    let mut next = block_start(block);
    parts.iter().map(move |points| {
        let start = next;
        next += u64::from(*points);
        start
    })
}
