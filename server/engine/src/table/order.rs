//! Rows in an order by several keys: the first so many of those that pass, without sorting the rest, and the place in
//! that order where a page ends.
//!
//! Numbers stand before texts, texts are compared without case; NaN and then "no value" come last whichever way a key
//! runs. Ids are the last key, so the order is total. A cursor holds the keys and the id of a page's last row: the page
//! after it begins behind that place wherever it lies now. It holds the time of the first page too, so that running
//! jobs' durations and times such as `-7d` stand still from page to page.

use std::cmp::Ordering;
use std::fmt::Write as _;

use neptune_wire::{JobId, Micros};

use super::column::{Column, Seen};
use super::filter::{Field, Operand};
use super::paged::{Cell as _, Mask, count};
use super::plan::Plan;
use super::rows::Rows;

/// Texts are ordered by so many characters; what follows is as good as equal. It bounds the length of a cursor.
const TEXT_CHARS: usize = 128;

/// An order of rows.
pub(crate) struct Order<'t> {
    rows: &'t Rows,
    keys: Vec<Key<'t>>,
    /// Ids rise where nothing else tells rows apart.
    id_rises: bool,
}

struct Key<'t> {
    /// A column that no job has keeps its place, so that a cursor fits when it is there later.
    column: Option<Column<'t>>,
    falls: bool,
}

/// A place in an order: the keys and id of a row that is or was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cursor {
    /// When the first page was asked for.
    pub(crate) now: Micros,
    /// Of which order.
    pub(crate) order: u64,
    pub(crate) keys: Vec<KeyValue>,
    /// Of the row; absent for groups.
    pub(crate) id: Option<JobId>,
}

/// A key's value apart from its row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyValue {
    Absent,
    Number(f64),
    Text(String),
}

#[derive(Clone, Copy)]
pub(crate) enum KeyRef<'a> {
    Absent,
    Number(f64),
    Text(&'a str),
}

/// The rows that were asked for.
pub(crate) struct Top {
    /// In order.
    pub(crate) rows: Vec<u32>,
    /// How many pass, on all pages.
    pub(crate) total: u64,
    /// Whether rows come after these.
    pub(crate) more: bool,
}

/// The first part of an order, made once a row: equal ones are compared in full.
type Rank = (u8, u64);

impl<'t> Order<'t> {
    /// Finds the columns of an order.
    pub(crate) fn new(rows: &'t Rows, sort: &[(Operand, bool)], now: Micros) -> Order<'t> {
        let key = |(operand, falls): &(Operand, bool)| Key {
            column: Column::find(rows, operand, now),
            falls: *falls,
        };
        // Of equal keys the newer job comes first, except where the order is by age itself.
        let id_rises = match sort.last() {
            Some((Operand::Field(Field::Id | Field::Created), falls)) => !falls,
            _ => false,
        };
        Order { rows, keys: sort.iter().map(key).collect(), id_rises }
    }

    /// The first `limit` rows that pass all plans and lie behind `after`.
    pub(crate) fn top(&self, plans: &[&Plan<'_>], after: Option<&Cursor>, limit: usize) -> Top {
        let mut found = Found { order: self, after, wanted: limit + 1, rows: Vec::new(), worst: None };
        let after_rank = after.map(|cursor| self.rank_of_cursor(cursor));
        let mut total = 0;
        let last = self.rows.page_count();
        // Rows lie in the order jobs came. Where the newest come first, the last page is looked at first, so that the
        // worst of the best is known early and hardly a row is taken for nothing.
        for page in (0..last).map(|page| if self.id_rises { page } else { last - 1 - page }) {
            let passing = plans.iter().fold(self.rows.present(page), |open, plan| plan.select(page, &open));
            total += count(&passing) as u64;
            self.visit_ranks(page, &passing, |row, rank| found.offer(row, rank, after_rank));
        }
        let mut rows = found.rows;
        rows.sort_unstable_by(|a, b| self.compare_ranked(*a, *b));
        let more = rows.len() > limit;
        rows.truncate(limit);
        Top { rows: rows.into_iter().map(|(_, row)| row).collect(), total, more }
    }

    /// The place of a row.
    pub(crate) fn cursor(&self, row: u32, now: Micros, order: u64) -> Cursor {
        let keys = self.keys.iter().map(|key| self.value(key, row).into()).collect();
        Cursor { now, order, keys, id: self.rows.id(row) }
    }

    fn visit_ranks(&self, page: u32, mask: &Mask, mut tell: impl FnMut(u32, Rank)) {
        let Some(key) = self.keys.first() else {
            return self.visit_unranked(page, mask, tell);
        };
        match key.column {
            Some(column @ (Column::Number { .. } | Column::Duration { .. })) => {
                column.visit_numbers(page, mask, |row, number| {
                    let value = if number.is_absent() { KeyRef::Absent } else { KeyRef::Number(number) };
                    tell(row, rank(value, key.falls));
                });
            }
            Some(Column::Text { column } | Column::Tags { column }) => {
                column.codes.visit(page, 0, mask, |row, code| {
                    let value = if code.is_absent() {
                        KeyRef::Absent
                    } else {
                        value_of(Seen::Entry(column.entry(code)))
                    };
                    tell(row, rank(value, key.falls));
                });
            }
            Some(Column::Id | Column::Uid) | None => self.visit_unranked(page, mask, tell),
        }
    }

    fn visit_unranked(&self, page: u32, mask: &Mask, mut tell: impl FnMut(u32, Rank)) {
        self.rows.numbers.number.visit(page, 0, mask, |row, _| tell(row, ABSENT_RANK));
    }

    fn rank_of_cursor(&self, cursor: &Cursor) -> Rank {
        match (self.keys.first(), cursor.keys.first()) {
            (Some(key), Some(value)) if key.column.is_some() => rank(value.as_ref(), key.falls),
            _ => ABSENT_RANK,
        }
    }

    fn value(&self, key: &Key<'t>, row: u32) -> KeyRef<'t> {
        key.column.map_or(KeyRef::Absent, |column| value_of(column.see(row)))
    }

    fn compare_ranked(&self, a: (Rank, u32), b: (Rank, u32)) -> Ordering {
        a.0.cmp(&b.0).then_with(|| self.compare_rows(a.1, b.1))
    }

    fn compare_rows(&self, a: u32, b: u32) -> Ordering {
        for key in &self.keys {
            let order = match key.column {
                Some(Column::Id) => falling(self.compare_ids(a, b), key.falls),
                _ => compare_keys(self.value(key, a), self.value(key, b), key.falls),
            };
            if order.is_ne() {
                return order;
            }
        }
        falling(self.compare_ids(a, b), !self.id_rises)
    }

    fn compare_ids(&self, a: u32, b: u32) -> Ordering {
        let project = |row| self.rows.texts.project.find(row).map(|entry| &*entry.text);
        let number = |row| self.rows.numbers.number.get(row, 0);
        project(a).cmp(&project(b)).then_with(|| number(a).total_cmp(&number(b)))
    }

    fn compare_with_cursor(&self, row: u32, cursor: &Cursor) -> Ordering {
        let id = || self.rows.id(row).cmp(&cursor.id);
        for (key, value) in self.keys.iter().zip(&cursor.keys) {
            let order = match key.column {
                Some(Column::Id) => falling(id(), key.falls),
                _ => compare_keys(self.value(key, row), value.as_ref(), key.falls),
            };
            if order.is_ne() {
                return order;
            }
        }
        falling(id(), !self.id_rises)
    }
}

/// The best rows so far: at most twice as many as are wanted, cut back when full.
struct Found<'a, 't> {
    order: &'a Order<'t>,
    after: Option<&'a Cursor>,
    wanted: usize,
    rows: Vec<(Rank, u32)>,
    /// Once `wanted` rows are found, the last of the best ones: what lies behind it is of no interest.
    worst: Option<(Rank, u32)>,
}

impl Found<'_, '_> {
    fn offer(&mut self, row: u32, rank: Rank, after_rank: Option<Rank>) {
        if let Some(worst) = self.worst
            && (rank > worst.0 || rank == worst.0 && self.order.compare_rows(row, worst.1).is_ge())
        {
            return;
        }
        if let (Some(cursor), Some(after)) = (self.after, after_rank)
            && (rank < after || rank == after && self.order.compare_with_cursor(row, cursor).is_le())
        {
            return;
        }
        self.rows.push((rank, row));
        if self.rows.len() >= 2 * self.wanted {
            let last = self.wanted - 1;
            let order = self.order;
            self.rows.select_nth_unstable_by(last, |a, b| order.compare_ranked(*a, *b));
            self.rows.truncate(self.wanted);
            self.worst = Some(self.rows[last]);
        }
    }
}

impl KeyValue {
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        match self {
            KeyValue::Absent => KeyRef::Absent,
            KeyValue::Number(number) => KeyRef::Number(*number),
            KeyValue::Text(text) => KeyRef::Text(text),
        }
    }
}

impl From<KeyRef<'_>> for KeyValue {
    fn from(value: KeyRef<'_>) -> KeyValue {
        match value {
            KeyRef::Absent => KeyValue::Absent,
            KeyRef::Number(number) => KeyValue::Number(number),
            KeyRef::Text(text) => KeyValue::Text(text.chars().take(TEXT_CHARS).collect()),
        }
    }
}

/// What a value is ordered by.
pub(crate) fn value_of(seen: Seen<'_>) -> KeyRef<'_> {
    match seen {
        Seen::Absent => KeyRef::Absent,
        Seen::Number(number) => KeyRef::Number(number),
        Seen::Entry(entry) if !entry.number.is_absent() => KeyRef::Number(entry.number),
        Seen::Entry(entry) => KeyRef::Text(&entry.text),
    }
}

const ABSENT_RANK: Rank = (3, 0);

fn rank(value: KeyRef<'_>, falls: bool) -> Rank {
    let (class, bits) = match value {
        KeyRef::Absent => return ABSENT_RANK,
        KeyRef::Number(number) if number.is_nan() => return (2, 0),
        KeyRef::Number(number) => {
            // Adding zero makes -0.0 positive.
            let bits = (number + 0.0).to_bits();
            // Rises with the number: negative ones have all bits flipped, the others only their sign.
            (0, if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
        }
        KeyRef::Text(text) => (1, prefix(text)),
    };
    if falls { (1 - class, !bits) } else { (class, bits) }
}

/// The first eight bytes of a text in lower case.
fn prefix(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    for c in folded(text) {
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            if at == 8 {
                return u64::from_be_bytes(bytes);
            }
            bytes[at] = byte;
            at += 1;
        }
    }
    u64::from_be_bytes(bytes)
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().take(TEXT_CHARS).flat_map(char::to_lowercase)
}

pub(crate) fn compare_keys(a: KeyRef<'_>, b: KeyRef<'_>, falls: bool) -> Ordering {
    rank(a, falls).cmp(&rank(b, falls)).then_with(|| match (a, b) {
        (KeyRef::Text(a), KeyRef::Text(b)) => falling(folded(a).cmp(folded(b)), falls),
        _ => Ordering::Equal,
    })
}

fn falling(order: Ordering, falls: bool) -> Ordering {
    if falls { order.reverse() } else { order }
}

/// A number that two orders hardly share (FNV-1a).
pub(crate) fn order_number(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl Cursor {
    /// The cursor as it travels: `now_order_key…_id`, numbers by their bits, texts in hexadecimal.
    pub(crate) fn write(&self) -> String {
        let mut text = format!("{}_{:x}", self.now.0, self.order);
        for key in &self.keys {
            // Writing to a text cannot fail.
            let _ = match key {
                KeyValue::Absent => write!(text, "_x"),
                KeyValue::Number(number) => write!(text, "_n{:x}", number.to_bits()),
                KeyValue::Text(key) => {
                    text.push_str("_t");
                    key.bytes().try_for_each(|byte| write!(text, "{byte:02x}"))
                }
            };
        }
        match &self.id {
            Some(id) => text + "_i" + &id.to_string(),
            None => text,
        }
    }

    /// Reads a cursor; `None` for a text that [`Cursor::write`] does not make.
    pub(crate) fn read(text: &str) -> Option<Cursor> {
        let mut parts = text.split('_');
        let now = Micros(parts.next()?.parse().ok()?);
        let order = u64::from_str_radix(parts.next()?, 16).ok()?;
        let mut cursor = Cursor { now, order, keys: Vec::new(), id: None };
        for part in parts {
            if cursor.id.is_some() {
                return None;
            }
            match part.split_at_checked(1)? {
                ("x", "") => cursor.keys.push(KeyValue::Absent),
                ("n", bits) => {
                    cursor.keys.push(KeyValue::Number(f64::from_bits(u64::from_str_radix(bits, 16).ok()?)));
                }
                ("t", hex) => cursor.keys.push(KeyValue::Text(text_from_hex(hex)?)),
                ("i", id) => cursor.id = Some(id.parse().ok()?),
                _ => return None,
            }
        }
        Some(cursor)
    }
}

fn text_from_hex(hex: &str) -> Option<String> {
    let pairs = hex.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = KeyValue> {
        prop_oneof![
            Just(KeyValue::Absent),
            any::<f64>().prop_map(KeyValue::Number),
            Just(KeyValue::Number(f64::NAN)),
            "\\PC{0,10}".prop_map(KeyValue::Text),
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_travels(now: i64, order: u64, keys in proptest::collection::vec(key(), 0..4), number in proptest::option::of(1_u64..)) {
            let id = number.map(|number| format!("TRIG-{number}").parse().unwrap());
            let cursor = Cursor { now: Micros(now), order, keys, id };
            let back = Cursor::read(&cursor.write()).unwrap();
            prop_assert_eq!(back.write(), cursor.write());
        }

        #[test]
        fn any_text_is_a_cursor_or_none(text in "\\PC{0,30}") {
            let _ = Cursor::read(&text);
        }

        #[test]
        fn keys_have_one_order(a in key(), b in key(), c in key(), falls: bool) {
            let order = |a: &KeyValue, b: &KeyValue| compare_keys(a.as_ref(), b.as_ref(), falls);
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                prop_assert!(order(&a, &c).is_le());
            }
            if matches!(a, KeyValue::Absent) {
                prop_assert!(order(&a, &b).is_ge(), "what is absent comes last, both ways");
            }
        }
    }
}
