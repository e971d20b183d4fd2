//! A numeric channel as of one moment: what is sealed in the store, what is open in memory, read as one sequence.
//!
//! Points are named by their number in order of arrival. What is read of the store stays in [`SealedCache`], decoded;
//! complete blocks and pages never change, so nothing there grows old.

use std::ops::Range;
use std::sync::Arc;

use neptune_store::chunk::{BLOCK_POINTS, Points};
use neptune_store::pyramid::{FAN_OUT, LEVELS, Page, Summary, node_points, page_points};
use neptune_wire::JobUid;
use neptune_wire::query::Axis;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Refused;
use crate::engine::Core;
use crate::envelope::{partition, span};
use crate::heads::numeric::NumericView;

/// Decoded blocks and pages that are kept.
const CACHE_BYTES: u64 = 96 << 20;
/// Blocks and pages that are read at once.
const BLOCKS: u64 = 32;
const PAGES: u64 = 256;
/// A search begins at the coarsest level that has so many nodes.
const SEARCH_NODES: u64 = 16;

/// Decoded parts of sealed channels.
pub(crate) struct SealedCache(Cache<Place, Sealed, ByBytes>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// The first so many points of a block.
    Block {
        job: JobUid,
        channel: u32,
        block: u64,
        count: u16,
    },
    Page {
        job: JobUid,
        channel: u32,
        level: u8,
        page: u64,
    },
}

#[derive(Clone)]
enum Sealed {
    Block(Arc<Points>),
    Page(Arc<Page>),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Place, Sealed> for ByBytes {
    fn weight(&self, _: &Place, value: &Sealed) -> u64 {
        match value {
            Sealed::Block(points) => 128 + 24 * points.len() as u64,
            Sealed::Page(_) => 128 + size_of::<Page>() as u64,
        }
    }
}

impl SealedCache {
    pub(crate) fn new() -> SealedCache {
        let items = CACHE_BYTES / (16 << 10);
        SealedCache(Cache::with_weighter(items as usize, CACHE_BYTES, ByBytes))
    }

    /// Forgets all of a job that is gone: another may come to have its id.
    pub(crate) fn forget(&self, gone: &JobUid) {
        self.0.retain(|place, _| match place {
            Place::Block { job, .. } | Place::Page { job, .. } => job != gone,
        });
    }
}

/// One channel.
pub(crate) struct Series<'a> {
    core: &'a Core,
    job: JobUid,
    channel: u32,
    pub(crate) view: NumericView,
}

/// Points of one block.
pub(crate) struct Part {
    /// Number of the first.
    pub(crate) first: u64,
    pub(crate) block: Arc<Points>,
    /// Where they lie in the block.
    pub(crate) range: Range<usize>,
}

/// How a stretch of a channel is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nodes of a level, all of complete pages.
    Nodes { level: u8, nodes: Range<u64> },
    /// Points one by one.
    Points(Range<u64>),
}

impl<'a> Series<'a> {
    pub(crate) fn new(core: &'a Core, job: JobUid, channel: u32, view: NumericView) -> Series<'a> {
        Series { core, job, channel, view }
    }

    pub(crate) fn len(&self) -> u64 {
        self.view.len()
    }

    /// Whether arrival is order of the axis, and no key is NaN or infinite.
    pub(crate) fn is_ordered(&self, axis: Axis) -> bool {
        match axis {
            Axis::X => self.view.running.x_ordered,
            Axis::Time => self.view.running.time_ordered,
            Axis::Index => true,
        }
    }

    /// Smallest and largest finite key; the first is above the second when there is none.
    pub(crate) fn span(&self, axis: Axis) -> (f64, f64) {
        let running = &self.view.running;
        match axis {
            _ if running.count == 0 => (f64::INFINITY, f64::NEG_INFINITY),
            Axis::X => (running.x_low, running.x_high),
            Axis::Time => (running.time_low as f64, running.time_high as f64),
            Axis::Index => (0.0, (running.count - 1) as f64),
        }
    }

    /// The level whose nodes are the coarsest ones of which a stretch has at least `nodes`; `None` if it has fewer even of
    /// the finest. It has at most [`FAN_OUT`] times as many.
    pub(crate) fn level_of(points: u64, nodes: u64) -> Option<u8> {
        (0..LEVELS).rev().find(|level| points / node_points(*level) >= nodes)
    }

    /// Points of complete blocks that are sealed: those that nodes stand for.
    fn summed_up(&self) -> u64 {
        self.view.sealed / BLOCK_POINTS as u64 * BLOCK_POINTS as u64
    }

    /// A stretch as nodes of a level, finer ones and points at its ends, in order of arrival.
    pub(crate) fn cover(&self, range: Range<u64>, level: Option<u8>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.cover_into(range, level, &mut pieces);
        pieces
    }

    fn cover_into(&self, range: Range<u64>, level: Option<u8>, pieces: &mut Vec<Piece>) {
        if range.is_empty() {
            return;
        }
        let Some(level) = level else {
            return pieces.push(Piece::Points(range));
        };
        let points = node_points(level);
        let complete = self.summed_up() / page_points(level) * page_points(level);
        let nodes = range.start.div_ceil(points)..range.end.min(complete) / points;
        let finer = level.checked_sub(1);
        if nodes.is_empty() {
            return self.cover_into(range, finer, pieces);
        }
        let (start, end) = (nodes.start * points, nodes.end * points);
        self.cover_into(range.start..start, finer, pieces);
        pieces.push(Piece::Nodes { level, nodes });
        self.cover_into(end..range.end, finer, pieces);
    }

    /// What lies below a node.
    pub(crate) fn below(level: u8, node: u64) -> Piece {
        match level.checked_sub(1) {
            Some(finer) => {
                let first = node * FAN_OUT as u64;
                Piece::Nodes { level: finer, nodes: first..first + FAN_OUT as u64 }
            }
            None => Piece::Points(node * node_points(0)..(node + 1) * node_points(0)),
        }
    }

    /// The first stretch of `range` that is read at once, and what is left.
    pub(crate) fn split_nodes(nodes: Range<u64>) -> (Range<u64>, Range<u64>) {
        let middle = ((nodes.start / FAN_OUT as u64 + PAGES) * FAN_OUT as u64).min(nodes.end);
        (nodes.start..middle, middle..nodes.end)
    }

    /// The first stretch of `range` that is read at once, and what is left.
    pub(crate) fn split_points(range: Range<u64>) -> (Range<u64>, Range<u64>) {
        let middle = ((range.start / BLOCK_POINTS as u64 + BLOCKS) * BLOCK_POINTS as u64).min(range.end);
        (range.start..middle, middle..range.end)
    }

    /// Nodes of a level, in order.
    pub(crate) async fn nodes(&self, level: u8, nodes: Range<u64>) -> Result<Vec<Summary>, Refused> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let fan_out = FAN_OUT as u64;
        let first = nodes.start / fan_out;
        let pages = self.pages(level, first..nodes.end.div_ceil(fan_out)).await?;
        let all = pages.iter().flat_map(|page| page.0);
        let skip = (nodes.start - first * fan_out) as usize;
        Ok(all.skip(skip).take((nodes.end - nodes.start) as usize).collect())
    }

    pub(crate) async fn pages(&self, level: u8, pages: Range<u64>) -> Result<Vec<Arc<Page>>, Refused> {
        let (job, channel) = (self.job, self.channel);
        let place = |page| Place::Page { job, channel, level, page };
        let cache = &self.core.sealed_cache.0;
        let mut found = Vec::with_capacity((pages.end - pages.start) as usize);
        let mut next = pages.start;
        while next < pages.end {
            if let Some(Sealed::Page(page)) = cache.get(&place(next)) {
                found.push(page);
                next += 1;
                continue;
            }
            let missing = (next..pages.end).take_while(|page| cache.peek(&place(*page)).is_none()).count();
            let read = self.core.store.read_pages(&job, channel, level, next, missing).await?;
            for page in read {
                let page = Arc::new(page);
                cache.insert(place(next), Sealed::Page(page.clone()));
                found.push(page);
                next += 1;
            }
        }
        Ok(found)
    }

    /// Points of a stretch, block by block; [`Series::split_points`] says how many at once.
    pub(crate) async fn points(&self, range: Range<u64>) -> Result<Vec<Part>, Refused> {
        let sealed = range.start..range.end.min(self.view.sealed);
        let mut parts = Vec::new();
        if !sealed.is_empty() {
            let size = BLOCK_POINTS as u64;
            let first = sealed.start / size;
            for (block, points) in (first..).zip(self.blocks(first..sealed.end.div_ceil(size)).await?) {
                let part = sealed.start.max(block * size)..sealed.end.min((block + 1) * size);
                let within = (part.start - block * size) as usize..(part.end - block * size) as usize;
                parts.push(Part { first: part.start, block: points, range: within });
            }
        }
        let open = self.view.parts(range);
        parts.extend(open.map(|(first, block, range)| Part { first, block: block.clone(), range }));
        Ok(parts)
    }

    /// Sealed blocks; the last may be incomplete.
    async fn blocks(&self, blocks: Range<u64>) -> Result<Vec<Arc<Points>>, Refused> {
        let (job, channel, size) = (self.job, self.channel, BLOCK_POINTS as u64);
        let count = |block: u64| (self.view.sealed - block * size).min(size) as usize;
        let place = |block| Place::Block { job, channel, block, count: count(block) as u16 };
        let cache = &self.core.sealed_cache.0;
        let mut found = Vec::with_capacity((blocks.end - blocks.start) as usize);
        let mut next = blocks.start;
        while next < blocks.end {
            if let Some(Sealed::Block(points)) = cache.get(&place(next)) {
                found.push(points);
                next += 1;
                continue;
            }
            let missing = (next..blocks.end).take_while(|block| cache.peek(&place(*block)).is_none());
            let counts: Vec<usize> = missing.map(count).collect();
            let chunks = self.core.store.read_chunks(&job, channel, next, counts).await?;
            // Decoding takes some 40 microseconds a block.
            let decoded = tokio::task::spawn_blocking(|| chunks.decode()).await;
            for points in decoded.map_err(|broken| Refused::Storage(Box::new(broken)))?? {
                let points = Arc::new(points);
                cache.insert(place(next), Sealed::Block(points.clone()));
                found.push(points);
                next += 1;
            }
        }
        Ok(found)
    }

    /// The number of the first point whose key is not `before`, on an axis that is ordered.
    pub(crate) async fn partition(&self, axis: Axis, before: impl Fn(f64) -> bool) -> Result<u64, Refused> {
        let mut range = 0..self.len();
        let mut level = Series::level_of(self.summed_up(), SEARCH_NODES);
        'down: loop {
            for piece in self.cover(range.clone(), level) {
                match piece {
                    Piece::Nodes { level: at, nodes } => {
                        let summaries = self.nodes(at, nodes.clone()).await?;
                        let is_before = |(node, summary): &(u64, Summary)| {
                            let arrival = node * node_points(at);
                            span(axis, arrival, summary).is_some_and(|(_, max)| before(max))
                        };
                        let found = nodes.zip(summaries).find(|node| !is_before(node));
                        if let Some((node, _)) = found {
                            range = node * node_points(at)..(node + 1) * node_points(at);
                            level = at.checked_sub(1);
                            continue 'down;
                        }
                    }
                    Piece::Points(points) => {
                        let mut left = points;
                        while !left.is_empty() {
                            let (now, later) = Series::split_points(left);
                            for part in self.points(now).await? {
                                let found = partition(part.range.clone(), |at| before(part.key(axis, at)));
                                if found < part.range.end {
                                    return Ok(part.first + (found - part.range.start) as u64);
                                }
                            }
                            left = later;
                        }
                    }
                }
            }
            return Ok(range.end);
        }
    }
}

impl Part {
    /// The key of the point at a place of the block.
    pub(crate) fn key(&self, axis: Axis, at: usize) -> f64 {
        match axis {
            Axis::X => self.block.x[at],
            Axis::Time => self.block.time[at] as f64,
            Axis::Index => (self.first + (at - self.range.start) as u64) as f64,
        }
    }
}
