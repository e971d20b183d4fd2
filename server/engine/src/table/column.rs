//! A column as it is sorted, grouped and answered by: found by its name, whatever it is stored as.

use neptune_wire::Micros;

use super::coded::{Coded, Entry};
use super::filter::{Field, Operand};
use super::paged::{Cell as _, Mask, NONE, PAGE_ROWS, Paged, rows_of};
use super::rows::{Rows, lane_of};

/// One column of some rows.
#[derive(Clone, Copy)]
pub(crate) enum Column<'t> {
    Number {
        column: &'t Paged<f64>,
        lane: usize,
    },
    Text {
        column: &'t Coded,
    },
    Tags {
        column: &'t Coded,
    },
    /// From the start to the end, or to now while the job runs.
    Duration {
        rows: &'t Rows,
        now: Micros,
    },
    Id,
    Uid,
}

/// One value of a column.
#[derive(Clone, Copy)]
pub(crate) enum Seen<'t> {
    Absent,
    Number(f64),
    Entry(&'t Entry),
}

impl<'t> Column<'t> {
    /// Finds a column; `None` for a metric, param or property that no job has.
    pub(crate) fn find(rows: &'t Rows, operand: &Operand, now: Micros) -> Option<Column<'t>> {
        let (texts, numbers) = (&rows.texts, &rows.numbers);
        let text = |column| Some(Column::Text { column });
        let number = |column| Some(Column::Number { column, lane: 0 });
        match operand {
            Operand::Metric { name, stat } => {
                let metric = rows.find_metric(name)?;
                Some(Column::Number { column: &metric.cells, lane: lane_of(*stat) })
            }
            Operand::Param(name) => text(rows.params.get(name.as_str())?),
            Operand::Property(name) => text(rows.properties.get(name.as_str())?),
            Operand::Field(field) | Operand::Millis(field) => match field {
                Field::Id => Some(Column::Id),
                Field::Uid => Some(Column::Uid),
                Field::Project => text(&texts.project),
                Field::Name => text(&texts.name),
                Field::Description => text(&texts.description),
                Field::State => text(&texts.state),
                Field::Reason => text(&texts.reason),
                Field::Host => text(&texts.host),
                Field::Tag => Some(Column::Tags { column: &texts.tags }),
                Field::Created => number(&numbers.created),
                Field::Started => number(&numbers.started),
                Field::Ended => number(&numbers.ended),
                Field::Duration => Some(Column::Duration { rows, now }),
                Field::Attempt => number(&numbers.attempt),
                Field::ExitCode => number(&numbers.exit_code),
                Field::Dropped => number(&numbers.dropped),
            },
        }
    }

    /// A row's value. Ids have none here: they are made of the row itself.
    pub(crate) fn see(&self, row: u32) -> Seen<'t> {
        let number = |value: f64| if value.is_absent() { Seen::Absent } else { Seen::Number(value) };
        match self {
            Column::Number { column, lane } => number(column.get(row, *lane)),
            Column::Duration { rows, now } => number(duration(rows, row, *now)),
            Column::Text { column } | Column::Tags { column } => {
                column.find(row).map_or(Seen::Absent, Seen::Entry)
            }
            Column::Id | Column::Uid => Seen::Absent,
        }
    }

    /// Those of `open` that have a value.
    pub(crate) fn held(&self, page: u32, open: &Mask) -> Mask {
        match self {
            Column::Number { column, lane } => column.select(page, *lane, open, |_| true),
            Column::Text { column } | Column::Tags { column } => column.codes.select(page, 0, open, |_| true),
            Column::Id | Column::Uid => *open,
            Column::Duration { .. } => {
                let mut found = NONE;
                self.visit_numbers(page, open, |row, value| {
                    let at = row as usize % PAGE_ROWS;
                    found[at / 64] |= u64::from(!value.is_absent()) << (at % 64);
                });
                found
            }
        }
    }

    /// Tells each row of `mask` its number, in order; absent where there is none and for columns of texts.
    pub(crate) fn visit_numbers(&self, page: u32, mask: &Mask, mut tell: impl FnMut(u32, f64)) {
        let base = page * PAGE_ROWS as u32;
        match self {
            Column::Number { column, lane } => column.visit(page, *lane, mask, tell),
            Column::Duration { rows, now } => {
                rows_of(mask).for_each(|at| tell(base + at, duration(rows, base + at, *now)));
            }
            Column::Text { column } | Column::Tags { column } => {
                column.codes.visit(page, 0, mask, |row, code| {
                    tell(row, if code.is_absent() { f64::ABSENT } else { column.entry(code).number });
                })
            }
            Column::Id | Column::Uid => rows_of(mask).for_each(|at| tell(base + at, f64::ABSENT)),
        }
    }
}

/// How long a job ran, or runs, in microseconds; absent before its start.
fn duration(rows: &Rows, row: u32, now: Micros) -> f64 {
    let started = rows.numbers.started.get(row, 0);
    if started.is_absent() {
        return f64::ABSENT;
    }
    let ended = rows.numbers.ended.get(row, 0);
    let until = if ended.is_absent() { now.0 as f64 } else { ended };
    (until - started).max(0.0)
}
