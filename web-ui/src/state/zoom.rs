//! Which charts are zoomed, and to where: `zoom=loss~100~250` in the address, once per chart.

use super::address::Query;
use crate::chart::scale::Range;

const KEY: &str = "zoom";

/// The range a chart is zoomed to.
pub fn find(query: &Query, chart: &str) -> Option<Range> {
    query.all(KEY).find_map(|value| {
        let (title, range) = parse(value)?;
        (title == chart).then_some(range)
    })
}

/// The address with another range for this chart, or none.
pub fn set(query: &Query, chart: &str, range: Option<Range>) -> Query {
    let others =
        query.without(|key, value| key == KEY && parse(value).is_none_or(|(title, _)| title == chart));
    match range {
        Some(Range { min, max }) => {
            let places = places(max - min);
            others.add(KEY, format!("{chart}~{min:.places$}~{max:.places$}"))
        }
        None => others,
    }
}

/// Decimal places that tell a ten-thousandth of a range apart: what a mouse points at is no more exact.
fn places(range: f64) -> usize {
    (4.0 - range.log10()).ceil().clamp(0.0, 300.0) as usize
}

fn parse(value: &str) -> Option<(&str, Range)> {
    let mut parts = value.rsplitn(3, '~');
    let max: f64 = parts.next()?.parse().ok()?;
    let min: f64 = parts.next()?.parse().ok()?;
    let range = Range { min, max };
    (min.is_finite() && max.is_finite() && min < max).then_some((parts.next()?, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zoom_is_kept_per_chart() {
        let query = Query::parse("q=x");
        let query = set(&query, "a~b", Some(Range { min: 1.5, max: 20.0 }));
        let query = set(&query, "loss", Some(Range { min: -3e-7, max: 1e-7 }));
        let query = Query::parse(&query.to_string());
        assert_eq!(find(&query, "a~b"), Some(Range { min: 1.5, max: 20.0 }));
        assert_eq!(find(&query, "loss"), Some(Range { min: -3e-7, max: 1e-7 }));
        assert!(query.to_string().contains("zoom=a~b~1.500~20.000"), "{query}");
        assert_eq!(find(&query, "b"), None);
        let query = set(&set(&query, "a~b", None), "loss", None);
        assert_eq!(query.to_string(), "q=x");
    }

    #[test]
    fn nonsense_is_no_zoom() {
        for text in ["zoom=loss", "zoom=loss~2~1", "zoom=loss~a~b", "zoom=loss~NaN~1", "zoom=~1~inf"] {
            assert_eq!(find(&Query::parse(text), "loss"), None, "{text}");
        }
    }
}
