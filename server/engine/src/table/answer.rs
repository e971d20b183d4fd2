//! Values as they are answered, and the columns there are.

use neptune_wire::table::{ColumnInfo, ColumnKind, JobRow, TableValue};
use neptune_wire::{Micros, Number};

use super::coded::{Entry, Kind};
use super::column::{Column, Seen};
use super::filter::{Field, Operand, Stat};
use super::paged::{Cell, Paged, count};
use super::plan::Plan;
use super::rows::{Rows, Shown};

/// Asked columns of some rows.
pub(crate) struct Asked<'t> {
    rows: &'t Rows,
    columns: Vec<(&'t Operand, Option<Column<'t>>)>,
}

impl<'t> Asked<'t> {
    pub(crate) fn new(rows: &'t Rows, operands: &'t [Operand], now: Micros) -> Asked<'t> {
        let columns = operands.iter().map(|operand| (operand, Column::find(rows, operand, now)));
        Asked { rows, columns: columns.collect() }
    }

    /// A row's values; `None` for a row that is of no job.
    pub(crate) fn row(&self, row: u32) -> Option<JobRow> {
        let values = self.columns.iter().map(|(operand, column)| value(operand, (*column)?, row, self.rows));
        Some(JobRow { id: self.rows.id(row)?, uid: self.rows.uid(row), values: values.collect() })
    }
}

/// A row's value in a column.
pub(crate) fn value(operand: &Operand, column: Column<'_>, row: u32, rows: &Rows) -> Option<TableValue> {
    match column {
        Column::Id => return Some(TableValue::Text(rows.id(row)?.to_string())),
        Column::Uid => return Some(TableValue::Text(rows.uid(row).to_string())),
        Column::Tags { column } => {
            let tags = column.find(row)?.text.lines().map(str::to_owned);
            return Some(TableValue::Tags(tags.collect()));
        }
        _ => {}
    }
    match column.see(row) {
        Seen::Absent => None,
        Seen::Number(number) => Some(value_of_number(operand, number)),
        Seen::Entry(entry) => Some(value_of_entry(operand, entry)),
    }
}

pub(crate) fn value_of_number(operand: &Operand, number: f64) -> TableValue {
    let whole = match operand {
        Operand::Metric { stat, .. } => *stat == Stat::Count,
        Operand::Param(_) | Operand::Property(_) => false,
        Operand::Field(_) | Operand::Millis(_) => true,
    };
    if whole { TableValue::Integer(number as i64) } else { TableValue::Number(Number(number)) }
}

pub(crate) fn value_of_entry(operand: &Operand, entry: &Entry) -> TableValue {
    let text = || TableValue::Text(entry.text.to_string());
    match (operand, entry.kind) {
        (Operand::Param(_), Kind::Boolean) => TableValue::Boolean(&*entry.text == "true"),
        // The text is exact; the number may be the nearest f64.
        (Operand::Param(_), Kind::Integer) => entry.text.parse().map_or_else(|_| text(), TableValue::Integer),
        (Operand::Param(_), Kind::Double) => TableValue::Number(Number(entry.number)),
        _ => text(),
    }
}

/// Columns of metrics, params and properties by kind and name, from behind `after`, and how many there are in all.
pub(crate) fn discover(
    rows: &Rows,
    shown: Shown,
    project: Option<&str>,
    prefix: &str,
    after: Option<(ColumnKind, &str)>,
    limit: usize,
) -> (Vec<ColumnInfo>, u64) {
    let mut plans: Vec<Plan<'_>> = project.map(|key| Plan::project(rows, key)).into_iter().collect();
    // Without any, columns know by themselves how many jobs they have.
    if shown == Shown::Deleted || rows.has_deleted() {
        plans.push(Plan::Shown { rows, shown });
    }
    let prefix = prefix.to_lowercase();
    let mut found = Vec::new();
    let mut total = 0;
    let mut offer = |kind: ColumnKind, name: &str, jobs: &dyn Fn() -> u64| {
        let column = match kind {
            ColumnKind::Metric => {
                let written = Operand::Metric { name: name.to_owned(), stat: Stat::Last }.to_string();
                written.strip_suffix(".last").unwrap_or(&written).to_owned()
            }
            ColumnKind::Param => Operand::Param(name.to_owned()).to_string(),
            ColumnKind::Property => Operand::Property(name.to_owned()).to_string(),
        };
        if !column.to_lowercase().starts_with(&prefix) && !name.to_lowercase().starts_with(&prefix) {
            return;
        }
        let jobs = jobs();
        if jobs == 0 {
            return;
        }
        total += 1;
        if found.len() <= limit && after.is_none_or(|after| (place(kind), name) > (place(after.0), after.1)) {
            found.push(ColumnInfo { column, kind, name: name.to_owned(), jobs });
        }
    };
    let mut metrics: Vec<_> = rows.metrics().iter().collect();
    metrics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for metric in metrics {
        offer(ColumnKind::Metric, &metric.name, &|| jobs_in(rows, &metric.cells, &plans));
    }
    for (kind, columns) in [(ColumnKind::Param, &rows.params), (ColumnKind::Property, &rows.properties)] {
        for (name, column) in columns {
            offer(kind, name, &|| jobs_in(rows, &column.codes, &plans));
        }
    }
    (found, total)
}

fn place(kind: ColumnKind) -> u8 {
    match kind {
        ColumnKind::Metric => 0,
        ColumnKind::Param => 1,
        ColumnKind::Property => 2,
    }
}

fn jobs_in<T: Cell>(rows: &Rows, column: &Paged<T>, plans: &[Plan<'_>]) -> u64 {
    if plans.is_empty() {
        return column.held() as u64;
    }
    let pages = column.page_numbers().map(|page| {
        let held = column.select(page, 0, &rows.present(page), |_| true);
        count(&plans.iter().fold(held, |open, plan| plan.select(page, &open))) as u64
    });
    pages.sum()
}

/// Whether a column can be sorted or grouped by.
pub(crate) fn is_ordered(operand: &Operand) -> bool {
    !matches!(operand, Operand::Field(Field::Uid))
}
