//! Pages of exact points, by (x, arrival) or by arrival.
//!
//! Where points arrived in order of x, a page is a stretch of the channel, found by its ends. Where they did not, every
//! page is picked from all points that its range may hold, by one pass.

use std::collections::BinaryHeap;

use neptune_store::chunk::Points;
use neptune_store::pyramid::node_points;
use neptune_wire::query::{Axis, PointOrder, PointsQuery};

use super::PointsPage;
use crate::Refused;
use crate::envelope::span;
use crate::series::{Piece, Series};

const LIMIT: u32 = 10_000;
const LIMIT_MAX: u32 = 100_000;
/// Nodes of this level are passed over where no point of theirs can be asked for: they stand for a block each.
const SKIP_LEVEL: u8 = 1;

/// A checked query.
pub(super) struct Asked {
    from: Option<f64>,
    to: Option<f64>,
    limit: usize,
    after: After,
}

/// Where the page begins, and in which order.
enum After {
    /// By (key of x, arrival), behind this one.
    X(Option<(u64, u64)>),
    /// By arrival, from this one on.
    Arrival(u64),
}

impl Asked {
    pub(super) fn read(query: &PointsQuery) -> Result<Asked, Refused> {
        check_range(query.from, query.to)?;
        let limit = query.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Refused::field("limit", "must be 1 to 100000"));
        }
        let after = match (query.order, query.cursor.as_deref()) {
            (PointOrder::X, None) => Some(After::X(None)),
            (PointOrder::X, Some(cursor)) => read_x_cursor(cursor).map(|after| After::X(Some(after))),
            (PointOrder::Arrival, None) => Some(After::Arrival(0)),
            (PointOrder::Arrival, Some(cursor)) => read_arrival_cursor(cursor).map(After::Arrival),
        };
        let wrong = || Refused::field("cursor", "must be `next` of the page before, with the same order");
        let after = after.ok_or_else(wrong)?;
        Ok(Asked { from: query.from, to: query.to, limit: limit as usize, after })
    }

    fn has_range(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// Whether an x is asked for. A range holds no NaN.
    fn holds(&self, x: f64) -> bool {
        !self.has_range()
            || (self.from.is_none_or(|from| x >= from) && self.to.is_none_or(|to| x <= to) && !x.is_nan())
    }

    /// Whether some x between two finite ones may be asked for.
    fn meets(&self, (low, high): (f64, f64)) -> bool {
        self.from.is_none_or(|from| high >= from) && self.to.is_none_or(|to| low <= to)
    }
}

/// Refuses a range that no x lies in.
pub(super) fn check_range(from: Option<f64>, to: Option<f64>) -> Result<(), Refused> {
    for (field, end) in [("from", from), ("to", to)] {
        if end.is_some_and(f64::is_nan) {
            return Err(Refused::field(field, "must be a number, not NaN"));
        }
    }
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(Refused::field("from", "must be at most `to`")),
        _ => Ok(()),
    }
}

/// A number that orders as x does: -0.0 and 0.0 are equal, NaN is above all.
pub(super) fn order_key(x: f64) -> u64 {
    if x.is_nan() {
        return u64::MAX;
    }
    // Adding zero makes -0.0 positive.
    let bits = (x + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The asked page.
pub(super) async fn page(series: &Series<'_>, asked: &Asked) -> Result<PointsPage, Refused> {
    match asked.after {
        After::Arrival(first) => page_by_arrival(series, asked, first).await,
        After::X(after) if series.is_ordered(Axis::X) => page_of_run(series, asked, after).await,
        After::X(after) => page_of_all(series, asked, after).await,
    }
}

/// A page by x, where that is arrival.
async fn page_of_run(
    series: &Series<'_>,
    asked: &Asked,
    after: Option<(u64, u64)>,
) -> Result<PointsPage, Refused> {
    let (mut start, mut end) = (0, series.len());
    if let Some(from) = asked.from {
        start = series.partition(Axis::X, |x| x < from).await?;
    }
    if let Some(to) = asked.to {
        end = series.partition(Axis::X, |x| x <= to).await?;
    }
    if let Some((_, arrival)) = after {
        start = start.max(arrival.saturating_add(1));
    }
    let last = end.min(start.saturating_add(asked.limit as u64));
    let mut page = PointsPage::default();
    push_run(series, start..last, &mut page).await?;
    if let (Some(x), true) = (page.x.last(), last < end) {
        page.next = Some(x_cursor(order_key(*x), last - 1));
    }
    Ok(page)
}

/// A page by x of points that arrived in another order: the least of all that lie behind the cursor.
async fn page_of_all(
    series: &Series<'_>,
    asked: &Asked,
    after: Option<(u64, u64)>,
) -> Result<PointsPage, Refused> {
    let mut least: BinaryHeap<Row> = BinaryHeap::with_capacity(asked.limit + 2);
    let mut pieces = series.cover(0..series.len(), Some(SKIP_LEVEL));
    pieces.reverse();
    while let Some(piece) = pieces.pop() {
        match piece {
            Piece::Nodes { level, nodes } => {
                let (now, later) = Series::split_nodes(nodes);
                if !later.is_empty() {
                    pieces.push(Piece::Nodes { level, nodes: later });
                }
                let summaries = series.nodes(level, now.clone()).await?;
                for (node, summary) in now.zip(summaries) {
                    let first = node * node_points(level);
                    let end = first + node_points(level);
                    let may_hold = span(Axis::X, first, &summary).is_none_or(|span| asked.meets(span));
                    match pieces.last_mut() {
                        Some(Piece::Points(last)) if may_hold && last.end == first => last.end = end,
                        _ if may_hold => pieces.push(Piece::Points(first..end)),
                        _ => {}
                    }
                }
            }
            Piece::Points(points) => {
                let (now, later) = Series::split_points(points);
                if !later.is_empty() {
                    pieces.push(Piece::Points(later));
                }
                for part in series.points(now).await? {
                    for (arrival, at) in (part.first..).zip(part.range) {
                        let place = (order_key(part.block.x[at]), arrival);
                        let behind = after.is_none_or(|after| place > after);
                        if behind && asked.holds(part.block.x[at]) {
                            push_least(&mut least, asked.limit + 1, Row::of(place, &part.block, at));
                        }
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    }
    let mut rows = least.into_sorted_vec();
    let more = rows.len() > asked.limit;
    rows.truncate(asked.limit);
    let mut page = PointsPage::default();
    if let (Some(last), true) = (rows.last(), more) {
        page.next = Some(x_cursor(last.place.0, last.place.1));
    }
    for row in rows {
        page.x.push(row.x);
        page.y.push(row.y);
        page.time.push(row.time);
    }
    Ok(page)
}

/// A point and its place in the order of x.
struct Row {
    place: (u64, u64),
    x: f64,
    y: f64,
    time: i64,
}

impl Row {
    fn of(place: (u64, u64), points: &Points, at: usize) -> Row {
        Row { place, x: points.x[at], y: points.y[at], time: points.time[at] }
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

fn push_least(least: &mut BinaryHeap<Row>, limit: usize, row: Row) {
    if least.len() < limit {
        least.push(row);
    } else if let Some(mut most) = least.peek_mut()
        && row < *most
    {
        *most = row;
    }
}

async fn page_by_arrival(series: &Series<'_>, asked: &Asked, first: u64) -> Result<PointsPage, Refused> {
    let mut page = PointsPage::default();
    let mut left = first.min(series.len())..series.len();
    if !asked.has_range() {
        let last = left.end.min(left.start + asked.limit as u64);
        push_run(series, left.start..last, &mut page).await?;
        page.next = (last < left.end).then(|| format!("a{last}"));
        return Ok(page);
    }
    while !left.is_empty() {
        let (now, later) = Series::split_points(left);
        for part in series.points(now).await? {
            for (arrival, at) in (part.first..).zip(part.range) {
                if !asked.holds(part.block.x[at]) {
                    continue;
                }
                if page.x.len() == asked.limit {
                    page.next = Some(format!("a{arrival}"));
                    return Ok(page);
                }
                push_points(&mut page, &part.block, at..at + 1);
            }
        }
        tokio::task::yield_now().await;
        left = later;
    }
    Ok(page)
}

/// Adds points that follow each other.
async fn push_run(
    series: &Series<'_>,
    range: std::ops::Range<u64>,
    page: &mut PointsPage,
) -> Result<(), Refused> {
    let mut left = range;
    while !left.is_empty() {
        let (now, later) = Series::split_points(left);
        for part in series.points(now).await? {
            push_points(page, &part.block, part.range);
        }
        left = later;
    }
    Ok(())
}

fn push_points(page: &mut PointsPage, points: &Points, range: std::ops::Range<usize>) {
    page.x.extend_from_slice(&points.x[range.clone()]);
    page.y.extend_from_slice(&points.y[range.clone()]);
    page.time.extend_from_slice(&points.time[range]);
}

fn x_cursor(key: u64, arrival: u64) -> String {
    format!("x{key:x}-{arrival}")
}

fn read_x_cursor(cursor: &str) -> Option<(u64, u64)> {
    let (key, arrival) = cursor.strip_prefix('x')?.split_once('-')?;
    Some((u64::from_str_radix(key, 16).ok()?, arrival.parse().ok()?))
}

fn read_arrival_cursor(cursor: &str) -> Option<u64> {
    cursor.strip_prefix('a')?.parse().ok()
}
