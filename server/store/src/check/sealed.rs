//! Chunks against the states that count them, and the pyramid against the chunks it sums up.

use std::collections::HashMap;

use neptune_wire::JobUid;

use super::Damage;
use crate::chunk::{BLOCK_POINTS, Points};
use crate::key::StoreKey;
use crate::pyramid::{FAN_OUT, Page, Summary};
use crate::record::{ChannelState, ChannelStateRecord};
use crate::store::{Store, StoreError};

/// What was read of sealed channels so far. Chunks come in order of channel and point.
#[derive(Default)]
pub(super) struct SealedCheck {
    /// How many points each numeric channel has sealed; taken out once its chunks were read.
    counts: HashMap<(JobUid, u32), u64>,
    open: Option<Series>,
}

/// The channel whose chunks are being read.
struct Series {
    job: JobUid,
    channel: u32,
    /// How many points the state says there are.
    count: u64,
    /// How many were read.
    read: u64,
    block: Points,
    /// Of each level, the nodes that no complete page holds yet.
    spine: Vec<Vec<Summary>>,
}

impl SealedCheck {
    pub(super) fn add_state(&mut self, job: JobUid, channel: u32, record: &ChannelStateRecord) {
        if let ChannelState::Numeric(state) = &record.state {
            self.counts.insert((job, channel), state.running.count);
        }
    }

    /// Takes in the next chunk.
    pub(super) async fn add_chunk(
        &mut self,
        store: &Store,
        (job, channel, first): (JobUid, u32, u64),
        value: &[u8],
        tell: &mut (dyn FnMut(Damage) + Send),
    ) -> Result<(), StoreError> {
        if self.open.as_ref().is_some_and(|open| (open.job, open.channel) != (job, channel)) {
            self.end_series(tell);
        }
        let counts = &mut self.counts;
        let series = self.open.get_or_insert_with(|| {
            let count = counts.remove(&(job, channel)).unwrap_or(0);
            Series { job, channel, count, read: 0, block: Points::default(), spine: Vec::new() }
        });
        match Points::decode(value) {
            Ok(points) => series.add(store, first, &points, tell).await,
            Err(source) => {
                let key = StoreKey::Chunk { job, channel, first }.encode();
                tell(Damage::Chunk { key, source });
                Ok(())
            }
        }
    }

    /// The last chunk was read.
    pub(super) fn end(&mut self, tell: &mut (dyn FnMut(Damage) + Send)) {
        self.end_series(tell);
        for ((job, channel), count) in std::mem::take(&mut self.counts) {
            if count > 0 {
                tell(Damage::Points { job, channel, count, found: 0 });
            }
        }
    }

    fn end_series(&mut self, tell: &mut (dyn FnMut(Damage) + Send)) {
        let Some(Series { job, channel, count, read, .. }) = self.open.take() else { return };
        if read < count {
            tell(Damage::Points { job, channel, count, found: read });
        }
    }
}

impl Series {
    async fn add(
        &mut self,
        store: &Store,
        first: u64,
        points: &Points,
        tell: &mut (dyn FnMut(Damage) + Send),
    ) -> Result<(), StoreError> {
        // What lies beyond the count, or not where the points before it end, is left over and never read.
        if first != self.read || self.read >= self.count {
            return Ok(());
        }
        let taken = (points.len() as u64).min(self.count - self.read) as usize;
        self.block.extend(points, 0..taken);
        self.read += taken as u64;
        if self.block.len() == BLOCK_POINTS {
            let block = std::mem::take(&mut self.block);
            let page = Page::of_block(&block);
            self.compare_page(store, 0, self.read / BLOCK_POINTS as u64 - 1, page, tell).await?;
        }
        Ok(())
    }

    /// Compares a page with the one that is stored, and so every page above it that it completes.
    async fn compare_page(
        &mut self,
        store: &Store,
        mut level: u8,
        mut number: u64,
        mut page: Page,
        tell: &mut (dyn FnMut(Damage) + Send),
    ) -> Result<(), StoreError> {
        loop {
            let key = StoreKey::Page { job: self.job, channel: self.channel, level, page: number }.encode();
            match store.kv().get(&key).await? {
                None => tell(Damage::Missing { key, what: "this page of the pyramid" }),
                Some(found) if found != page.encode() => {
                    tell(Damage::Value { key, wanted: "the summary of its points" });
                }
                Some(_) => {}
            }
            let at = usize::from(level);
            if self.spine.len() <= at {
                self.spine.push(Vec::with_capacity(FAN_OUT));
            }
            self.spine[at].push(page.node());
            if self.spine[at].len() < FAN_OUT {
                return Ok(());
            }
            let nodes = std::mem::take(&mut self.spine[at]);
            let Ok(nodes) = nodes.try_into() else { return Ok(()) };
            (level, number, page) = (level + 1, number / FAN_OUT as u64, Page(nodes));
        }
    }
}
