//! Groups: rows that have the same values in some columns, and what other columns hold within each.
//!
//! A number is one value whatever it was written as, so 1, 1.0 and the text "1" of a param are one group, as they are to a
//! filter: each group's filter finds its jobs and no others. A job with several tags is in the group of each.

use std::cmp::Ordering;
use std::collections::HashMap;

use neptune_wire::table::{GroupColumn, JobGroup, TableValue};
use neptune_wire::{JobId, Micros, Number};

use super::answer::{value, value_of_entry, value_of_number};
use super::column::{Column, Seen};
use super::filter::{Field, Operand, quote};
use super::order::{Cursor, KeyValue, compare_keys, order_number};
use super::paged::{Cell as _, PAGE_ROWS, rows_of};
use super::plan::Plan;
use super::rows::Rows;

/// Columns that one question may group by.
pub(crate) const KEYS: usize = 4;
/// Groups of one question.
pub(crate) const GROUPS: usize = 10_000;

/// Groups times columns of one question: each of these sums takes some hundred bytes.
const SUMS: usize = 200_000;
/// Of a longer text a cursor has so many characters, and a number made of all of them.
const CURSOR_CHARS: usize = 128;

/// More groups than there may be; the most that may.
#[derive(Debug)]
pub(crate) struct TooMany(pub(crate) usize);

/// What groups are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupSort {
    Jobs,
    /// Which of the columns that rows are grouped by.
    Key(usize),
    /// Which of the columns that are summed up: by its smallest number, or its largest when falling.
    Column(usize),
}

/// The groups that were asked for.
pub(crate) struct GroupTop {
    pub(crate) groups: Vec<JobGroup>,
    pub(crate) next: Option<Cursor>,
    pub(crate) total: u64,
}

/// A question for groups.
pub(crate) struct Groups<'t> {
    pub(crate) rows: &'t Rows,
    pub(crate) group: &'t [Operand],
    pub(crate) columns: &'t [Operand],
    pub(crate) sort: Vec<(GroupSort, bool)>,
    pub(crate) now: Micros,
    /// The number of the order, for cursors.
    pub(crate) order: u64,
}

/// Which value of each column a group has; what it stands for is in [`Values`].
type Keys = [u32; KEYS];

/// The distinct values of one column, as far as they were met.
#[derive(Default)]
struct Values {
    numbers: HashMap<u64, u32>,
    texts: HashMap<String, u32>,
    values: Vec<(KeyValue, Option<TableValue>)>,
    absent: Option<u32>,
    /// Of columns with a dictionary: the values of each code, tags being many.
    known: HashMap<u32, Vec<u32>>,
}

struct Group {
    keys: Keys,
    jobs: u64,
    sums: Vec<Sum>,
}

#[derive(Clone, Default)]
struct Sum {
    count: u64,
    nan_count: u64,
    finite: u64,
    mean: f64,
    min: Option<(f64, u32)>,
    max: Option<(f64, u32)>,
    last: Option<u32>,
}

impl<'t> Groups<'t> {
    /// Groups the rows that pass all plans; the first `limit` groups behind `after`.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub(crate) fn top(
        &self,
        plans: &[&Plan<'_>],
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<GroupTop, TooMany> {
        let find = |operand| Column::find(self.rows, operand, self.now);
        let keys: Vec<Option<Column<'t>>> = self.group.iter().map(find).collect();
        let columns: Vec<Option<Column<'t>>> = self.columns.iter().map(find).collect();
        let mut values: Vec<Values> = keys.iter().map(|_| Values::default()).collect();
        let mut index: HashMap<Keys, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let most = GROUPS.min(SUMS / columns.len().max(1));
        for page in 0..self.rows.page_count() {
            let passing = plans.iter().fold(self.rows.present(page), |open, plan| plan.select(page, &open));
            for at in rows_of(&passing) {
                let row = page * PAGE_ROWS as u32 + at;
                for keys in self.keys_of(&keys, &mut values, row) {
                    let at = *index.entry(keys).or_insert_with(|| {
                        groups.push(Group { keys, jobs: 0, sums: vec![Sum::default(); columns.len()] });
                        groups.len() - 1
                    });
                    if groups.len() > most {
                        return Err(TooMany(most));
                    }
                    let group = &mut groups[at];
                    group.jobs += 1;
                    for (sum, (column, operand)) in
                        group.sums.iter_mut().zip(columns.iter().zip(self.columns))
                    {
                        if let Some(column) = column {
                            sum.add(self.rows, operand, *column, row);
                        }
                    }
                }
            }
        }
        Ok(self.page(groups, &values, &columns, after, limit))
    }

    /// The groups a row is in: one, or more by its tags.
    fn keys_of(&self, columns: &[Option<Column<'t>>], values: &mut [Values], row: u32) -> Vec<Keys> {
        let mut all = vec![[0; KEYS]];
        for (at, (column, values)) in columns.iter().zip(values).enumerate() {
            let found = values.of_row(&self.group[at], *column, row, self.rows);
            let with = |keys: &Keys, value: u32| {
                let mut keys = *keys;
                keys[at] = value;
                keys
            };
            all = all.iter().flat_map(|keys| found.iter().map(|value| with(keys, *value))).collect();
        }
        all
    }

    fn page(
        &self,
        mut groups: Vec<Group>,
        values: &[Values],
        columns: &[Option<Column<'t>>],
        after: Option<&Cursor>,
        limit: usize,
    ) -> GroupTop {
        let total = groups.len() as u64;
        let place = |group: &Group| self.place(group, values);
        let mut places: Vec<(Vec<KeyValue>, Group)> =
            groups.drain(..).map(|group| (place(&group), group)).collect();
        if let Some(cursor) = after {
            places.retain(|(place, _)| self.compare(place, &cursor.keys).is_gt());
        }
        places.sort_unstable_by(|a, b| self.compare(&a.0, &b.0));
        let more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().filter(|_| more).map(|(keys, _)| Cursor {
            now: self.now,
            order: self.order,
            keys: keys.clone(),
            id: None,
        });
        let groups = places.iter().map(|(_, group)| self.answer(group, values, columns));
        GroupTop { groups: groups.collect(), next, total }
    }

    /// What a group is ordered by: the asked keys, then its values.
    fn place(&self, group: &Group, values: &[Values]) -> Vec<KeyValue> {
        let key = |at: usize| shortened(&values[at].values[group.keys[at] as usize].0);
        let number =
            |found: Option<(f64, u32)>| found.map_or(KeyValue::Absent, |(value, _)| KeyValue::Number(value));
        let asked = self.sort.iter().map(|(sort, falls)| match sort {
            GroupSort::Jobs => KeyValue::Number(group.jobs as f64),
            GroupSort::Key(at) => key(*at),
            GroupSort::Column(at) if *falls => number(group.sums[*at].max),
            GroupSort::Column(at) => number(group.sums[*at].min),
        });
        asked.chain((0..self.group.len()).map(key)).collect()
    }

    fn compare(&self, a: &[KeyValue], b: &[KeyValue]) -> Ordering {
        let falls = self.sort.iter().map(|(_, falls)| *falls).chain(std::iter::repeat(false));
        for ((a, b), falls) in a.iter().zip(b).zip(falls) {
            // Texts that differ in case alone are two groups.
            let exact = || match (a, b) {
                (KeyValue::Text(a), KeyValue::Text(b)) => a.cmp(b),
                _ => Ordering::Equal,
            };
            let order = compare_keys(a.as_ref(), b.as_ref(), falls).then_with(exact);
            if order.is_ne() {
                return order;
            }
        }
        a.len().cmp(&b.len())
    }

    fn answer(&self, group: &Group, values: &[Values], columns: &[Option<Column<'t>>]) -> JobGroup {
        let value_of = |at: usize| &values[at].values[group.keys[at] as usize];
        let conditions = self.group.iter().enumerate().map(|(at, operand)| condition(operand, value_of(at)));
        let sums = group.sums.iter().zip(self.columns).zip(columns);
        JobGroup {
            values: (0..self.group.len()).map(|at| value_of(at).1.clone()).collect(),
            filter: conditions.collect::<Vec<_>>().join(" and "),
            jobs: group.jobs,
            columns: sums.map(|((sum, operand), column)| sum.answer(self.rows, operand, *column)).collect(),
        }
    }
}

/// A value as a cursor holds it, of bounded length.
fn shortened(value: &KeyValue) -> KeyValue {
    match value {
        KeyValue::Text(text) => match text.char_indices().nth(CURSOR_CHARS) {
            Some((end, _)) => KeyValue::Text(format!("{}{:016x}", &text[..end], order_number(text))),
            None => value.clone(),
        },
        value => value.clone(),
    }
}

/// A filter for the rows that have this value.
fn condition(operand: &Operand, (key, value): &(KeyValue, Option<TableValue>)) -> String {
    match (key, value) {
        (KeyValue::Absent, _) | (_, None) => format!("{operand} is null"),
        (KeyValue::Number(number), _) if number.is_nan() => format!("{operand} is nan"),
        (KeyValue::Number(_), Some(TableValue::Integer(value)))
            if *operand == Operand::Field(Field::Duration) =>
        {
            format!("{operand} = {value}us")
        }
        (KeyValue::Number(_), Some(TableValue::Integer(value))) => format!("{operand} = {value}"),
        // Not in quotes: it is a number to texts that read as one, too.
        (KeyValue::Number(number), _) => format!("{operand} = {number:?}"),
        (KeyValue::Text(_), Some(TableValue::Boolean(value))) => format!("{operand} = {value}"),
        (KeyValue::Text(text), _) => format!("{operand} = {}", quote(text)),
    }
}

impl Values {
    fn of_row(&mut self, operand: &Operand, column: Option<Column<'_>>, row: u32, rows: &Rows) -> Vec<u32> {
        match column {
            None => vec![self.absent()],
            Some(Column::Text { column }) => {
                let code = column.codes.get(row, 0);
                if code.is_absent() {
                    return vec![self.absent()];
                }
                if !self.known.contains_key(&code) {
                    let entry = column.entry(code);
                    let value = value_of_entry(operand, entry);
                    let number = matches!(operand, Operand::Param(_)) && !entry.number.is_absent();
                    let at =
                        if number { self.number(entry.number, value) } else { self.text(&entry.text, value) };
                    self.known.insert(code, vec![at]);
                }
                self.known[&code].clone()
            }
            Some(Column::Tags { column }) => {
                let code = column.codes.get(row, 0);
                if code.is_absent() {
                    return vec![self.absent()];
                }
                if !self.known.contains_key(&code) {
                    let tags = column.entry(code).text.lines();
                    let tags = tags.map(|tag| self.text(tag, TableValue::Text(tag.to_owned()))).collect();
                    self.known.insert(code, tags);
                }
                self.known[&code].clone()
            }
            Some(column) => match (column.see(row), value(operand, column, row, rows)) {
                (Seen::Number(number), _) => vec![self.number(number, value_of_number(operand, number))],
                (_, Some(TableValue::Text(text))) => vec![self.text(&text, TableValue::Text(text.clone()))],
                _ => vec![self.absent()],
            },
        }
    }

    fn absent(&mut self) -> u32 {
        let next = self.values.len() as u32;
        *self.absent.get_or_insert_with(|| {
            self.values.push((KeyValue::Absent, None));
            next
        })
    }

    fn number(&mut self, number: f64, value: TableValue) -> u32 {
        let next = self.values.len() as u32;
        // Adding zero makes -0.0 positive.
        let number = number + 0.0;
        let at = *self.numbers.entry(number.to_bits()).or_insert(next);
        match self.values.get_mut(at as usize) {
            // Whoever wrote it as a number says best what it is.
            Some((_, shown @ Some(TableValue::Text(_)))) => *shown = Some(value),
            Some(_) => {}
            None => self.values.push((KeyValue::Number(number), Some(value))),
        }
        at
    }

    fn text(&mut self, text: &str, value: TableValue) -> u32 {
        if let Some(found) = self.texts.get(text) {
            return *found;
        }
        self.values.push((KeyValue::Text(text.to_owned()), Some(value)));
        self.texts.insert(text.to_owned(), self.values.len() as u32 - 1);
        self.values.len() as u32 - 1
    }
}

impl Sum {
    fn add(&mut self, rows: &Rows, operand: &Operand, column: Column<'_>, row: u32) {
        let number = match (column, column.see(row)) {
            // Every job has one.
            (Column::Id | Column::Uid, _) => f64::ABSENT,
            (_, Seen::Absent) => return,
            (_, Seen::Number(number)) => number,
            // The number of a state is the table's own, for its order.
            (_, Seen::Entry(entry)) if matches!(operand, Operand::Param(_) | Operand::Property(_)) => {
                entry.number
            }
            (_, Seen::Entry(_)) => f64::ABSENT,
        };
        self.count += 1;
        let newer = |than: u32| is_newer(rows, row, than);
        if self.last.is_none_or(newer) {
            self.last = Some(row);
        }
        if number.is_absent() {
            return;
        }
        if number.is_nan() {
            self.nan_count += 1;
            return;
        }
        if self.min.is_none_or(|(min, than)| number < min || number == min && newer(than)) {
            self.min = Some((number, row));
        }
        if self.max.is_none_or(|(max, than)| number > max || number == max && newer(than)) {
            self.max = Some((number, row));
        }
        if number.is_finite() {
            self.finite += 1;
            // No sum that may overflow.
            let count = self.finite as f64;
            self.mean += number / count - self.mean / count;
        }
    }

    fn answer(&self, rows: &Rows, operand: &Operand, column: Option<Column<'_>>) -> GroupColumn {
        let job = |found: Option<(f64, u32)>| -> Option<JobId> { rows.id(found?.1) };
        let number = |found: Option<(f64, u32)>| Some(Number(found?.0));
        GroupColumn {
            count: self.count,
            nan_count: self.nan_count,
            min: number(self.min),
            min_job: job(self.min),
            max: number(self.max),
            max_job: job(self.max),
            mean: (self.finite > 0).then_some(Number(self.mean)),
            last: self.last.and_then(|row| value(operand, column?, row, rows)),
            last_job: self.last.and_then(|row| rows.id(row)),
        }
    }
}

/// Whether a row's job was created after another's; of the same moment the higher number counts as later.
fn is_newer(rows: &Rows, row: u32, than: u32) -> bool {
    let age = |row| (rows.numbers.created.get(row, 0), rows.numbers.number.get(row, 0));
    age(row) > age(than)
}
