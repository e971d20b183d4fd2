//! Pages of exact points, by (x, arrival) or by arrival.

use std::ops::Range;
use std::sync::Arc;

use neptune_wire::query::{PointOrder, PointsQuery};

use super::PointsPage;
use crate::Refused;
use crate::envelope::partition;
use crate::heads::numeric::NumericView;
use crate::heads::order::{XOrder, order_key};
use crate::live::LivePoints;

const LIMIT: u32 = 10_000;
const LIMIT_MAX: u32 = 100_000;

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

    /// How many points the page costs a look at, beyond its own.
    pub(super) fn points_to_scan(&self, view: &NumericView) -> usize {
        match self.after {
            After::X(_) if view.ordered => 0,
            After::X(_) => view.len() - view.order.as_ref().map_or(0, |order| order.len()),
            After::Arrival(_) if self.from.is_none() && self.to.is_none() => 0,
            After::Arrival(_) => view.len(),
        }
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

/// The asked page, and the order of x if one had to be made.
pub(super) fn page(view: &NumericView, asked: &Asked) -> (PointsPage, Option<Arc<XOrder>>) {
    match asked.after {
        After::Arrival(first) => (page_by_arrival(view, asked, first), None),
        After::X(after) if view.ordered => {
            let (places, next) = places_by_x(view, asked, after, |at| at);
            (PointsPage::of_run(view, places, next), None)
        }
        After::X(after) => {
            let complete = view.order.clone().filter(|order| order.len() >= view.len());
            let order = complete.clone().unwrap_or_else(|| Arc::new(XOrder::of_view(view)));
            let arrivals = order.arrivals();
            let (places, next) = places_by_x(view, asked, after, |at| arrivals[at] as usize);
            let mut page = PointsPage { next, ..PointsPage::default() };
            arrivals[places].iter().for_each(|arrival| page.push(view, *arrival as usize));
            (page, complete.is_none().then_some(order))
        }
    }
}

/// The places of the page in the order of x, and the cursor of the next. `arrival_of`: the point at a place.
fn places_by_x(
    view: &NumericView,
    asked: &Asked,
    after: Option<(u64, u64)>,
    arrival_of: impl Fn(usize) -> usize,
) -> (Range<usize>, Option<String>) {
    let place = |at: usize| {
        let arrival = arrival_of(at);
        (order_key(view.x(arrival)), arrival as u64)
    };
    let from = asked.from.map_or(0, order_key);
    let to = match (asked.from, asked.to) {
        (None, None) => u64::MAX,
        // A range holds no NaN.
        (_, to) => order_key(to.unwrap_or(f64::INFINITY)),
    };
    let start = partition(0..view.len(), |at| {
        let here = place(at);
        here.0 < from || after.is_some_and(|after| here <= after)
    });
    let end = partition(start..view.len(), |at| place(at).0 <= to);
    let last = end.min(start + asked.limit);
    let next = (start < last && last < end).then(|| {
        let (key, arrival) = place(last - 1);
        format!("x{key:x}-{arrival}")
    });
    (start..last, next)
}

fn page_by_arrival(view: &NumericView, asked: &Asked, first: u64) -> PointsPage {
    let first = usize::try_from(first).unwrap_or(usize::MAX).min(view.len());
    if asked.from.is_none() && asked.to.is_none() {
        let last = view.len().min(first + asked.limit);
        let next = (last < view.len()).then(|| format!("a{last}"));
        return PointsPage::of_run(view, first..last, next);
    }
    let from = asked.from.unwrap_or(f64::NEG_INFINITY);
    let to = asked.to.unwrap_or(f64::INFINITY);
    let mut page = PointsPage::default();
    for arrival in first..view.len() {
        let x = view.x(arrival);
        if from <= x && x <= to {
            if page.x.len() == asked.limit {
                page.next = Some(format!("a{arrival}"));
                break;
            }
            page.push(view, arrival);
        }
    }
    page
}

impl PointsPage {
    fn of_run(view: &NumericView, run: Range<usize>, next: Option<String>) -> PointsPage {
        let LivePoints { x, y, time } = view.copy(run.start as u64..run.end as u64);
        PointsPage { x, y, time, next }
    }

    fn push(&mut self, view: &NumericView, arrival: usize) {
        let (x, y, time) = view.point(arrival);
        self.x.push(x);
        self.y.push(y);
        self.time.push(time);
    }
}

fn read_x_cursor(cursor: &str) -> Option<(u64, u64)> {
    let (key, arrival) = cursor.strip_prefix('x')?.split_once('-')?;
    Some((u64::from_str_radix(key, 16).ok()?, arrival.parse().ok()?))
}

fn read_arrival_cursor(cursor: &str) -> Option<u64> {
    cursor.strip_prefix('a')?.parse().ok()
}
