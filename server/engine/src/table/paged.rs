//! One column: a cell a row, in pages of [`PAGE_ROWS`] rows, each page as large as what it holds.
//!
//! A page with few cells is a sorted list, one with many an array, one with none is not there: a metric that few jobs
//! have costs what these jobs cost, and a common one is scanned at the speed of memory. A column may have several
//! lanes (the summaries of a metric), which share the list of rows.

/// Rows of one page.
pub(crate) const PAGE_ROWS: usize = 1_024;
/// Words of a page's mask.
const WORDS: usize = PAGE_ROWS / 64;
/// From so many cells on a page is an array. Tests have few rows, and both kinds of pages.
const MANY: usize = if cfg!(test) { 12 } else { PAGE_ROWS / 4 };

/// A set of rows of one page.
pub(crate) type Mask = [u64; WORDS];

pub(crate) const NONE: Mask = [0; WORDS];

/// What can lie in a column.
pub(crate) trait Cell: Copy + 'static {
    /// Stands for "no value". No value is ever equal to it.
    const ABSENT: Self;

    fn is_absent(self) -> bool;
}

/// A NaN of its own: every other NaN is a value. Arithmetic keeps or makes other NaNs, and none is done here.
const ABSENT_BITS: u64 = 0x7ff8_00ab_5e47_0000;

impl Cell for f64 {
    const ABSENT: f64 = f64::from_bits(ABSENT_BITS);

    fn is_absent(self) -> bool {
        self.to_bits() == ABSENT_BITS
    }
}

impl Cell for u32 {
    const ABSENT: u32 = u32::MAX;

    fn is_absent(self) -> bool {
        self == u32::MAX
    }
}

/// A value as a cell: absent stays absent, and a NaN that looks like it becomes the usual one.
pub(crate) fn cell(value: Option<f64>) -> f64 {
    match value {
        None => f64::ABSENT,
        Some(value) if value.is_nan() => f64::NAN,
        Some(value) => value,
    }
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Paged<T> {
    lanes: usize,
    /// Ordered by number.
    pages: Vec<Page<T>>,
    held: usize,
}

#[derive(Debug, Clone)]
struct Page<T> {
    number: u32,
    held: u16,
    cells: Cells<T>,
}

#[derive(Debug, Clone)]
enum Cells<T> {
    /// Rows in order, and for each its lanes.
    Few { rows: Vec<u16>, values: Vec<T> },
    /// Lane after lane, each of `PAGE_ROWS` cells.
    Many(Box<[T]>),
}

impl<T: Cell> Paged<T> {
    pub(crate) fn new(lanes: usize) -> Paged<T> {
        Paged { lanes, pages: Vec::new(), held: 0 }
    }

    /// Rows that have a value.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    fn find_page(&self, number: u32) -> Result<usize, usize> {
        // Where every page is there, a page lies at its number.
        match self.pages.get(number as usize) {
            Some(page) if page.number == number => Ok(number as usize),
            _ => self.pages.binary_search_by_key(&number, |page| page.number),
        }
    }

    /// One cell; [`Cell::ABSENT`] where there is none.
    pub(crate) fn get(&self, row: u32, lane: usize) -> T {
        let (number, at) = place(row);
        let Ok(found) = self.find_page(number) else { return T::ABSENT };
        match &self.pages[found].cells {
            Cells::Few { rows, values } => match rows.binary_search(&at) {
                Ok(found) => values[found * self.lanes + lane],
                Err(_) => T::ABSENT,
            },
            Cells::Many(values) => values[lane * PAGE_ROWS + usize::from(at)],
        }
    }

    /// Sets all lanes of a row; a row whose first lane is absent has no value. Answers whether anything changed.
    pub(crate) fn set(&mut self, row: u32, cells: &[T]) -> bool
    where
        T: Bits,
    {
        debug_assert_eq!(cells.len(), self.lanes);
        if cells[0].is_absent() {
            return self.clear(row);
        }
        let (number, at) = place(row);
        let lanes = self.lanes;
        let page = match self.find_page(number) {
            Ok(found) => &mut self.pages[found],
            Err(before) => {
                let cells = Cells::Few { rows: Vec::new(), values: Vec::new() };
                self.pages.insert(before, Page { number, held: 0, cells });
                &mut self.pages[before]
            }
        };
        if let Cells::Few { rows, values } = &mut page.cells {
            match rows.binary_search(&at) {
                Ok(found) => return replace(&mut values[found * lanes..][..lanes], cells),
                Err(before) if rows.len() < MANY => {
                    rows.insert(before, at);
                    values.splice(before * lanes..before * lanes, cells.iter().copied());
                    page.held += 1;
                    self.held += 1;
                    return true;
                }
                Err(_) => page.cells = spread(rows, values, lanes),
            }
        }
        let Cells::Many(values) = &mut page.cells else { return false };
        let at = usize::from(at);
        if values[at].is_absent() {
            page.held += 1;
            self.held += 1;
        }
        let mut changed = false;
        for (lane, cell) in cells.iter().enumerate() {
            changed |= replace(&mut values[lane * PAGE_ROWS + at..][..1], &[*cell]);
        }
        changed
    }

    /// Takes a row's value away. Answers whether there was one.
    pub(crate) fn clear(&mut self, row: u32) -> bool {
        let (number, at) = place(row);
        let Ok(found) = self.find_page(number) else { return false };
        let page = &mut self.pages[found];
        match &mut page.cells {
            Cells::Few { rows, values } => {
                let Ok(found) = rows.binary_search(&at) else { return false };
                rows.remove(found);
                values.drain(found * self.lanes..(found + 1) * self.lanes);
            }
            Cells::Many(values) => {
                if values[usize::from(at)].is_absent() {
                    return false;
                }
                for lane in 0..self.lanes {
                    values[lane * PAGE_ROWS + usize::from(at)] = T::ABSENT;
                }
            }
        }
        page.held -= 1;
        self.held -= 1;
        if page.held == 0 {
            self.pages.remove(found);
        }
        true
    }

    /// Those of `mask` whose cell passes; a row without a value does not.
    ///
    /// `passes` may be asked of any cell of the page, absent ones too, so that the loop has no branches. Where asking
    /// costs something, or not every cell can be asked about, [`Paged::select_each`] asks only of what is left.
    pub(crate) fn select(&self, number: u32, lane: usize, mask: &Mask, passes: impl Fn(T) -> bool) -> Mask {
        let mut found = NONE;
        let Ok(page) = self.find_page(number) else { return found };
        match &self.pages[page].cells {
            Cells::Few { rows, values } => {
                for (row, cells) in rows.iter().zip(values.chunks_exact(self.lanes)) {
                    let (word, bit) = (usize::from(row / 64), 1 << (row % 64));
                    if mask[word] & bit != 0 && !cells[lane].is_absent() && passes(cells[lane]) {
                        found[word] |= bit;
                    }
                }
            }
            Cells::Many(values) => {
                let values = &values[lane * PAGE_ROWS..][..PAGE_ROWS];
                for (word, values) in values.chunks_exact(64).enumerate() {
                    if mask[word] == 0 {
                        continue;
                    }
                    let mut bits = 0;
                    for (bit, value) in values.iter().enumerate() {
                        bits |= u64::from(!value.is_absent() & passes(*value)) << bit;
                    }
                    found[word] = bits & mask[word];
                }
            }
        }
        found
    }

    /// Those of `mask` whose cell passes, which is asked only of cells of `mask` that are there.
    pub(crate) fn select_each(
        &self,
        number: u32,
        lane: usize,
        mask: &Mask,
        passes: impl Fn(T) -> bool,
    ) -> Mask {
        let mut found = NONE;
        if self.find_page(number).is_ok() {
            self.visit(number, lane, mask, |row, value| {
                let at = row as usize % PAGE_ROWS;
                found[at / 64] |= u64::from(!value.is_absent() && passes(value)) << (at % 64);
            });
        }
        found
    }

    /// Tells each row of `mask` its cell, in order; [`Cell::ABSENT`] where there is none.
    pub(crate) fn visit(&self, number: u32, lane: usize, mask: &Mask, mut tell: impl FnMut(u32, T)) {
        let base = number * PAGE_ROWS as u32;
        let page = self.find_page(number).ok().map(|found| &self.pages[found].cells);
        match page {
            None => rows_of(mask).for_each(|at| tell(base + at, T::ABSENT)),
            Some(Cells::Many(values)) => {
                let values = &values[lane * PAGE_ROWS..][..PAGE_ROWS];
                rows_of(mask).for_each(|at| tell(base + at, values[at as usize]));
            }
            Some(Cells::Few { rows, values }) => {
                let mut next = 0;
                for at in rows_of(mask) {
                    while next < rows.len() && u32::from(rows[next]) < at {
                        next += 1;
                    }
                    let found = rows.get(next).is_some_and(|row| u32::from(*row) == at);
                    tell(base + at, if found { values[next * self.lanes + lane] } else { T::ABSENT });
                }
            }
        }
    }

    /// Numbers of the pages that hold anything.
    pub(crate) fn page_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.pages.iter().map(|page| page.number)
    }
}

/// Equality that tells every two values apart, also two that compare as equal or as nothing.
pub(crate) trait Bits: Cell {
    fn same(self, other: Self) -> bool;
}

impl Bits for f64 {
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

impl Bits for u32 {
    fn same(self, other: Self) -> bool {
        self == other
    }
}

fn replace<T: Bits>(old: &mut [T], new: &[T]) -> bool {
    let same = old.iter().zip(new).all(|(old, new)| old.same(*new));
    old.copy_from_slice(new);
    !same
}

fn place(row: u32) -> (u32, u16) {
    (row / PAGE_ROWS as u32, (row % PAGE_ROWS as u32) as u16)
}

fn spread<T: Cell>(rows: &[u16], values: &[T], lanes: usize) -> Cells<T> {
    let mut spread = vec![T::ABSENT; lanes * PAGE_ROWS].into_boxed_slice();
    for (row, cells) in rows.iter().zip(values.chunks_exact(lanes)) {
        for (lane, cell) in cells.iter().enumerate() {
            spread[lane * PAGE_ROWS + usize::from(*row)] = *cell;
        }
    }
    Cells::Many(spread)
}

/// The rows of a mask within their page, in order.
pub(crate) fn rows_of(mask: &Mask) -> impl Iterator<Item = u32> + '_ {
    mask.iter().enumerate().flat_map(|(word, bits)| {
        let mut bits = *bits;
        std::iter::from_fn(move || {
            if bits == 0 {
                return None;
            }
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            Some(word as u32 * 64 + bit)
        })
    })
}

pub(crate) fn count(mask: &Mask) -> usize {
    mask.iter().map(|word| word.count_ones() as usize).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_column_is_a_map(
            changes in proptest::collection::vec((0_u32..3_000, proptest::option::weighted(0.8, any::<f64>())), 1..900),
            wide: bool,
        ) {
            let mut column = Paged::new(2);
            let mut map: BTreeMap<u32, f64> = BTreeMap::new();
            for (row, value) in changes {
                // Narrow rows fill a page, so that it becomes an array.
                let row = if wide { row } else { row % 600 };
                let value = cell(value);
                let before = map.get(&row).copied().unwrap_or(f64::ABSENT);
                let changed = column.set(row, &[value, cell(Some(1.0))]);
                prop_assert_eq!(changed, !before.same(value));
                if value.is_absent() { map.remove(&row); } else { map.insert(row, value); }
            }
            prop_assert_eq!(column.held(), map.len());
            for page in 0..3 {
                let all = [u64::MAX; WORDS];
                let mut seen = Vec::new();
                column.visit(page, 0, &all, |row, value: f64| {
                    if !value.is_absent() { seen.push((row, value.to_bits())); }
                });
                let range = page * 1_024..(page + 1) * 1_024;
                let wanted: Vec<_> = map.range(range).map(|(row, value)| (*row, value.to_bits())).collect();
                prop_assert_eq!(&seen, &wanted);
                let below = column.select(page, 0, &all, |value| value < 0.5);
                prop_assert_eq!(below, column.select_each(page, 0, &all, |value| value < 0.5));
                let found: Vec<u32> = rows_of(&below).map(|at| page * 1_024 + at).collect();
                let wanted: Vec<u32> = wanted.iter().filter(|(_, bits)| f64::from_bits(*bits) < 0.5).map(|(row, _)| *row).collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
