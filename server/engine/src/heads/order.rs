//! Order of x: points by x, equal x by arrival, NaN last. Needed only where they did not arrive so.

use super::numeric::NumericView;

/// A number that orders as x does: -0.0 and 0.0 are equal, NaN is above all.
pub(crate) fn order_key(x: f64) -> u64 {
    if x.is_nan() {
        return u64::MAX;
    }
    // Adding zero makes -0.0 positive.
    let bits = (x + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The first so many points of a channel in order of x. Points never change, so it stays true and can be extended.
///
/// Memory: 4 bytes a point.
#[derive(Debug, Default)]
pub(crate) struct XOrder(Vec<u32>);

impl XOrder {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The arrival numbers of the points in order of x.
    pub(crate) fn arrivals(&self) -> &[u32] {
        &self.0
    }

    /// The order of all points of a view, from the one it has.
    ///
    /// Cost: a sort of the points that are new, and a merge.
    pub(crate) fn of_view(view: &NumericView) -> XOrder {
        let known = view.order.as_deref().map_or(&[][..], |order| &order.0);
        // A channel in memory has fewer than 2^32 points: they would take 100 GB.
        let mut fresh: Vec<u32> = (known.len() as u32..view.len() as u32).collect();
        let place = |arrival: &u32| (order_key(view.x(*arrival as usize)), *arrival);
        fresh.sort_unstable_by_key(place);
        let mut merged = Vec::with_capacity(view.len());
        let (mut known, mut fresh) = (known.iter().peekable(), fresh.iter().peekable());
        while let (Some(a), Some(b)) = (known.peek(), fresh.peek()) {
            let next = if place(a) <= place(b) { known.next() } else { fresh.next() };
            merged.extend(next);
        }
        merged.extend(known);
        merged.extend(fresh);
        XOrder(merged)
    }
}
