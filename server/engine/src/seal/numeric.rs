//! What sealing makes of a numeric channel: complete blocks with their pages, and a part of the incomplete one.
//!
//! Slow channels bring a few points at a time. Their parts are merged when eight of about one size lie side by side, so
//! that a block has few parts and a point is written again at most four times until its block is complete.

use std::ops::Range;

use neptune_store::chunk::{BLOCK_POINTS, CHUNK_BYTES, Points, SURE_POINTS};
use neptune_store::kv::ReadError;
use neptune_store::pyramid::{FAN_OUT, Page, Summary};
use neptune_store::sealed::part_starts;
use neptune_store::{NumericState, Store, StoreError, Writes};
use neptune_wire::JobUid;

use crate::heads::numeric::NumericView;

/// Parts of about one size that are merged.
const MERGED_PARTS: usize = 8;

/// A channel about to be sealed, with all that is needed for it.
pub(super) struct Task {
    job: JobUid,
    channel: u32,
    /// Points of each part that the incomplete block lies in.
    parts: Vec<u32>,
    view: NumericView,
    /// The last points of the incomplete block that are written again.
    again: Points,
    /// How many parts these are.
    merged: usize,
    /// Of each level, the nodes below its next page that are complete already.
    spine: Vec<Vec<Summary>>,
}

/// Changes to commit in order; the last belong in one commit with the state.
pub(super) struct Sealed {
    pub(super) pieces: Vec<Writes>,
    pub(super) state: NumericState,
}

impl Task {
    /// Reads what must be written again, and the pages that new ones sum up.
    pub(super) async fn gather(
        store: &Store,
        job: JobUid,
        channel: u32,
        parts: Vec<u32>,
        view: NumericView,
    ) -> Result<Task, StoreError> {
        let size = BLOCK_POINTS as u64;
        let (sealed, block) = (view.sealed, view.sealed / size);
        let tail = (sealed % size) as usize;
        if parts.iter().map(|part| *part as usize).sum::<usize>() != tail {
            let why = format!("channel {channel} of job {job} has {tail} points in parts {parts:?}");
            return Err(StoreError::Read(ReadError::Io(why.into())));
        }
        let fresh = view.len() - sealed;
        let is_complete = tail as u64 + fresh >= size;
        let merged = if is_complete { parts.len() } else { parts_to_merge(&parts, fresh as u32) };
        let mut again = Points::default();
        if merged > 0 {
            let count = parts.iter().rev().take(merged).map(|points| *points as usize).sum::<usize>();
            let block = store.read_chunks(&job, channel, block, vec![tail]).await?.decode()?;
            again.extend(&block[0], tail - count..tail);
        }
        let mut spine = Vec::new();
        let (mut first, mut end) = (block, view.len() / size);
        let fan_out = FAN_OUT as u64;
        for level in 0.. {
            let begin = first / fan_out * fan_out;
            if end / fan_out == first / fan_out {
                break;
            }
            let count = (first - begin) as usize;
            let pages = store.read_pages(&job, channel, level, begin, count).await?;
            spine.push(pages.iter().map(Page::node).collect());
            (first, end) = (first / fan_out, end / fan_out);
        }
        Ok(Task { job, channel, parts, view, again, merged, spine })
    }

    /// Compresses and sums up.
    ///
    /// Cost: some 35 ns a point.
    pub(super) fn encode(self) -> Sealed {
        let Task { job, channel, parts, view, again, merged, spine } = self;
        let kept = parts.len() - merged;
        let block = view.sealed / BLOCK_POINTS as u64;
        let merged = part_starts(block, &parts).skip(kept).collect::<Vec<u64>>();
        let mut out = Encoder {
            job,
            channel,
            next: view.sealed - again.len() as u64,
            pieces: Vec::new(),
            put: Vec::new(),
            parts: parts[..kept].to_vec(),
            spine,
        };
        let mut begun = again;
        for block in &view.open {
            if begun.is_empty() && block.len() == BLOCK_POINTS {
                out.block(block);
                continue;
            }
            begun.extend(block, 0..block.len());
            if (out.next + begun.len() as u64).is_multiple_of(BLOCK_POINTS as u64) {
                out.block(&std::mem::take(&mut begun));
            }
        }
        if !begun.is_empty() {
            out.part(&begun);
        }
        // In the commit of the state: until then the old one still names them.
        if let Some(last) = out.pieces.last_mut() {
            let gone = merged.into_iter().filter(|start| !out.put.contains(start));
            gone.for_each(|start| last.delete_chunk(&job, channel, start));
        }
        Sealed { pieces: out.pieces, state: NumericState { running: view.running, parts: out.parts } }
    }
}

struct Encoder {
    job: JobUid,
    channel: u32,
    /// Number of the next point.
    next: u64,
    pieces: Vec<Writes>,
    /// First points of the chunks in them that may be in the place of a part.
    put: Vec<u64>,
    parts: Vec<u32>,
    spine: Vec<Vec<Summary>>,
}

impl Encoder {
    /// Adds a complete block, and every page it completes.
    fn block(&mut self, points: &Points) {
        let mut writes = Writes::new();
        let mut number = self.next / BLOCK_POINTS as u64;
        self.chunks(points, &mut writes);
        self.parts.clear();
        let mut page = Page::of_block(points);
        for level in 0.. {
            writes.put_page(&self.job, self.channel, level, number, page.encode());
            let at = usize::from(level);
            if self.spine.len() <= at {
                self.spine.push(Vec::with_capacity(FAN_OUT));
            }
            self.spine[at].push(page.node());
            if !(number + 1).is_multiple_of(FAN_OUT as u64) {
                break;
            }
            let nodes = std::mem::take(&mut self.spine[at]);
            page = Page(
                nodes.try_into().expect("the nodes before were gathered, as this page completes theirs"),
            );
            number /= FAN_OUT as u64;
        }
        self.pieces.push(writes);
    }

    /// Adds points of an incomplete block.
    fn part(&mut self, points: &Points) {
        let mut writes = Writes::new();
        let parts = self.chunks(points, &mut writes);
        self.parts.extend(parts);
        self.pieces.push(writes);
    }

    /// Puts points in one chunk, or in two if one does not hold them; answers how many are in each.
    fn chunks(&mut self, points: &Points, writes: &mut Writes) -> Vec<u32> {
        let whole = points.encode(0..points.len());
        let chunks = if whole.len() <= CHUNK_BYTES {
            vec![(points.len(), whole)]
        } else {
            let halves: [Range<usize>; 2] = [0..SURE_POINTS, SURE_POINTS..points.len()];
            halves.map(|half| (half.len(), points.encode(half))).into()
        };
        let mut counts = Vec::with_capacity(chunks.len());
        for (count, chunk) in chunks {
            writes.put_chunk(&self.job, self.channel, self.next, chunk);
            self.put.push(self.next);
            self.next += count as u64;
            counts.push(count as u32);
        }
        counts
    }
}

/// How many of the parts before it are written again with a new one of so many points.
fn parts_to_merge(parts: &[u32], fresh: u32) -> usize {
    let size_class = |points: u32| points.max(1).ilog(MERGED_PARTS as u32);
    let (mut merged, mut points) = (0, fresh);
    loop {
        let before = &parts[..parts.len() - merged];
        let class = size_class(points);
        let alike = before.iter().rev().take_while(|part| size_class(**part) <= class).count();
        if alike + 1 < MERGED_PARTS {
            return merged;
        }
        merged += alike;
        points += before.iter().rev().take(alike).sum::<u32>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_few_and_are_written_again_a_few_times() {
        for fresh in [1, 7, 60] {
            let (mut parts, mut points, mut written) = (Vec::new(), 0, 0);
            while points + fresh < BLOCK_POINTS as u32 {
                let merged = parts_to_merge(&parts, fresh);
                let again: u32 = parts.drain(parts.len() - merged..).sum();
                parts.push(again + fresh);
                (points, written) = (points + fresh, written + again + fresh);
                assert!(parts.len() <= 32, "{parts:?}");
            }
            assert!(written <= 5 * points, "{written} of {points} points at {fresh} each");
        }
    }
}
