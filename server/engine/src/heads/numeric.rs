//! Heads of numeric channels: what is sealed as a count and a running summary, what is open as columns in arrival order.
//!
//! Open points lie in blocks that are cut where the blocks of the channel are, every [`BLOCK_POINTS`] from its first point
//! on. A full block never changes and is shared with whoever reads; only the last one is copied for a reader. So a view of
//! a channel costs microseconds, is exact as of one moment, and is read without any lock.
//!
//! Memory: 24 bytes a point of a full block, a third of that for most others.

mod columns;

use std::ops::Range;
use std::sync::Arc;

use neptune_store::chunk::{BLOCK_POINTS, Points};
use neptune_store::{NumericState, Running};
use neptune_wire::ChannelSummary;
use neptune_wire::frame::Numeric;

use self::columns::Columns;
use crate::live::LivePoints;

/// One numeric channel.
#[derive(Debug, Default)]
pub(crate) struct NumericHead {
    /// Points that lie in chunks.
    sealed: u64,
    /// Points of each part that the last, incomplete block of them lies in. What else their state says, `running` says of
    /// more points, and nobody asks for the past.
    sealed_parts: Box<[u32]>,
    /// Of all points.
    running: Running,
    full: Vec<Arc<Points>>,
    last: Columns,
}

/// A channel as of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct NumericView {
    /// Of all points.
    pub(crate) running: Running,
    /// Points that lie in chunks; those behind them are open.
    pub(crate) sealed: u64,
    /// Open points, cut where the blocks of the channel are.
    pub(crate) open: Vec<Arc<Points>>,
}

impl NumericHead {
    pub(crate) fn from_state(state: NumericState) -> NumericHead {
        let NumericState { running, parts } = state;
        NumericHead { sealed: running.count, sealed_parts: parts.into(), running, ..NumericHead::default() }
    }

    pub(crate) fn append(&mut self, points: &Numeric<'_>) {
        self.extend(points.len(), points.x(), points.y(), points.time());
    }

    /// Appends `count` points of three columns.
    pub(crate) fn extend(
        &mut self,
        count: usize,
        mut x: impl Iterator<Item = f64>,
        mut y: impl Iterator<Item = f64>,
        mut time: impl Iterator<Item = i64>,
    ) {
        for _ in 0..count {
            let (Some(x), Some(y), Some(time)) = (x.next(), y.next(), time.next()) else { return };
            self.running.add(x, y, time);
            self.last.push(x, y, time);
            if self.running.count.is_multiple_of(BLOCK_POINTS as u64) {
                self.full.push(Arc::new(std::mem::take(&mut self.last).points()));
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.running.count
    }

    /// Points that lie in chunks and not here.
    pub(crate) fn sealed_count(&self) -> u64 {
        self.sealed
    }

    /// Points of each part that the last, incomplete block of chunks lies in, in order.
    pub(crate) fn sealed_parts(&self) -> &[u32] {
        &self.sealed_parts
    }

    /// Points that lie here.
    pub(crate) fn open_count(&self) -> u64 {
        self.running.count - self.sealed
    }

    pub(crate) fn last_x(&self) -> f64 {
        self.running.steps.last_x()
    }

    pub(crate) fn summary(&self) -> ChannelSummary {
        self.running.summary()
    }

    /// The channel as of now.
    pub(crate) fn view(&self) -> NumericView {
        let mut open = Vec::with_capacity(self.full.len() + 1);
        open.extend(self.full.iter().cloned());
        if self.last.len() > 0 {
            open.push(Arc::new(self.last.points()));
        }
        NumericView { running: self.running, sealed: self.sealed, open }
    }

    /// Open points `range`, in order of arrival.
    pub(crate) fn copy(&self, range: Range<u64>) -> LivePoints {
        let mut points = LivePoints::default();
        let last = self.last.points();
        let blocks = self.full.iter().map(|block| &**block).chain([&last]);
        for (_, block, part) in parts(self.sealed, blocks, range) {
            points.x.extend_from_slice(&block.x[part.clone()]);
            points.y.extend_from_slice(&block.y[part.clone()]);
            points.time.extend_from_slice(&block.time[part]);
        }
        points
    }

    /// More is sealed: what lies in chunks now is let go of here.
    pub(crate) fn seal(&mut self, state: NumericState) {
        let mut gone = (state.running.count - self.sealed) as usize;
        let whole = self.full.iter().scan(0, |sum, block| {
            *sum += block.len();
            Some(*sum)
        });
        let whole = whole.take_while(|sum| *sum <= gone).count();
        gone -= self.full.drain(..whole).map(|block| block.len()).sum::<usize>();
        match self.full.first_mut() {
            _ if gone == 0 => {}
            Some(first) => *first = Arc::new(behind(first, gone)),
            None => self.last = Columns::from(&behind(&self.last.points(), gone)),
        }
        (self.sealed, self.sealed_parts) = (state.running.count, state.parts.into());
    }
}

/// All but the first `count` points, in memory of their own size.
fn behind(points: &Points, count: usize) -> Points {
    let mut rest = Points::default();
    rest.extend(points, count..points.len());
    rest
}

impl NumericView {
    pub(crate) fn len(&self) -> u64 {
        self.running.count
    }

    /// The open points of `range`, block by block: the number of each part's first point, its block, and where it lies
    /// there.
    pub(crate) fn parts(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Arc<Points>, Range<usize>)> {
        let mut next = range.start.max(self.sealed);
        parts(self.sealed, self.open.iter().map(|block| &**block), range).map(move |(at, _, part)| {
            let first = next;
            next += part.len() as u64;
            (first, &self.open[at], part)
        })
    }
}

/// What of points `range` lies in blocks whose first is point `start`; each with its place among them.
fn parts<'a>(
    start: u64,
    blocks: impl Iterator<Item = &'a Points>,
    range: Range<u64>,
) -> impl Iterator<Item = (usize, &'a Points, Range<usize>)> {
    let mut next = start;
    blocks.enumerate().filter_map(move |(at, block)| {
        let first = next;
        next += block.len() as u64;
        let part = range.start.max(first)..range.end.min(next);
        let within = || (part.start - first) as usize..(part.end - first) as usize;
        (part.start < part.end).then(|| (at, block, within()))
    })
}

#[cfg(test)]
mod tests;
