//! What the plot draws: spans of several channels over one common row of x.
//!
//! A bucket of one point is one corner of the line; a larger one has two, its first and its last value, and the band
//! from its minimum to its maximum spreads between them. The plot wants one row of x for all series, so every series
//! has a value, a gap (its points there are NaN) or nothing to say (other series have a point there) at each x.

use super::scale::{self, Range};
use super::span::{Bucket, Span};

/// Stands for "nothing to say": the line goes on past it.
pub const SKIP: f64 = f64::INFINITY;
/// Stands for "no value": the line breaks.
pub const GAP: f64 = f64::NAN;

/// Everything the plot needs for one frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drawing {
    /// The common row, ascending.
    pub x: Vec<f64>,
    /// Per series.
    pub series: Vec<Drawn>,
    /// The ends of the horizontal axis; absent when there is nothing to draw.
    pub x_range: Option<Range>,
    /// The ends of the vertical axis.
    pub y_range: Option<Range>,
    /// Every x is a whole number.
    pub whole_x: bool,
    /// Where NaN, positive and negative infinities lie.
    pub marks: Marks,
}

/// One series over the common row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drawn {
    /// First and last values.
    pub line: Vec<f64>,
    /// Minima, clipped to what can be drawn.
    pub low: Vec<f64>,
    /// Maxima, likewise.
    pub high: Vec<f64>,
    /// Whether any bucket holds more than one value: else there is no band.
    pub banded: bool,
}

/// Places of values that no line can show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Marks {
    /// x of buckets with NaN.
    pub nan: Vec<f64>,
    /// x of buckets with +∞.
    pub above: Vec<f64>,
    /// x of buckets with −∞.
    pub below: Vec<f64>,
}

/// What the caption says of the range that is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Points.
    pub points: u64,
    /// Points whose y is NaN.
    pub nan: u64,
    /// Places with an infinite value.
    pub infinite: u64,
    /// Points whose x is infinite: no place on the axis.
    pub off_axis: u64,
}

impl Seen {
    /// Counts over all spans.
    pub fn of<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Self {
        let mut seen = Self::default();
        for bucket in spans.into_iter().flat_map(Span::buckets) {
            seen.points += bucket.count;
            seen.nan += bucket.nan;
            seen.infinite +=
                u64::from(bucket.min == f64::NEG_INFINITY) + u64::from(bucket.max == f64::INFINITY);
            seen.off_axis += if on_axis(bucket) { 0 } else { bucket.count };
        }
        seen
    }
}

/// Draws spans over the whole of their x, or over `zoom`.
pub fn draw(spans: &[&Span], zoom: Option<Range>) -> Drawing {
    let buckets: Vec<Vec<Bucket>> =
        spans.iter().map(|span| span.buckets().iter().copied().filter(on_axis).collect()).collect();
    let all = || buckets.iter().map(Vec::as_slice);
    let x_range = zoom.or_else(|| scale::x_range(all()));
    let y_range = x_range.and_then(|x| scale::y_range(all(), x));
    let y = y_range.unwrap_or(scale::UNIT);
    let corners: Vec<Vec<Corner>> = buckets.iter().map(|buckets| corners(buckets, y)).collect();
    let x = common_x(&corners);
    let series = corners.iter().map(|corners| spread(corners, &x)).collect();
    Drawing { series, x_range, y_range, whole_x: scale::all_whole(all()), marks: marks(&buckets), x }
}

#[derive(Debug, Clone, Copy)]
struct Corner {
    x: f64,
    line: f64,
    low: f64,
    high: f64,
}

fn on_axis(bucket: &Bucket) -> bool {
    bucket.x_first.is_finite() && bucket.x_last.is_finite()
}

fn corners(buckets: &[Bucket], y: Range) -> Vec<Corner> {
    let clipped = |value: f64| if value.is_nan() { GAP } else { value.clamp(y.min, y.max) };
    let mut corners = Vec::with_capacity(buckets.len() * 2);
    for bucket in buckets {
        let (low, high) = (clipped(bucket.min), clipped(bucket.max));
        // An infinite value is marked at the edge, not drawn as if it were finite.
        let line = |value: f64| if value.is_finite() { value } else { GAP };
        corners.push(Corner { x: bucket.x_first, line: line(bucket.first), low, high });
        if bucket.x_last > bucket.x_first {
            corners.push(Corner { x: bucket.x_last, line: line(bucket.last), low, high });
        }
    }
    corners
}

fn common_x(series: &[Vec<Corner>]) -> Vec<f64> {
    let mut x: Vec<f64> = series.iter().flatten().map(|corner| corner.x).collect();
    if series.len() > 1 {
        x.sort_unstable_by(f64::total_cmp);
    }
    x.dedup();
    x
}

fn spread(corners: &[Corner], x: &[f64]) -> Drawn {
    let mut drawn = Drawn::default();
    let mut next = corners.iter().peekable();
    for &x in x {
        let corner = next.next_if(|corner| corner.x == x);
        drawn.line.push(corner.map_or(SKIP, |corner| corner.line));
        drawn.low.push(corner.map_or(SKIP, |corner| corner.low));
        drawn.high.push(corner.map_or(SKIP, |corner| corner.high));
        drawn.banded |= corner.is_some_and(|corner| corner.low < corner.high);
    }
    drawn
}

fn marks(series: &[Vec<Bucket>]) -> Marks {
    let mut marks = Marks::default();
    for bucket in series.iter().flatten() {
        let middle = bucket.x_first / 2.0 + bucket.x_last / 2.0;
        if bucket.nan > 0 {
            marks.nan.push(middle);
        }
        if bucket.max == f64::INFINITY {
            marks.above.push(middle);
        }
        if bucket.min == f64::NEG_INFINITY {
            marks.below.push(middle);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::span::tests::span;
    use super::*;

    #[test]
    fn a_line_goes_through_its_points() {
        let points = span(&[(1.0, 3.0), (2.0, 5.0)]);
        let drawing = draw(&[&points], None);
        assert_eq!(
            (drawing.x.as_slice(), drawing.series[0].line.as_slice()),
            (&[1.0, 2.0][..], &[3.0, 5.0][..])
        );
        assert!(!drawing.series[0].banded);
        assert!(drawing.whole_x);
    }

    #[test]
    fn a_bucket_has_two_corners_and_a_band() {
        let mut many = Span::default();
        for n in 0..100 {
            many.push(f64::from(n), if n == 42 { 1000.0 } else { 0.0 });
            many.settle(5);
        }
        let drawing = draw(&[&many], None);
        let drawn = &drawing.series[0];
        assert!(drawn.banded);
        assert!(drawing.x.len() < 60, "{}", drawing.x.len());
        assert_eq!(drawn.high.iter().copied().fold(0.0, f64::max), 1000.0, "a spike survives");
    }

    #[test]
    fn series_with_other_steps_do_not_break_each_other() {
        let (a, b) = (span(&[(1.0, 1.0), (3.0, 3.0)]), span(&[(2.0, 2.0), (3.0, 9.0)]));
        let drawing = draw(&[&a, &b], None);
        assert_eq!(drawing.x, [1.0, 2.0, 3.0]);
        assert_eq!(drawing.series[0].line, [1.0, SKIP, 3.0]);
        assert_eq!(drawing.series[1].line, [SKIP, 2.0, 9.0]);
    }

    #[test]
    fn nan_breaks_the_line_and_is_marked() {
        let points = span(&[(1.0, 1.0), (2.0, f64::NAN), (3.0, 3.0)]);
        let drawing = draw(&[&points], None);
        assert!(drawing.series[0].line[1].is_nan());
        assert_eq!(drawing.marks.nan, [2.0]);
        assert_eq!(Seen::of([&points]), Seen { points: 3, nan: 1, ..Seen::default() });
    }

    #[test]
    fn infinities_are_marked_at_the_edges() {
        let points = span(&[(1.0, 1.0), (2.0, f64::INFINITY), (3.0, f64::NEG_INFINITY), (4.0, 2.0)]);
        let drawing = draw(&[&points], None);
        let y = drawing.y_range.unwrap();
        assert!(y.max < 3.0);
        assert_eq!(
            (drawing.marks.above.as_slice(), drawing.marks.below.as_slice()),
            (&[2.0][..], &[3.0][..])
        );
        assert!(drawing.series[0].line[1].is_nan());
        assert_eq!(drawing.series[0].high[1], y.max);
        assert_eq!(Seen::of([&points]).infinite, 2);
    }

    #[test]
    fn what_is_never_finite_is_marked_between_axes_all_the_same() {
        let points = span(&[(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, f64::NEG_INFINITY), (9.0, 5.0)]);
        let unseen = Range { min: 0.0, max: 4.0 };
        for (drawing, x) in [
            (draw(&[&span(&[(1.0, f64::NAN), (2.0, f64::NAN)])], None), Range { min: 1.0, max: 2.0 }),
            (draw(&[&points], Some(unseen)), unseen),
        ] {
            assert_eq!((drawing.x_range, drawing.y_range), (Some(x), Some(Range { min: 0.0, max: 1.0 })));
            assert_eq!(drawing.marks.nan[0], 1.0);
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let drawing = draw(&[&Span::default()], None);
        assert_eq!((drawing.x_range, drawing.y_range), (None, None));
        let zoomed = draw(&[&span(&[(1.0, 1.0)])], Some(Range { min: 4.0, max: 5.0 }));
        assert_eq!(zoomed.y_range, None);
        let off_axis = span(&[(f64::INFINITY, 1.0)]);
        assert_eq!(draw(&[&off_axis], None).x_range, None);
        assert_eq!(Seen::of([&off_axis]).off_axis, 1);
    }
}
