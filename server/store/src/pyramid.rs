//! The pyramid: summaries of a numeric channel's points, and summaries of those, written when points are sealed.
//!
//! A node of level 0 sums up [`NODE_POINTS`] points, a node of level k that many nodes of level k - 1 as [`FAN_OUT`] says.
//! Nodes lie in pages of [`FAN_OUT`], so a page of level k is what one node of level k + 1 sums up; a page is written
//! once it is complete and never changes. So a channel of n points has a node for every 256, 4,096, 65,536, … of them,
//! and any stretch of it is read as few nodes of one level, and some finer ones at its ends.
//!
//! ```text
//! page    0   1   version, 1
//!         1   1   flags u8     1 some y is NaN · 2 ends by x · 4 ends by time
//!         2       columns of FAN_OUT numbers: min, max, sum, first, last, x min, x max, time min, time max  f64
//!                 if 1: NaN count u64 · if 2 or 4, for x, then for time: odd count u64, ordered u64 (0 or 1),
//!                 first key, first, last key, last f64
//!         -4  4   CRC-32 of everything before
//! ```
//!
//! Ends by a key are left out where they are those by arrival: where keys came in order and no y is NaN.

use bytes::Bytes;

use crate::chunk::{BLOCK_POINTS, Points};

/// Points under one node of level 0.
pub const NODE_POINTS: usize = 256;
/// Nodes of one page, and nodes under one node of the next level.
pub const FAN_OUT: usize = BLOCK_POINTS / NODE_POINTS;
/// Levels of any channel: the nodes of the last one stand for 2^56 points.
pub const LEVELS: u8 = 13;

const VERSION: u8 = 1;
const HAS_NAN: u8 = 1;
const HAS_X_ENDS: u8 = 2;
const HAS_TIME_ENDS: u8 = 4;

/// What is known of a stretch of points. Times are keys as f64, which is exact until the year 2255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Points, NaN included.
    pub count: u64,
    /// Points whose y is NaN.
    pub nan: u64,
    /// Smallest y; NaN when there is none but NaN. So with `max`, `first` and `last`.
    pub min: f64,
    /// Largest y.
    pub max: f64,
    /// Sum of the finite y.
    pub sum: f64,
    /// The first y in order of arrival that is not NaN.
    pub first: f64,
    /// The last one.
    pub last: f64,
    /// The points along x.
    pub x: Keyed,
    /// The points along their times.
    pub time: Keyed,
}

/// What is known of the points along a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keyed {
    /// Smallest finite key; infinite when there is none. So with `max`.
    pub min: f64,
    /// Largest finite key.
    pub max: f64,
    /// Points whose key is NaN or infinite.
    pub odd: u64,
    /// Keys never decrease, and none is odd.
    pub ordered: bool,
    /// Key of `first`.
    pub first_key: f64,
    /// In order of key, then of arrival, the first y that is not NaN.
    pub first: f64,
    /// Key of `last`.
    pub last_key: f64,
    /// The last one.
    pub last: f64,
}

/// Why bytes are no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("page of the pyramid is damaged: {0}")]
pub struct PageError(&'static str);

/// Points under one node of a level.
pub fn node_points(level: u8) -> u64 {
    NODE_POINTS as u64 * (FAN_OUT as u64).pow(level.into())
}

/// Points under one page of a level.
pub fn page_points(level: u8) -> u64 {
    node_points(level) * FAN_OUT as u64
}

impl Keyed {
    /// Of no points.
    pub const EMPTY: Self = Self {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        odd: 0,
        ordered: true,
        first_key: f64::NAN,
        first: f64::NAN,
        last_key: f64::NAN,
        last: f64::NAN,
    };

    /// Adds a point that arrived after all points so far.
    fn add(&mut self, key: f64, y: f64) {
        if key.is_finite() {
            self.ordered &= key >= self.max;
            self.min = self.min.min(key);
            self.max = self.max.max(key);
        } else {
            self.odd += 1;
            self.ordered = false;
        }
        if y.is_nan() || key.is_nan() {
            return;
        }
        if self.first_key.is_nan() || key < self.first_key {
            (self.first, self.first_key) = (y, key);
        }
        if self.last_key.is_nan() || key >= self.last_key {
            (self.last, self.last_key) = (y, key);
        }
    }

    /// Adds points that arrived after all points so far.
    fn join(&mut self, next: &Self) {
        self.ordered &= next.ordered && next.min >= self.max;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.odd += next.odd;
        if self.first_key.is_nan() || next.first_key < self.first_key {
            (self.first, self.first_key) = (next.first, next.first_key);
        }
        if self.last_key.is_nan() || next.last_key >= self.last_key {
            (self.last, self.last_key) = (next.last, next.last_key);
        }
    }
}

impl Summary {
    /// Of no points.
    pub const EMPTY: Self = Self {
        count: 0,
        nan: 0,
        min: f64::NAN,
        max: f64::NAN,
        sum: 0.0,
        first: f64::NAN,
        last: f64::NAN,
        x: Keyed::EMPTY,
        time: Keyed::EMPTY,
    };

    /// Of points `range`.
    pub fn of(points: &Points, range: std::ops::Range<usize>) -> Self {
        let mut summary = Self::EMPTY;
        for at in range {
            let (x, y, time) = (points.x[at], points.y[at], points.time[at] as f64);
            summary.count += 1;
            summary.x.add(x, y);
            summary.time.add(time, y);
            if y.is_nan() {
                summary.nan += 1;
                continue;
            }
            if summary.count - summary.nan == 1 {
                summary.first = y;
            }
            summary.last = y;
            // `min` and `max` leave NaN aside.
            summary.min = summary.min.min(y);
            summary.max = summary.max.max(y);
            summary.sum += if y.is_finite() { y } else { 0.0 };
        }
        summary
    }

    /// Adds points that arrived after all points so far.
    pub fn join(&mut self, next: &Self) {
        self.count += next.count;
        self.nan += next.nan;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.sum += next.sum;
        if self.first.is_nan() {
            self.first = next.first;
        }
        if !next.last.is_nan() {
            self.last = next.last;
        }
        self.x.join(&next.x);
        self.time.join(&next.time);
    }

    /// Of all of them, in order of arrival.
    pub fn of_nodes<'a>(nodes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut summary = Self::EMPTY;
        nodes.into_iter().for_each(|node| summary.join(node));
        summary
    }
}

/// One complete page: [`FAN_OUT`] nodes of one level, in order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Page(pub [Summary; FAN_OUT]);

impl Page {
    /// The page of level 0 over a block of [`BLOCK_POINTS`] points.
    pub fn of_block(points: &Points) -> Self {
        Self(std::array::from_fn(|at| Summary::of(points, at * NODE_POINTS..(at + 1) * NODE_POINTS)))
    }

    /// The node that sums up the page.
    pub fn node(&self) -> Summary {
        Summary::of_nodes(&self.0)
    }

    /// The page as bytes.
    pub fn encode(&self) -> Bytes {
        let nodes = &self.0;
        let has_nan = nodes.iter().any(|node| node.nan > 0);
        let needs = |keyed: fn(&Summary) -> &Keyed| has_nan || nodes.iter().any(|node| !keyed(node).ordered);
        let (x_ends, time_ends) = (needs(|node| &node.x), needs(|node| &node.time));
        let mut out = Vec::with_capacity(2 + 10 * 8 * FAN_OUT);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.extend([
            VERSION,
            flag(has_nan, HAS_NAN) | flag(x_ends, HAS_X_ENDS) | flag(time_ends, HAS_TIME_ENDS),
        ]);
        let mut push = |value: &dyn Fn(&Summary) -> u64| {
            nodes.iter().for_each(|node| out.extend_from_slice(&value(node).to_le_bytes()));
        };
        for value in COLUMNS {
            push(&|node| value(&mut { *node }).to_bits());
        }
        if has_nan {
            push(&|node| node.nan);
        }
        for (has, keyed) in [(x_ends, X), (time_ends, TIME)] {
            if has {
                push(&|node| keyed(&mut { *node }).odd);
                push(&|node| keyed(&mut { *node }).ordered.into());
                for value in END_COLUMNS {
                    push(&|node| value(keyed(&mut { *node })).to_bits());
                }
            }
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads a page of a level.
    ///
    /// Cost: about a microsecond.
    ///
    /// # Errors
    ///
    /// [`PageError`] for bytes that [`Page::encode`] did not make.
    pub fn decode(level: u8, bytes: &[u8]) -> Result<Self, PageError> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(PageError("cut"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(PageError("its checksum differs"));
        }
        let [VERSION, flags, columns @ ..] = body else {
            return Err(PageError("it is of an unknown version"));
        };
        let mut columns = columns.as_chunks::<{ 8 * FAN_OUT }>().0.iter();
        let mut nodes = [Summary { count: node_points(level), ..Summary::EMPTY }; FAN_OUT];
        let mut read = |set: &dyn Fn(&mut Summary, u64)| {
            let column = columns.next().ok_or(PageError("cut"))?;
            for (node, bytes) in nodes.iter_mut().zip(column.as_chunks::<8>().0) {
                set(node, u64::from_le_bytes(*bytes));
            }
            Ok(())
        };
        for value in COLUMNS {
            read(&|node, bits| *value(node) = f64::from_bits(bits))?;
        }
        if flags & HAS_NAN != 0 {
            read(&|node, bits| node.nan = bits)?;
        }
        for (flag, keyed) in [(HAS_X_ENDS, X), (HAS_TIME_ENDS, TIME)] {
            if flags & flag == 0 {
                read_nothing(&mut nodes, keyed);
                continue;
            }
            let mut read = |set: &dyn Fn(&mut Keyed, u64)| {
                let column = columns.next().ok_or(PageError("cut"))?;
                for (node, bytes) in nodes.iter_mut().zip(column.as_chunks::<8>().0) {
                    set(keyed(node), u64::from_le_bytes(*bytes));
                }
                Ok(())
            };
            read(&|keyed, bits| keyed.odd = bits)?;
            read(&|keyed, bits| keyed.ordered = bits == 1)?;
            for value in END_COLUMNS {
                read(&|keyed, bits| *value(keyed) = f64::from_bits(bits))?;
            }
        }
        Ok(Self(nodes))
    }
}

/// Where keys came in order and no y is NaN, ends by key are those by arrival.
fn read_nothing(nodes: &mut [Summary; FAN_OUT], keyed: fn(&mut Summary) -> &mut Keyed) {
    for node in nodes {
        let (first, last) = (node.first, node.last);
        let keyed = keyed(node);
        *keyed = Keyed { first_key: keyed.min, first, last_key: keyed.max, last, ..*keyed };
    }
}

const COLUMNS: [fn(&mut Summary) -> &mut f64; 9] = [
    |node| &mut node.min,
    |node| &mut node.max,
    |node| &mut node.sum,
    |node| &mut node.first,
    |node| &mut node.last,
    |node| &mut node.x.min,
    |node| &mut node.x.max,
    |node| &mut node.time.min,
    |node| &mut node.time.max,
];

const END_COLUMNS: [fn(&mut Keyed) -> &mut f64; 4] = [
    |keyed| &mut keyed.first_key,
    |keyed| &mut keyed.first,
    |keyed| &mut keyed.last_key,
    |keyed| &mut keyed.last,
];

const X: fn(&mut Summary) -> &mut Keyed = |node| &mut node.x;
const TIME: fn(&mut Summary) -> &mut Keyed = |node| &mut node.time;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-50i32..50).prop_map(|i| f64::from(i) / 4.0),
            1 => any::<f64>(),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(-0.0),
        ]
    }

    /// A block from few numbers, so that whole nodes are plain and others are not.
    fn block(values: &[(f64, f64, i64)], ordered: bool) -> Points {
        let mut points = Points::default();
        for at in 0..BLOCK_POINTS {
            let (x, y, time) = values[at * 31 % values.len()];
            points.x.push(if ordered { at as f64 } else { x });
            points.y.push(y);
            points.time.push(if ordered { at as i64 } else { time });
        }
        points
    }

    /// Equal, NaN being equal to NaN.
    fn same(a: &Summary, b: &Summary) -> bool {
        let numbers = |summary: &Summary| {
            let mut summary = *summary;
            let mut numbers: Vec<f64> = COLUMNS.iter().map(|value| *value(&mut summary)).collect();
            for keyed in [X, TIME] {
                numbers.extend(END_COLUMNS.iter().map(|value| *value(keyed(&mut summary))));
                numbers.extend([keyed(&mut summary).odd as f64, f64::from(keyed(&mut summary).ordered)]);
            }
            numbers.extend([summary.count as f64, summary.nan as f64]);
            numbers
        };
        let equal = |(a, b): (f64, f64)| a == b || a.is_nan() && b.is_nan();
        numbers(a).into_iter().zip(numbers(b)).all(equal)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_page_reads_back(values in prop::collection::vec((value(), value(), -9i64..9), 1..40), ordered: bool) {
            let page = Page::of_block(&block(&values, ordered));
            let read = Page::decode(0, &page.encode()).unwrap();
            for (found, node) in read.0.iter().zip(&page.0) {
                prop_assert!(same(found, node), "{found:?}\n{node:?}");
            }
        }

        #[test]
        fn joined_nodes_are_the_summary_of_their_points(
            values in prop::collection::vec((value(), value(), -9i64..9), 1..40),
            ordered: bool,
        ) {
            let points = block(&values, ordered);
            let whole = Summary::of(&points, 0..BLOCK_POINTS);
            let node = Page::of_block(&points).node();
            // Sums are added in another order.
            prop_assert!(same(&Summary { sum: 0.0, ..node }, &Summary { sum: 0.0, ..whole }), "{node:?}\n{whole:?}");
        }

        #[test]
        fn damage_is_told(place in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = Page::of_block(&block(&[(1.0, 2.0, 3)], true)).encode().to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(Page::decode(0, &bytes).is_err());
        }
    }

    #[test]
    fn a_plain_page_is_small() {
        let points = block(&[(0.0, 1.5, 0)], true);
        let size_bytes = Page::of_block(&points).encode().len();
        assert!(size_bytes * 16 / 15 < 6 * BLOCK_POINTS / 10, "{size_bytes}");
    }
}
