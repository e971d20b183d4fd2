//! How far the axes reach: over what is seen, finite values only, with a little air.

use super::span::Bucket;

/// Air above and below, as a part of the range.
const AIR: f64 = 0.06;

/// Of an axis that has places to mark and no value to reach for.
pub const UNIT: Range = Range { min: 0.0, max: 1.0 };

/// The ends of an axis; finite, and `min < max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// The x of all finite buckets; a single x stands in the middle of one step.
pub fn x_range<'a>(spans: impl IntoIterator<Item = &'a [Bucket]>) -> Option<Range> {
    let ends = spans.into_iter().flatten().flat_map(|bucket| [bucket.x_first, bucket.x_last]);
    let Range { min, max } = range_of(ends)?;
    Some(if min < max { Range { min, max } } else { around(min, 0.5) })
}

/// The y of the buckets that lie in a range of x; [`UNIT`] when there are some and none has a finite value.
pub fn y_range<'a>(spans: impl IntoIterator<Item = &'a [Bucket]>, x: Range) -> Option<Range> {
    let seen = spans.into_iter().flatten().filter(|bucket| bucket.x_last >= x.min && bucket.x_first <= x.max);
    let mut seen = seen.peekable();
    seen.peek()?;
    let values = seen.flat_map(|bucket| [bucket.first, bucket.last, bucket.min, bucket.max]);
    let Some(Range { min, max }) = range_of(values) else { return Some(UNIT) };
    let air = (max - min) * AIR;
    if !air.is_finite() {
        // The range itself is larger than the largest number.
        return Some(Range { min: f64::MIN / 4.0, max: f64::MAX / 4.0 });
    }
    let flat = air <= min.abs().max(max.abs()) * 1e-12;
    Some(if flat {
        around(min, if min == 0.0 { 1.0 } else { min.abs() * 0.1 })
    } else {
        Range { min: min - air, max: max + air }
    })
}

/// Whether every x is a whole number: steps and epochs are, times and ratios are not.
pub fn all_whole<'a>(spans: impl IntoIterator<Item = &'a [Bucket]>) -> bool {
    let mut ends = spans.into_iter().flatten().flat_map(|bucket| [bucket.x_first, bucket.x_last]);
    ends.all(|x| x.fract() == 0.0 || !x.is_finite())
}

fn range_of(values: impl Iterator<Item = f64>) -> Option<Range> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |range, value| {
        let Range { min, max } = range.unwrap_or(Range { min: value, max: value });
        Some(Range { min: min.min(value), max: max.max(value) })
    })
}

fn around(middle: f64, reach: f64) -> Range {
    let reach = reach.max(middle.abs() * 1e-9).min(f64::MAX / 4.0);
    Range { min: middle - reach, max: middle + reach }
}

#[cfg(test)]
mod tests {
    use super::super::span::tests::span;
    use super::*;

    const ALL: Range = Range { min: f64::MIN, max: f64::MAX };

    fn y(points: &[(f64, f64)]) -> Option<Range> {
        y_range([span(points).buckets()], ALL)
    }

    #[test]
    fn values_have_air_around_them() {
        assert_eq!(y(&[(0.0, 0.0), (1.0, 100.0)]), Some(Range { min: -6.0, max: 106.0 }));
        assert_eq!(y(&[(0.0, 5.0)]), Some(Range { min: 4.5, max: 5.5 }));
        assert_eq!(y(&[(0.0, 0.0)]), Some(Range { min: -1.0, max: 1.0 }));
    }

    #[test]
    fn what_is_not_finite_does_not_count() {
        let odd = [(0.0, f64::NAN), (1.0, f64::INFINITY), (2.0, f64::NEG_INFINITY)];
        assert_eq!(y(&odd), Some(UNIT));
        assert_eq!(y(&[]), None);
        assert_eq!(y(&[odd.as_slice(), &[(3.0, 5.0)]].concat()), Some(Range { min: 4.5, max: 5.5 }));
        assert!(
            y(&[(0.0, f64::MIN), (1.0, f64::MAX)]).is_some_and(|range| (range.max - range.min).is_finite())
        );
    }

    #[test]
    fn only_what_is_seen_counts() {
        let points = span(&[(0.0, 1000.0), (1.0, 1.0), (2.0, 2.0)]);
        let seen = y_range([points.buckets()], Range { min: 0.5, max: 3.0 }).unwrap();
        assert!(seen.max < 3.0);
    }

    #[test]
    fn x_reaches_from_end_to_end() {
        let (a, b) =
            (span(&[(1.0, 0.0), (9.0, 0.0)]), span(&[(4.0, 0.0), (20.0, 0.0), (f64::INFINITY, 0.0)]));
        assert_eq!(x_range([a.buckets(), b.buckets()]), Some(Range { min: 1.0, max: 20.0 }));
        assert_eq!(x_range([span(&[(7.0, 0.0)]).buckets()]), Some(Range { min: 6.5, max: 7.5 }));
        assert_eq!(x_range([span(&[]).buckets()]), None);
        assert!(all_whole([a.buckets()]));
        assert!(!all_whole([span(&[(0.5, 0.0)]).buckets()]));
    }
}
