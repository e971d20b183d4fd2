//! A filter made ready for one look at the rows: columns found, values read as what the column holds, then page by page
//! a mask of the rows that pass.
//!
//! Each step is given the rows that are still open, so an `and` stops at the first condition that leaves none. A test of
//! texts is made once for each distinct value, when the first row with it is met.

use std::cell::RefCell;

use neptune_wire::Micros;

use super::coded::{Coded, Entry};
use super::column::Column;
use super::condition::{
    EntryTest, NumberTest, id_test, mixed_test, number_test, positive, read_duration, read_number,
    read_state, read_time, text_test,
};
use super::filter::{Check, Compare, Expr, Field, FilterError, Operand, Test};
use super::paged::{Cell as _, Mask, NONE, PAGE_ROWS, Paged, rows_of};
use super::rows::{Rows, Shown};

/// A filter over the rows it was made for.
pub(crate) enum Plan<'t> {
    And(Vec<Plan<'t>>),
    Or(Vec<Plan<'t>>),
    Not(Box<Plan<'t>>),
    /// Passes no row: a column that no job has.
    Nothing,
    /// Whether the column has a value.
    Numbers {
        column: &'t Paged<f64>,
        lane: usize,
        test: NumberTest,
    },
    Duration {
        rows: &'t Rows,
        now: Micros,
        test: NumberTest,
    },
    Texts {
        column: &'t Coded,
        test: EntryTest<'t>,
        known: RefCell<Vec<u8>>,
    },
    /// Rows that have a value there.
    Held {
        column: Column<'t>,
    },
    /// Tags are never absent; no tags are the empty set.
    Tags {
        column: &'t Coded,
        test: EntryTest<'t>,
        known: RefCell<Vec<u8>>,
        none: bool,
    },
    Rows(RowTest<'t>),
    /// Rows of jobs that are asked about at all.
    Shown {
        rows: &'t Rows,
        shown: Shown,
    },
}

type RowTest<'t> = Box<dyn Fn(u32) -> bool + 't>;

impl<'t> Plan<'t> {
    /// Makes a filter ready.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for a value or an operator that does not fit its column.
    pub(crate) fn new(rows: &'t Rows, expr: &Expr, now: Micros) -> Result<Plan<'t>, FilterError> {
        let all = |parts: &[Expr]| -> Result<Vec<_>, _> {
            parts.iter().map(|part| Plan::new(rows, part, now)).collect()
        };
        Ok(match expr {
            Expr::And(parts) => Plan::And(all(parts)?),
            Expr::Or(parts) => Plan::Or(all(parts)?),
            Expr::Not(inner) => Plan::Not(Box::new(Plan::new(rows, inner, now)?)),
            Expr::Test(test) => Plan::test(rows, test, now)?,
        })
    }

    /// Those of `open` that pass.
    pub(crate) fn select(&self, page: u32, open: &Mask) -> Mask {
        match self {
            Plan::And(parts) => {
                let mut left = *open;
                for part in parts {
                    if left == NONE {
                        break;
                    }
                    left = part.select(page, &left);
                }
                left
            }
            Plan::Or(parts) => {
                let mut found = NONE;
                for part in parts {
                    let rest = without(open, &found);
                    if rest == NONE {
                        break;
                    }
                    found = join(&found, &part.select(page, &rest));
                }
                found
            }
            Plan::Not(inner) => without(open, &inner.select(page, open)),
            Plan::Nothing => NONE,
            Plan::Shown { rows, shown } => rows.shown(page, open, *shown),
            Plan::Numbers { column, lane, test } => select_numbers(column, *lane, page, open, test),
            Plan::Duration { rows, now, test } => {
                let duration = Column::Duration { rows, now: *now };
                let mut found = NONE;
                duration.visit_numbers(page, open, |row, value| {
                    mark(&mut found, row, !value.is_absent() && test.passes(value));
                });
                found
            }
            Plan::Texts { column, test, known } => {
                column.codes.select_each(page, 0, open, |code| known_of(column, test, known, code))
            }
            Plan::Tags { column, test, known, none } => {
                let mut found = NONE;
                column.codes.visit(page, 0, open, |row, code| {
                    let passes = if code.is_absent() { *none } else { known_of(column, test, known, code) };
                    mark(&mut found, row, passes);
                });
                found
            }
            Plan::Held { column } => column.held(page, open),
            Plan::Rows(test) => {
                let base = page * PAGE_ROWS as u32;
                let mut found = NONE;
                rows_of(open).for_each(|at| mark(&mut found, base + at, test(base + at)));
                found
            }
        }
    }

    fn test(rows: &'t Rows, test: &Test, now: Micros) -> Result<Plan<'t>, FilterError> {
        let column = Column::find(rows, &test.operand, now);
        if test.check == Check::Null {
            let Some(column) = column else {
                return Ok(if test.negated { Plan::Nothing } else { Plan::And(vec![]) });
            };
            let held = Plan::Held { column };
            return Ok(if test.negated { held } else { Plan::Not(Box::new(held)) });
        }
        match &test.operand {
            Operand::Metric { .. } => {
                let test = number_test(test, read_number)?;
                Ok(numbers(column, test))
            }
            Operand::Param(_) | Operand::Property(_) => {
                let test = mixed_test(test)?;
                let Some(Column::Text { column }) = column else { return Ok(Plan::Nothing) };
                Ok(Plan::texts(column, test))
            }
            Operand::Field(Field::Attempt | Field::ExitCode | Field::Dropped) => {
                Ok(numbers(column, number_test(test, read_number)?))
            }
            Operand::Field(field) if field.is_time() => {
                Ok(numbers(column, number_test(test, |value| read_time(value, now, 1.0))?))
            }
            Operand::Millis(_) => {
                Ok(numbers(column, number_test(test, |value| read_time(value, now, 1_000.0))?))
            }
            Operand::Field(Field::Duration) => {
                Ok(Plan::Duration { rows, now, test: number_test(test, read_duration)? })
            }
            Operand::Field(Field::Tag) => {
                let negated = test.negated || matches!(test.check, Check::Compare(Compare::Differs, _));
                let any = text_test(&positive(test), |_, text| Ok(text.to_owned()))?;
                let passes = move |entry: &Entry| entry.text.lines().any(&any) != negated;
                let known = unknown(&rows.texts.tags);
                Ok(Plan::Tags { column: &rows.texts.tags, test: Box::new(passes), known, none: negated })
            }
            Operand::Field(Field::State) => {
                let test = text_test(test, read_state)?;
                Ok(Plan::texts(&rows.texts.state, Box::new(move |entry| test(&entry.text))))
            }
            Operand::Field(field @ (Field::Id | Field::Uid)) => id_test(rows, *field, test),
            Operand::Field(_) => {
                let test = text_test(test, |_, text| Ok(text.to_owned()))?;
                let Some(Column::Text { column }) = column else { return Ok(Plan::Nothing) };
                Ok(Plan::texts(column, Box::new(move |entry| test(&entry.text))))
            }
        }
    }

    /// Rows whose text passes.
    pub(crate) fn texts(column: &'t Coded, test: EntryTest<'t>) -> Plan<'t> {
        Plan::Texts { column, test, known: unknown(column) }
    }
}

const UNKNOWN: u8 = 0;
const FAILS: u8 = 1;
const PASSES: u8 = 2;

/// Nothing known yet of any code; untouched memory costs nothing.
pub(crate) fn unknown(column: &Coded) -> RefCell<Vec<u8>> {
    RefCell::new(vec![UNKNOWN; column.len()])
}

fn known_of(column: &Coded, test: &EntryTest<'_>, known: &RefCell<Vec<u8>>, code: u32) -> bool {
    let mut known = known.borrow_mut();
    let known = &mut known[code as usize];
    if *known == UNKNOWN {
        *known = if test(column.entry(code)) { PASSES } else { FAILS };
    }
    *known == PASSES
}

fn numbers<'t>(column: Option<Column<'t>>, test: NumberTest) -> Plan<'t> {
    match column {
        Some(Column::Number { column, lane, .. }) => Plan::Numbers { column, lane, test },
        _ => Plan::Nothing,
    }
}

/// One loop for each kind of test, so that the compiler sees a plain comparison.
fn select_numbers(column: &Paged<f64>, lane: usize, page: u32, open: &Mask, test: &NumberTest) -> Mask {
    use Compare::{Differs, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    match test {
        NumberTest::Compare(Less, with) => column.select(page, lane, open, |value| value < *with),
        NumberTest::Compare(LessOrEqual, with) => column.select(page, lane, open, |value| value <= *with),
        NumberTest::Compare(Greater, with) => column.select(page, lane, open, |value| value > *with),
        NumberTest::Compare(GreaterOrEqual, with) => column.select(page, lane, open, |value| value >= *with),
        NumberTest::Compare(Equal, with) => column.select(page, lane, open, |value| value == *with),
        NumberTest::Compare(Differs, _) | NumberTest::In(..) | NumberTest::Nan(_) => {
            column.select(page, lane, open, |value| test.passes(value))
        }
    }
}

pub(crate) fn without(open: &Mask, taken: &Mask) -> Mask {
    std::array::from_fn(|at| open[at] & !taken[at])
}

fn join(a: &Mask, b: &Mask) -> Mask {
    std::array::from_fn(|at| a[at] | b[at])
}

fn mark(mask: &mut Mask, row: u32, passes: bool) {
    let at = row as usize % PAGE_ROWS;
    mask[at / 64] |= u64::from(passes) << (at % 64);
}

impl<'t> Plan<'t> {
    /// Rows of one project.
    pub(crate) fn project(rows: &'t Rows, key: &str) -> Plan<'t> {
        let key = key.to_owned();
        Plan::texts(&rows.texts.project, Box::new(move |entry| *entry.text == key))
    }

    /// Rows of which the word, in lower case, is in the id, name, description, tags, host or params.
    pub(crate) fn word(rows: &'t Rows, word: &str) -> Plan<'t> {
        let contains = |column: &'t Coded| {
            let word = word.to_owned();
            Plan::texts(column, Box::new(move |entry| entry.text.to_lowercase().contains(&word)))
        };
        let texts = &rows.texts;
        let mut any = vec![
            contains(&texts.name),
            contains(&texts.tags),
            contains(&texts.host),
            contains(&texts.description),
        ];
        for (name, column) in &rows.params {
            let (word, name) = (word.to_owned(), name.clone());
            any.push(Plan::texts(
                column,
                Box::new(move |entry| format!("{name}={}", entry.text).to_lowercase().contains(&word)),
            ));
        }
        let word = word.to_owned();
        let id = move |row| rows.id(row).is_some_and(|id| id.to_string().to_lowercase().contains(&word));
        any.push(Plan::Rows(Box::new(id)));
        Plan::Or(any)
    }
}
