//! A channel's points over a range of x as buckets, exact at any size: what an envelope answered, joined by live points.
//!
//! Buckets are ordered by x and share no x. A live point becomes a bucket of its own or is taken into the one whose
//! span it lies in, so late and repeated x cost nothing and hide nothing. When there are too many buckets, neighbours
//! are merged: minimum, maximum, counts and the first and last value stay those of all points.

use neptune_wire::columns::{Data, Table};

/// Consecutive points. A bucket of NaN alone has NaN as all its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Smallest x.
    pub x_first: f64,
    /// Largest x.
    pub x_last: f64,
    /// y of its first point that is not NaN.
    pub first: f64,
    /// y of its last point that is not NaN.
    pub last: f64,
    /// Smallest y.
    pub min: f64,
    /// Largest y.
    pub max: f64,
    /// Points, NaN included.
    pub count: u64,
    /// Points whose y is NaN.
    pub nan: u64,
}

impl Bucket {
    /// A bucket of one point.
    pub fn of(x: f64, y: f64) -> Self {
        let nan = u64::from(y.is_nan());
        Self { x_first: x, x_last: x, first: y, last: y, min: y, max: y, count: 1, nan }
    }

    /// Takes in a bucket that lies to the right or arrived later.
    fn merge(&mut self, right: &Self) {
        self.x_last = self.x_last.max(right.x_last);
        if self.first.is_nan() {
            self.first = right.first;
        }
        if !right.last.is_nan() {
            self.last = right.last;
        }
        self.widen(right);
    }

    /// Takes in what does not depend on order; `f64::min` and `max` pass over NaN.
    fn widen(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.nan += other.nan;
    }
}

/// Why a table is no envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEnvelope(pub &'static str);

/// Buckets over a range of x.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Span {
    buckets: Vec<Bucket>,
    /// Points in the buckets.
    count: u64,
}

impl Span {
    /// Reads one table of an envelope; answers it and how many points the channel had then.
    ///
    /// # Errors
    ///
    /// [`NoEnvelope`] with the column that is missing.
    pub fn from_table(table: &Table) -> Result<(Self, u64), NoEnvelope> {
        let values = |name| match table.find_column(name) {
            Some(Data::F64(values)) => Ok(values),
            _ => Err(NoEnvelope(name)),
        };
        let counts = |name| match table.find_column(name) {
            Some(Data::U64(values)) => Ok(values),
            _ => Err(NoEnvelope(name)),
        };
        let (x_first, x_last) = (values("x_first")?, values("x_last")?);
        let (first, last, min, max) = (values("first")?, values("last")?, values("min")?, values("max")?);
        let (count, nan) = (counts("count")?, counts("nan")?);
        let buckets = (0..table.rows()).map(|row| Bucket {
            x_first: x_first[row],
            x_last: x_last[row],
            first: first[row],
            last: last[row],
            min: min[row],
            max: max[row],
            count: count[row],
            nan: nan[row],
        });
        let mark = table.meta.get("mark").and_then(serde_json::Value::as_u64).unwrap_or(0);
        Ok((Self { buckets: buckets.collect(), count: count.iter().sum() }, mark))
    }

    /// The buckets in order of x.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Points in all buckets.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// From where on to ask for what came after: the last bucket may have grown.
    pub fn resume_x(&self) -> Option<f64> {
        self.buckets.last().map(|bucket| bucket.x_first)
    }

    /// Puts `right` in the place of everything from `x` on.
    pub fn replace_from(&mut self, x: f64, right: Self) {
        let kept = self.buckets.partition_point(|bucket| bucket.x_last < x);
        self.buckets.truncate(kept);
        self.buckets.extend(right.buckets);
        self.count = self.buckets.iter().map(|bucket| bucket.count).sum();
    }

    /// Takes in a point that arrived now. NaN as x has no place on the axis: such points are only counted elsewhere.
    pub fn push(&mut self, x: f64, y: f64) {
        if x.is_nan() {
            return;
        }
        self.count += 1;
        let point = Bucket::of(x, y);
        let at = self.buckets.partition_point(|bucket| bucket.x_last < x);
        match self.buckets.get_mut(at).filter(|bucket| bucket.x_first <= x) {
            None => self.buckets.insert(at, point),
            Some(bucket) if x == bucket.x_last => bucket.merge(&point),
            Some(bucket) => {
                if bucket.nan == bucket.count {
                    (bucket.first, bucket.last) = (y, y);
                }
                bucket.widen(&point);
            }
        }
    }

    /// Keeps to about `wanted` buckets while points are added at the end: the last one takes in its neighbour as long as
    /// both fit into the width of one. Called after each point; costs as good as nothing.
    pub fn settle(&mut self, wanted: usize) {
        let wanted = wanted.max(1);
        let [first, .., left, right] = self.buckets.as_mut_slice() else { return };
        let width = (right.x_last - first.x_first) / wanted as f64;
        let fits = width.is_finite() && right.x_last - left.x_first <= width;
        if self.buckets.len() > wanted && fits {
            let Some(right) = self.buckets.pop() else { return };
            self.buckets.last_mut().iter_mut().for_each(|left| left.merge(&right));
        }
        if self.buckets.len() > wanted.saturating_mul(3) {
            self.thin(wanted);
        }
    }

    /// Merges neighbours until there are about `wanted` buckets of equal width, at most twice as many.
    fn thin(&mut self, wanted: usize) {
        // Infinite ends would make every width infinite and leave one bucket.
        let finite =
            || self.buckets.iter().filter(|bucket| bucket.x_first.is_finite() && bucket.x_last.is_finite());
        let (Some(left), Some(right)) = (finite().next(), finite().next_back()) else { return };
        let width = (right.x_last - left.x_first) / wanted as f64;
        let mut merged: Vec<Bucket> = Vec::with_capacity(wanted * 2);
        for bucket in &self.buckets {
            match merged.last_mut().filter(|open| bucket.x_last - open.x_first <= width) {
                Some(open) => open.merge(bucket),
                None => merged.push(*bucket),
            }
        }
        self.buckets = merged;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A span of single points.
    pub(crate) fn span(points: &[(f64, f64)]) -> Span {
        let mut span = Span::default();
        points.iter().for_each(|&(x, y)| span.push(x, y));
        span
    }

    /// The table a server would answer for these buckets.
    pub(crate) fn table(span: &Span, mark: u64) -> Table {
        let column = |value: fn(&Bucket) -> f64| Data::F64(span.buckets.iter().map(value).collect());
        let counts = |value: fn(&Bucket) -> u64| Data::U64(span.buckets.iter().map(value).collect());
        let meta = serde_json::json!({ "mark": mark });
        Table { name: "loss".into(), meta: meta.as_object().unwrap().clone(), columns: Vec::new() }
            .with("x_first", column(|b| b.x_first))
            .with("x_last", column(|b| b.x_last))
            .with("first", column(|b| b.first))
            .with("last", column(|b| b.last))
            .with("min", column(|b| b.min))
            .with("max", column(|b| b.max))
            .with("count", counts(|b| b.count))
            .with("nan", counts(|b| b.nan))
    }

    #[test]
    fn an_envelope_is_read() {
        let source = span(&[(1.0, 2.0), (2.0, 4.0), (3.0, -1.0)]);
        assert_eq!(Span::from_table(&table(&source, 9)), Ok((source, 9)));
        let broken = Table { columns: Vec::new(), ..table(&Span::default(), 0) };
        assert_eq!(Span::from_table(&broken), Err(NoEnvelope("x_first")));
    }

    #[test]
    fn late_points_find_their_place() {
        let late = span(&[(1.0, 1.0), (3.0, 3.0), (2.0, 2.0), (0.0, 0.0)]);
        let xs: Vec<_> = late.buckets().iter().map(|bucket| bucket.x_first).collect();
        assert_eq!(xs, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn points_of_one_x_are_one_bucket() {
        let same = span(&[(1.0, 5.0), (1.0, f64::NAN), (1.0, -3.0)]);
        let [bucket] = same.buckets() else { panic!("one bucket, not {:?}", same.buckets()) };
        assert_eq!((bucket.first, bucket.last, bucket.min, bucket.max), (5.0, -3.0, -3.0, 5.0));
        assert_eq!((bucket.count, bucket.nan), (3, 1));
    }

    #[test]
    fn nan_is_counted_and_hides_nothing() {
        let mut nan = span(&[(1.0, f64::NAN), (1.0, 2.0), (f64::NAN, 7.0)]);
        assert_eq!((nan.buckets()[0].first, nan.buckets()[0].nan, nan.count()), (2.0, 1, 2));
        nan.push(1.0, f64::INFINITY);
        assert_eq!(nan.buckets()[0].max, f64::INFINITY);
    }

    #[test]
    fn only_the_end_is_replaced() {
        let mut left = span(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]);
        assert_eq!(left.resume_x(), Some(3.0));
        left.replace_from(3.0, span(&[(3.0, 9.0), (4.0, 4.0)]));
        assert_eq!(left, span(&[(1.0, 1.0), (2.0, 2.0), (3.0, 9.0), (4.0, 4.0)]));
        assert_eq!(left.count(), 4);
    }

    fn any_y() -> impl Strategy<Value = f64> {
        prop_oneof![8 => -1e3..1e3_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY)]
    }

    proptest! {
        #[test]
        fn thinning_keeps_every_extreme(
            points in prop::collection::vec((0..500_u16, any_y()), 1..400),
            sorted: bool,
            wanted in 1..40_usize,
        ) {
            let mut points = points;
            if sorted {
                points.sort_by_key(|(x, _)| *x);
            }
            let mut thinned = Span::default();
            for (x, y) in &points {
                thinned.push(f64::from(*x), *y);
                thinned.settle(wanted);
            }
            prop_assert!(thinned.buckets().len() <= wanted * 3);
            prop_assert_eq!(thinned.count(), points.len() as u64);
            for pair in thinned.buckets().windows(2) {
                prop_assert!(pair[0].x_last < pair[1].x_first, "{:?}", pair);
            }
            for bucket in thinned.buckets() {
                let covered = |x: f64| bucket.x_first <= x && x <= bucket.x_last;
                let inside: Vec<f64> =
                    points.iter().filter(|(x, _)| covered(f64::from(*x))).map(|(_, y)| *y).collect();
                let min = inside.iter().copied().fold(f64::NAN, f64::min);
                let max = inside.iter().copied().fold(f64::NAN, f64::max);
                prop_assert_eq!(bucket.count, inside.len() as u64);
                prop_assert_eq!(bucket.nan, inside.iter().filter(|y| y.is_nan()).count() as u64);
                prop_assert!(bucket.min == min || bucket.min.is_nan() && min.is_nan());
                prop_assert!(bucket.max == max || bucket.max.is_nan() && max.is_nan());
            }
        }
    }
}
