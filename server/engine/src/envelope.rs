//! Envelopes by scanning: the exact first, last, min, max, count and NaN count of every bucket.
//!
//! "First" and "last" go by (key, arrival), where the key is the point's x, time or index. Points whose key is NaN are in
//! no bucket; infinite keys fall into the first or last one. Buckets are even cuts of the asked range, or of the finite
//! keys when the range is open.
//!
//! Cost: where points arrived in order of the key, a search for each bucket's end and one pass over the values between, a
//! nanosecond a point; else one pass over all points, whatever their order, ten times that. O(buckets) memory.

use std::ops::Range;

use neptune_wire::query::Axis;

use crate::heads::numeric::NumericView;

/// The part of the axis that is asked for, both ends inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) axis: Axis,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) buckets: u32,
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
    /// Keys of `first` and `last`, which differ from the bucket's own where y is NaN.
    first_key: f64,
    last_key: f64,
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
        first_key: f64::NAN,
        last_key: f64::NAN,
    };

    /// Adds a point that arrived after all points added so far.
    fn add(&mut self, key: f64, y: f64) {
        self.key_first = self.key_first.min(key);
        self.key_last = self.key_last.max(key);
        self.count += 1;
        if y.is_nan() {
            self.nan += 1;
            return;
        }
        let alone = self.count - self.nan == 1;
        if alone || key < self.first_key {
            (self.first, self.first_key) = (y, key);
        }
        if alone || key >= self.last_key {
            (self.last, self.last_key) = (y, key);
        }
        self.min = self.min.min(y);
        self.max = self.max.max(y);
    }

    /// The bucket of points that follow each other.
    fn of_run(view: &NumericView, run: Range<usize>, key_first: f64, key_last: f64) -> Self {
        let count = run.len() as u64;
        let mut bucket = Self { key_first, key_last, count, ..Self::EMPTY };
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for values in view.values(run) {
            let found = extremes(values);
            (min, max, bucket.nan) = (min.min(found.min), max.max(found.max), bucket.nan + found.nan);
            if found.nan < values.len() as u64 {
                let is_number = |y: &&f64| !y.is_nan();
                let (first, last) = (values.iter().find(is_number), values.iter().rfind(is_number));
                if bucket.first.is_nan() {
                    bucket.first = first.copied().unwrap_or(f64::NAN);
                }
                bucket.last = last.copied().unwrap_or(f64::NAN);
            }
        }
        if bucket.nan < count {
            (bucket.min, bucket.max) = (min, max);
        }
        bucket
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

/// Cuts the points into at most `cut.buckets` buckets, ordered by key; empty ones are left out.
pub(crate) fn envelope(view: &NumericView, cut: Cut) -> Vec<Bucket> {
    match cut.axis {
        Axis::X if view.ordered => runs(view, cut, |at| view.x(at)),
        Axis::X => fold(view.blocks().map(|block| (block.x.iter().copied(), &block.y[..])), cut),
        Axis::Time if view.time_ordered => runs(view, cut, |at| view.time(at) as f64),
        Axis::Time => {
            fold(view.blocks().map(|block| (block.time.iter().map(|time| *time as f64), &block.y[..])), cut)
        }
        Axis::Index => runs(view, cut, |at| at as f64),
    }
}

/// Cuts points that arrived in order of their keys, NaN last: every bucket is a run of them.
fn runs(view: &NumericView, cut: Cut, key: impl Fn(usize) -> f64) -> Vec<Bucket> {
    let (from, to) = (cut.from.unwrap_or(f64::NEG_INFINITY), cut.to.unwrap_or(f64::INFINITY));
    // No comparison holds for NaN, so those are behind the end.
    let start = partition(0..view.len(), |at| key(at) < from);
    let end = partition(start..view.len(), |at| key(at) <= to);
    let finite = partition(start..end, |at| key(at) == f64::NEG_INFINITY);
    let finite = finite..partition(finite..end, |at| key(at) < f64::INFINITY);
    let span = match finite.is_empty() {
        true => (f64::INFINITY, f64::NEG_INFINITY),
        false => (key(finite.start), key(finite.end - 1)),
    };
    let low = if from.is_finite() { from } else { span.0 };
    let high = if to.is_finite() { to } else { span.1 };
    let scale = Scale::new(low, high, cut.buckets.max(1) as usize);
    let mut buckets = Vec::with_capacity(scale.buckets.min(end - start));
    let mut at = start;
    while at < end {
        let bucket = scale.bucket(key(at));
        let next = partition_near(at..end, |at| scale.bucket(key(at)) <= bucket);
        buckets.push(Bucket::of_run(view, at..next, key(at), key(next - 1)));
        at = next;
    }
    buckets
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

/// Folds blocks of keys and values in order of arrival.
fn fold<'a, K>(blocks: impl Iterator<Item = (K, &'a [f64])> + Clone, cut: Cut) -> Vec<Bucket>
where
    K: Iterator<Item = f64>,
{
    let from = cut.from.unwrap_or(f64::NEG_INFINITY);
    let to = cut.to.unwrap_or(f64::INFINITY);
    let (mut low, mut high) = (from, to);
    if !(from.is_finite() && to.is_finite()) {
        let mut span = (f64::INFINITY, f64::NEG_INFINITY);
        for (keys, _) in blocks.clone() {
            for key in keys {
                // An infinite key has no place on an even cut.
                if key.is_finite() && key >= from && key <= to {
                    span = (span.0.min(key), span.1.max(key));
                }
            }
        }
        low = if from.is_finite() { from } else { span.0 };
        high = if to.is_finite() { to } else { span.1 };
    }
    let scale = Scale::new(low, high, cut.buckets.max(1) as usize);
    let mut buckets = vec![Bucket::EMPTY; scale.buckets];
    for (keys, values) in blocks {
        for (key, &y) in keys.zip(values) {
            if key >= from && key <= to {
                buckets[scale.bucket(key)].add(key, y);
            }
        }
    }
    buckets.retain(|bucket| bucket.count > 0);
    buckets
}

/// Maps keys to buckets, never decreasing.
struct Scale {
    half_low: f64,
    half_span: f64,
    buckets: usize,
}

impl Scale {
    fn new(low: f64, high: f64, buckets: usize) -> Self {
        // Halves, so that a span over the whole range of f64 does not overflow.
        let (half_low, half_span) = (low / 2.0, high / 2.0 - low / 2.0);
        let buckets = if half_span > 0.0 { buckets } else { 1 };
        Self { half_low, half_span, buckets }
    }

    fn bucket(&self, key: f64) -> usize {
        if self.buckets == 1 {
            return 0;
        }
        let part = (key / 2.0 - self.half_low) / self.half_span;
        // The cast saturates: below 0 (and -inf) is bucket 0, +inf the last.
        ((part * self.buckets as f64) as usize).min(self.buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::heads::numeric::NumericHead;
    use crate::heads::order::order_key;

    /// A view of points that came in this order.
    fn view(x: Vec<f64>, y: Vec<f64>, time: Vec<i64>) -> NumericView {
        let mut head = NumericHead::default();
        head.extend(y.len(), x.into_iter(), y.into_iter(), time.into_iter());
        head.view()
    }

    fn nasty() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-50i32..50).prop_map(|i| f64::from(i) / 4.0),
            1 => any::<f64>(),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
            1 => Just(f64::MAX),
            1 => Just(-0.0),
        ]
    }

    fn axis() -> impl Strategy<Value = Axis> {
        prop_oneof![Just(Axis::X), Just(Axis::Time), Just(Axis::Index)]
    }

    /// The points of the range in order of (key, arrival), by the plainest means.
    fn sorted(keys: &[f64], y: &[f64], cut: &Cut) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = keys.iter().copied().zip(y.iter().copied()).collect();
        points.retain(|(key, _)| {
            !key.is_nan() && cut.from.is_none_or(|from| *key >= from) && cut.to.is_none_or(|to| *key <= to)
        });
        points.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap());
        points
    }

    fn same(a: f64, b: f64) -> bool {
        a == b || a.is_nan() && b.is_nan()
    }

    proptest! {
        #[test]
        fn every_bucket_is_exact_for_the_span_it_covers(
            points in prop::collection::vec((nasty(), nasty(), -5i64..5), 0..60),
            buckets in 1u32..20,
            axis in axis(),
            ordered: bool,
            from in prop::option::of(nasty().prop_filter("a range is no NaN", |x| !x.is_nan())),
            to in prop::option::of(nasty().prop_filter("a range is no NaN", |x| !x.is_nan())),
        ) {
            let mut points = points;
            if ordered {
                points.sort_by_key(|point| match axis {
                    Axis::X => order_key(point.0),
                    Axis::Time | Axis::Index => point.2.cast_unsigned() ^ 1 << 63,
                });
            }
            let x: Vec<f64> = points.iter().map(|point| point.0).collect();
            let y: Vec<f64> = points.iter().map(|point| point.1).collect();
            let time: Vec<i64> = points.iter().map(|point| point.2).collect();
            let keys: Vec<f64> = match axis {
                Axis::X => x.clone(),
                Axis::Time => time.iter().map(|time| *time as f64).collect(),
                Axis::Index => (0..y.len()).map(|i| i as f64).collect(),
            };
            let cut = Cut { axis, from, to, buckets };
            let found = envelope(&view(x, y.clone(), time), cut);
            prop_assert!(found.len() <= buckets as usize);
            let mut rest = &sorted(&keys, &y, &cut)[..];
            for bucket in &found {
                // Buckets follow each other in order of key, and together they hold every point of the range.
                let (points, later) = rest.split_at(bucket.count as usize);
                rest = later;
                prop_assert!(later.first().is_none_or(|point| point.0 > bucket.key_last));
                prop_assert!(same(points[0].0, bucket.key_first) && same(points[points.len() - 1].0, bucket.key_last));
                let values: Vec<f64> = points.iter().map(|point| point.1).filter(|y| !y.is_nan()).collect();
                prop_assert_eq!(bucket.nan as usize, points.len() - values.len());
                prop_assert!(same(bucket.first, values.first().copied().unwrap_or(f64::NAN)));
                prop_assert!(same(bucket.last, values.last().copied().unwrap_or(f64::NAN)));
                prop_assert!(same(bucket.min, values.iter().copied().fold(f64::NAN, f64::min)));
                prop_assert!(same(bucket.max, values.iter().copied().fold(f64::NAN, f64::max)));
            }
            prop_assert!(rest.is_empty());
        }
    }

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
    fn a_spike_survives_any_number_of_buckets() {
        let x: Vec<f64> = (0..100_000).map(f64::from).collect();
        let time = vec![0; x.len()];
        let mut y = vec![0.5; x.len()];
        y[77_777] = 1e9;
        let view = view(x, y, time);
        for buckets in [1, 7, 1000, 10_000] {
            let cut = Cut { axis: Axis::X, from: None, to: None, buckets };
            let found = envelope(&view, cut);
            assert_eq!(found.len(), buckets as usize);
            let spikes: Vec<_> = found.iter().filter(|bucket| bucket.max == 1e9).collect();
            assert!(
                matches!(spikes[..], [bucket] if bucket.key_first <= 77_777.0 && bucket.key_last >= 77_777.0)
            );
        }
    }

    #[test]
    fn one_point_is_one_bucket_and_none_are_none() {
        let cut = Cut { axis: Axis::X, from: None, to: None, buckets: 100 };
        assert_eq!(envelope(&view(vec![], vec![], vec![]), cut), []);
        let of_one = |x, y| envelope(&view(vec![x], vec![y], vec![0]), cut);
        assert_eq!(of_one(f64::NAN, 1.0), []);
        let found = of_one(3.0, f64::NAN);
        assert!(matches!(found[..], [Bucket { key_first: 3.0, key_last: 3.0, count: 1, nan: 1, .. }]));
        assert!(found[0].min.is_nan());
    }
}
