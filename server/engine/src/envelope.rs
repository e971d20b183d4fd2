//! Envelopes: points and summaries of points folded into buckets.
//!
//! A bucket is exact for the points it covers, and says which: from `key_first` to `key_last`, all of them. Points fall
//! into even buckets by their key. A summary falls into one as a whole when all of its points do; when it spans an edge,
//! it must be looked into, unless it spans one edge alone, the channel is ordered along the axis and the summary shares no
//! key with its neighbours: then the edge moves behind it ([`Edges::Near`]), by less than a bucket.
//!
//! The order in which things are folded does not matter: of equal keys the point that arrived first is first, and which
//! that is is kept beside each bucket. Cost: a few nanoseconds for a summary, one for a point of an ordered channel, ten
//! for one of another. O(buckets) memory.

use std::ops::Range;

use neptune_store::chunk::Points;
use neptune_store::pyramid::{Keyed, Summary};
use neptune_wire::query::{Axis, Edges, Scale};

/// The part of the axis that is asked for, both ends inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) axis: Axis,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) buckets: u32,
    pub(crate) scale: Scale,
    pub(crate) edges: Edges,
}

/// One bucket that holds at least one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) key_first: f64,
    pub(crate) key_last: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: u64,
    pub(crate) nan: u64,
    /// Keys and arrival numbers of `first` and `last`.
    first_at: (f64, u64),
    last_at: (f64, u64),
}

impl Bucket {
    const EMPTY: Self = Self {
        key_first: f64::INFINITY,
        key_last: f64::NEG_INFINITY,
        first: f64::NAN,
        last: f64::NAN,
        min: f64::NAN,
        max: f64::NAN,
        count: 0,
        nan: 0,
        first_at: (f64::NAN, 0),
        last_at: (f64::NAN, 0),
    };

    fn cover(&mut self, key_first: f64, key_last: f64) {
        self.key_first = self.key_first.min(key_first);
        self.key_last = self.key_last.max(key_last);
    }

    /// Takes in a value that may be the first or the last.
    fn add_end(&mut self, key: f64, arrival: u64, y: f64) {
        if self.first_at.0.is_nan() || (key, arrival) < self.first_at {
            (self.first, self.first_at) = (y, (key, arrival));
        }
        if self.last_at.0.is_nan() || (key, arrival) >= self.last_at {
            (self.last, self.last_at) = (y, (key, arrival));
        }
    }

    fn add(&mut self, key: f64, arrival: u64, y: f64) {
        self.cover(key, key);
        self.count += 1;
        if y.is_nan() {
            self.nan += 1;
            return;
        }
        self.add_end(key, arrival, y);
        self.min = self.min.min(y);
        self.max = self.max.max(y);
    }

    /// Takes in points that follow each other along the key.
    fn add_run(&mut self, values: &[f64], arrival: u64, key: impl Fn(usize) -> f64) {
        let found = extremes(values);
        self.cover(key(0), key(values.len() - 1));
        self.count += values.len() as u64;
        self.nan += found.nan;
        if found.nan == values.len() as u64 {
            return;
        }
        self.min = self.min.min(found.min);
        self.max = self.max.max(found.max);
        let is_number = |y: &f64| !y.is_nan();
        for at in
            [values.iter().position(is_number), values.iter().rposition(is_number)].into_iter().flatten()
        {
            self.add_end(key(at), arrival + at as u64, values[at]);
        }
    }

    fn add_node(&mut self, arrival: u64, node: &Summary, along: &Keyed) {
        self.cover(along.min, along.max);
        self.count += node.count;
        self.nan += node.nan;
        if node.nan == node.count {
            return;
        }
        self.min = self.min.min(node.min);
        self.max = self.max.max(node.max);
        self.add_end(along.first_key, arrival, along.first);
        self.add_end(along.last_key, arrival + node.count - 1, along.last);
    }
}

/// Smallest and largest value that is not NaN (infinite when there is none), and how many are.
struct Extremes {
    min: f64,
    max: f64,
    nan: u64,
}

/// Lanes side by side, with comparisons that are false for NaN: the form that becomes vector instructions.
fn extremes(values: &[f64]) -> Extremes {
    const LANES: usize = 8;
    let (mut min, mut max, mut nan) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [0_u64; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let y = chunk[lane];
            min[lane] = if y < min[lane] { y } else { min[lane] };
            max[lane] = if y > max[lane] { y } else { max[lane] };
            nan[lane] += u64::from(y.is_nan());
        }
    }
    Extremes {
        min: min.iter().chain(rest).copied().fold(f64::INFINITY, f64::min),
        max: max.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max),
        nan: nan.iter().sum::<u64>() + rest.iter().filter(|y| y.is_nan()).count() as u64,
    }
}

/// Buckets being filled.
pub(crate) struct Fold {
    axis: Axis,
    from: f64,
    to: f64,
    even: bool,
    ordered: bool,
    spread: Spread,
    buckets: Vec<Bucket>,
}

/// What became of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folded {
    /// It is in its bucket, or outside of the range.
    Whole,
    /// What lies below it must be folded instead.
    LookInto,
}

impl Fold {
    /// `low` and `high`: the finite keys that the buckets spread over. `ordered`: arrival is order of the axis, and no key
    /// is odd.
    pub(crate) fn new(cut: &Cut, low: f64, high: f64, ordered: bool) -> Self {
        let spread = Spread::new(cut.scale, low, high, cut.buckets.max(1) as usize);
        Self {
            axis: cut.axis,
            from: cut.from.unwrap_or(f64::NEG_INFINITY),
            to: cut.to.unwrap_or(f64::INFINITY),
            even: cut.edges == Edges::Even,
            ordered,
            buckets: vec![Bucket::EMPTY; spread.buckets],
            spread,
        }
    }

    /// Folds a summary of points from number `arrival` on. `apart`: it shares no key with what lies before and behind it.
    pub(crate) fn add_node(&mut self, arrival: u64, node: &Summary, apart: bool) -> Folded {
        let along = keyed(self.axis, arrival, node);
        if along.odd == 0 && (along.max < self.from || along.min > self.to) {
            return Folded::Whole;
        }
        if along.odd > 0 || along.min < self.from || along.max > self.to {
            return Folded::LookInto;
        }
        let bucket = self.spread.bucket(along.min);
        let reach = usize::from(self.ordered && apart && !self.even);
        if self.spread.bucket(along.max) - bucket > reach {
            return Folded::LookInto;
        }
        self.buckets[bucket].add_node(arrival, node, &along);
        Folded::Whole
    }

    /// Folds points `range` of a block; the first of them is number `arrival`.
    pub(crate) fn add_points(&mut self, arrival: u64, points: &Points, range: Range<usize>) {
        let values = &points.y[range.clone()];
        match self.axis {
            Axis::X => {
                let x = &points.x[range];
                self.add_values(arrival, values, |at| x[at]);
            }
            Axis::Time => {
                let time = &points.time[range];
                self.add_values(arrival, values, |at| time[at] as f64);
            }
            Axis::Index => self.add_values(arrival, values, |at| (arrival + at as u64) as f64),
        }
    }

    fn add_values(&mut self, arrival: u64, values: &[f64], key: impl Fn(usize) -> f64 + Copy) {
        if self.ordered {
            let start = partition(0..values.len(), |at| key(at) < self.from);
            let end = partition(start..values.len(), |at| key(at) <= self.to);
            let mut at = start;
            while at < end {
                let bucket = self.spread.bucket(key(at));
                let next = partition_near(at..end, |at| self.spread.bucket(key(at)) <= bucket);
                let run = |within: usize| key(at + within);
                self.buckets[bucket].add_run(&values[at..next], arrival + at as u64, run);
                at = next;
            }
            return;
        }
        for (at, &y) in values.iter().enumerate() {
            let key = key(at);
            if key >= self.from && key <= self.to {
                self.buckets[self.spread.bucket(key)].add(key, arrival + at as u64, y);
            }
        }
    }

    /// The buckets that hold points, in order of their keys.
    pub(crate) fn finish(mut self) -> Vec<Bucket> {
        self.buckets.retain(|bucket| bucket.count > 0);
        self.buckets
    }
}

/// What is known of a summary's points along an axis.
fn keyed(axis: Axis, arrival: u64, node: &Summary) -> Keyed {
    match axis {
        Axis::X => node.x,
        Axis::Time => node.time,
        Axis::Index => {
            let (min, max) = (arrival as f64, (arrival + node.count - 1) as f64);
            let (first, last) = (node.first, node.last);
            Keyed { min, max, odd: 0, ordered: true, first_key: min, first, last_key: max, last }
        }
    }
}

/// The span of a summary along an axis, if all of its keys are finite.
pub(crate) fn span(axis: Axis, arrival: u64, node: &Summary) -> Option<(f64, f64)> {
    let along = keyed(axis, arrival, node);
    (along.odd == 0).then_some((along.min, along.max))
}

/// The first place of the range where `before` no longer holds.
pub(crate) fn partition(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let Range { start: mut low, end: mut high } = range;
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// The same by steps that double, for a place that is near the start. `before` holds for the first.
fn partition_near(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let Range { start: mut low, end } = range;
    let mut step = 1;
    while low + step < end && before(low + step) {
        low += step;
        step *= 2;
    }
    partition(low..end.min(low + step), before)
}

/// Maps keys to buckets, never decreasing.
#[derive(Debug)]
struct Spread {
    scale: Scale,
    /// Half of the lowest key, or its logarithm.
    low: f64,
    /// Half of the span, or that of the logarithms.
    span: f64,
    buckets: usize,
}

impl Spread {
    fn new(scale: Scale, low: f64, high: f64, buckets: usize) -> Self {
        // Halves, so that a span over the whole range of f64 does not overflow.
        let (low, span) = match scale {
            Scale::Linear => (low / 2.0, high / 2.0 - low / 2.0),
            Scale::Log => (low.ln(), high.ln() - low.ln()),
        };
        let buckets = if span > 0.0 { buckets } else { 1 };
        Self { scale, low, span, buckets }
    }

    fn bucket(&self, key: f64) -> usize {
        if self.buckets == 1 {
            return 0;
        }
        let place = match self.scale {
            Scale::Linear => key / 2.0,
            // The logarithm of zero and less is -inf or NaN: bucket 0.
            Scale::Log => key.ln(),
        };
        let part = (place - self.low) / self.span;
        // The cast saturates: below 0 (and -inf, and NaN) is bucket 0, +inf the last.
        ((part * self.buckets as f64) as usize).min(self.buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_lanes_miss_nothing() {
        // Two values at least, so that none is both the least and the most.
        for length in 2..40 {
            let mut values: Vec<f64> = (0..length).map(|at| f64::from(at * 7 % 11)).collect();
            for at in 0..length as usize {
                let was = std::mem::replace(&mut values[at], f64::NAN);
                assert_eq!(extremes(&values).nan, 1);
                for (y, lowest) in [(-9.0, true), (99.0, false)] {
                    values[at] = y;
                    let found = extremes(&values);
                    assert_eq!((found.min == y, found.max == y, found.nan), (lowest, !lowest, 0));
                }
                values[at] = was;
            }
        }
    }

    #[test]
    fn a_decade_has_as_many_buckets_as_another() {
        let spread = Spread::new(Scale::Log, 1.0, 1e6, 60);
        let of = |key: f64| spread.bucket(key * 1.001);
        assert_eq!([1.0, 10.0, 100.0, 1e5].map(of), [0, 10, 20, 50]);
        assert_eq!(
            [-1.0, 0.0, f64::NEG_INFINITY, f64::INFINITY].map(|key| spread.bucket(key)),
            [0, 0, 0, 59]
        );
    }
}
