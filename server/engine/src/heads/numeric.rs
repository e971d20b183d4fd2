//! Heads of numeric channels: points as columns in arrival order, and a running summary.
//!
//! Points lie in blocks of [`BLOCK_POINTS`]. A full block never changes and is shared with whoever reads; only the last,
//! open one is copied for a reader. So a view of a channel costs microseconds, is exact as of one moment, and is read
//! without any lock.
//!
//! Memory: 24 bytes a point.

use std::ops::Range;
use std::sync::Arc;

use neptune_wire::frame::Numeric;
use neptune_wire::{ChannelSummary, Number};

use super::order::{XOrder, order_key};
use super::{Steps, number};
use crate::live::LivePoints;

/// Points of one block.
pub(crate) const BLOCK_POINTS: usize = 4_096;
/// Of this size and above a finite y is summed in parts of [`BIG_PART`], so that no sum overflows.
const BIG: f64 = 1e200;
const BIG_PART: f64 = 1e-200;

/// One numeric channel.
#[derive(Debug, Default)]
pub(crate) struct NumericHead {
    full: Arc<Vec<Arc<Block>>>,
    open: Block,
    summary: Summary,
    steps: Steps,
    /// Points did not arrive in order of x, NaN last.
    unordered: bool,
    last_key: u64,
    /// Points did not arrive in order of time.
    time_unordered: bool,
    last_time_key: u64,
    /// Order of x, as far as it was asked for while the channel is unordered.
    order: Option<Arc<XOrder>>,
}

/// Columns of equal length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
    pub(crate) time: Vec<i64>,
}

/// A channel as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct NumericView {
    full: Arc<Vec<Arc<Block>>>,
    open: Block,
    /// Whether arrival order is order of x.
    pub(crate) ordered: bool,
    /// Whether arrival order is order of time.
    pub(crate) time_ordered: bool,
    pub(crate) order: Option<Arc<XOrder>>,
}

#[derive(Debug, Clone, Copy)]
struct Summary {
    nan_count: u64,
    /// NaN while there is none.
    min: f64,
    max: f64,
    last: f64,
    finite_count: u64,
    finite_sum: f64,
    big_sum: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            nan_count: 0,
            min: f64::NAN,
            max: f64::NAN,
            last: f64::NAN,
            finite_count: 0,
            finite_sum: 0.0,
            big_sum: 0.0,
        }
    }
}

impl NumericHead {
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
        let mut left = count;
        while left > 0 {
            let taken = left.min(BLOCK_POINTS - self.open.len());
            let first = self.open.len();
            self.open.x.extend(x.by_ref().take(taken));
            self.open.y.extend(y.by_ref().take(taken));
            self.open.time.extend(time.by_ref().take(taken));
            self.sum_up(first);
            if self.open.len() == BLOCK_POINTS {
                let full = std::mem::take(&mut self.open);
                Arc::make_mut(&mut self.full).push(Arc::new(full));
            }
            left -= taken;
        }
    }

    /// Takes the points of the open block from `first` on into the summary.
    fn sum_up(&mut self, first: usize) {
        let (x, y, time) = (&self.open.x[first..], &self.open.y[first..], &self.open.time[first..]);
        let summary = &mut self.summary;
        for &y in y {
            summary.add(y);
        }
        for (&x, &time) in x.iter().zip(time) {
            self.steps.add(x, time);
            let key = order_key(x);
            self.unordered |= key < self.last_key;
            self.last_key = key;
            // Flipping the sign bit makes unsigned order the order of time.
            let time_key = time.cast_unsigned() ^ 1 << 63;
            self.time_unordered |= time_key < self.last_time_key;
            self.last_time_key = time_key;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        (self.full.len() * BLOCK_POINTS + self.open.len()) as u64
    }

    pub(crate) fn last_x(&self) -> f64 {
        self.steps.last_x()
    }

    pub(crate) fn summary(&self) -> ChannelSummary {
        let count = self.len();
        if count == 0 {
            return ChannelSummary::default();
        }
        let Summary { nan_count, min, max, last, .. } = self.summary;
        ChannelSummary {
            nan_count,
            min: number(min),
            max: number(max),
            mean: self.summary.mean().map(Number),
            last: Some(Number(last)),
            ..self.steps.summary(count)
        }
    }

    /// The channel as of now.
    pub(crate) fn view(&self) -> NumericView {
        NumericView {
            full: self.full.clone(),
            open: self.open.clone(),
            ordered: !self.unordered,
            time_ordered: !self.time_unordered,
            order: self.order.clone(),
        }
    }

    /// Points `range` in order of arrival.
    pub(crate) fn copy(&self, range: Range<u64>) -> LivePoints {
        copy(&self.full, &self.open, range)
    }

    /// Keeps an order of x that was made for a view, unless a longer one is there.
    pub(crate) fn keep_order(&mut self, order: Arc<XOrder>) {
        if self.order.as_ref().is_none_or(|kept| kept.len() < order.len()) {
            self.order = Some(order);
        }
    }
}

impl Block {
    fn len(&self) -> usize {
        self.y.len()
    }
}

impl Summary {
    fn add(&mut self, y: f64) {
        self.last = y;
        // `min` and `max` leave NaN aside.
        self.min = self.min.min(y);
        self.max = self.max.max(y);
        if y.is_finite() {
            self.finite_count += 1;
            if y.abs() < BIG {
                self.finite_sum += y;
            } else {
                self.big_sum += y * BIG_PART;
            }
        } else {
            self.nan_count += u64::from(y.is_nan());
        }
    }

    fn mean(&self) -> Option<f64> {
        let count = self.finite_count as f64;
        (self.finite_count > 0).then(|| self.finite_sum / count + self.big_sum / count / BIG_PART)
    }
}

impl NumericView {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * BLOCK_POINTS + self.open.len()
    }

    /// All blocks in order of arrival; all but the last have [`BLOCK_POINTS`] points.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> + Clone {
        self.full.iter().map(|block| &**block).chain(std::iter::once(&self.open))
    }

    fn at(&self, index: usize) -> (&Block, usize) {
        let block = self.full.get(index / BLOCK_POINTS).map_or(&self.open, |block| &**block);
        (block, index % BLOCK_POINTS)
    }

    pub(crate) fn x(&self, index: usize) -> f64 {
        let (block, at) = self.at(index);
        block.x[at]
    }

    pub(crate) fn time(&self, index: usize) -> i64 {
        let (block, at) = self.at(index);
        block.time[at]
    }

    /// The values of points `range` in order of arrival, block by block.
    pub(crate) fn values(&self, range: Range<usize>) -> impl Iterator<Item = &[f64]> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let (block, first) = self.at(at);
            let last = block.len().min(first + (range.end - at));
            at += last - first;
            Some(&block.y[first..last])
        })
    }

    /// Points `range` in order of arrival.
    pub(crate) fn copy(&self, range: Range<u64>) -> LivePoints {
        copy(&self.full, &self.open, range)
    }

    /// The point that arrived as number `index`.
    pub(crate) fn point(&self, index: usize) -> (f64, f64, i64) {
        let (block, at) = self.at(index);
        (block.x[at], block.y[at], block.time[at])
    }
}

fn copy(full: &[Arc<Block>], open: &Block, range: Range<u64>) -> LivePoints {
    let (start, end) = (range.start as usize, range.end as usize);
    let mut points = LivePoints {
        x: Vec::with_capacity(end.saturating_sub(start)),
        y: Vec::with_capacity(end.saturating_sub(start)),
        time: Vec::with_capacity(end.saturating_sub(start)),
    };
    let mut at = start;
    while at < end {
        let block = full.get(at / BLOCK_POINTS).map_or(open, |block| &**block);
        let first = at % BLOCK_POINTS;
        let last = block.len().min(first + (end - at));
        points.x.extend_from_slice(&block.x[first..last]);
        points.y.extend_from_slice(&block.y[first..last]);
        points.time.extend_from_slice(&block.time[first..last]);
        at += last - first;
    }
    points
}

#[cfg(test)]
mod tests;
