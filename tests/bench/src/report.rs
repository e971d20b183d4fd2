//! Figures beside their targets, as a table for people and as JSON for comparisons.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::disk::Disk;

/// One measured figure of a row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// The row in the table of targets.
    pub row: u32,
    /// What was measured, with its conditions.
    pub what: String,
    /// In `unit`.
    pub value: f64,
    /// `points/s`, `us`, `ms`, `MB`.
    pub unit: &'static str,
    /// What we aim at.
    pub target: f64,
    /// What counts as a bug.
    pub floor: f64,
    /// Whether more is better.
    pub more_is_better: bool,
}

impl Figure {
    fn verdict(&self) -> &'static str {
        let reached = |goal: f64| if self.more_is_better { self.value >= goal } else { self.value <= goal };
        match (reached(self.target), reached(self.floor)) {
            (true, _) => "target",
            (false, true) => "floor",
            (false, false) => "BELOW",
        }
    }
}

/// All figures of a run and the conditions they were measured under.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    durability: &'static str,
    cores: usize,
    load_average_before: String,
    load_average_after: String,
    disk: Disk,
    figures: Vec<Figure>,
    failures: Vec<String>,
}

impl Report {
    /// Begins a run; the load average is read now and again at the end.
    pub(crate) fn begin(disk: Disk) -> Self {
        Self {
            durability: "acknowledged after the write-ahead log was synced",
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_average_before: load_average(),
            load_average_after: String::new(),
            disk,
            figures: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a row's figures.
    pub(crate) fn extend(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    /// Notes a row that could not be measured.
    pub(crate) fn fail(&mut self, row: u32, error: &anyhow::Error) {
        self.failures.push(format!("row {row}: {error:#}"));
    }

    /// Whether every asked row was measured.
    pub(crate) fn complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The table.
    pub(crate) fn table(&mut self) -> String {
        self.load_average_after = load_average();
        let mut text = String::new();
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0).max(8);
        let _ = writeln!(
            text,
            "{:>3}  {:<width$}  {:>12}  {:>12}  {:>12}",
            "row", "measured", "value", "target", "floor"
        );
        for figure in &self.figures {
            let [value, target, floor] = [figure.value, figure.target, figure.floor].map(short);
            let (row, what, unit, verdict) = (figure.row, &figure.what, figure.unit, figure.verdict());
            let _ = writeln!(
                text,
                "{row:>3}  {what:<width$}  {value:>12}  {target:>12}  {floor:>12}  {unit} ({verdict})"
            );
        }
        for failure in &self.failures {
            let _ = writeln!(text, "NOT MEASURED {failure}");
        }
        let _ = writeln!(
            text,
            "{} cores, load average {} before and {} after; {}; bare disk: {:.0} MB/s synced, {:.0} us a sync",
            self.cores,
            self.load_average_before,
            self.load_average_after,
            self.durability,
            self.disk.synced_mb_per_sec,
            self.disk.sync_p50_micros,
        );
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
