//! Figures beside their targets, as a table for people and as JSON for comparisons.

mod compare;
mod figure;
mod machine;

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::disk::Disk;
use crate::peer::Comparison;

pub(crate) use compare::Earlier;
pub(crate) use figure::{Figure, Goal, merge};
use machine::{Machine, load_average};

/// All figures of a run and the conditions they were measured under.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    durability: &'static str,
    load_generator: &'static str,
    revision: String,
    machine: Machine,
    load_average_before: String,
    load_average_after: String,
    conditions: Vec<Conditions>,
    figures: Vec<Figure>,
    peers: Vec<Comparison>,
    failures: Vec<String>,
}

/// How busy the machine and its disk were right before something was measured: others may work on it.
#[derive(Debug, Serialize)]
struct Conditions {
    before: String,
    load_average: String,
    disk: Disk,
}

impl Report {
    /// Begins a run; the load average is read now and again at the end.
    pub(crate) fn begin() -> Self {
        Self {
            durability: "acknowledged after the write-ahead log was synced",
            load_generator: "on the same machine",
            revision: machine::revision(),
            machine: Machine::read(),
            load_average_before: load_average(),
            load_average_after: String::new(),
            conditions: Vec::new(),
            figures: Vec::new(),
            peers: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Notes the conditions under which something is measured now.
    pub(crate) fn note_conditions(&mut self, before: &str, disk: Disk) {
        let load_average = load_average();
        self.conditions.push(Conditions { before: before.to_owned(), load_average, disk });
    }

    /// Adds a row's figures.
    pub(crate) fn extend(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    /// Adds what a peer did beside us.
    pub(crate) fn compare(&mut self, comparison: Comparison) {
        self.peers.push(comparison);
    }

    /// Notes a row or a peer that could not be measured.
    pub(crate) fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failures.push(format!("{what}: {error:#}"));
    }

    /// Whether everything that was asked for was measured.
    pub(crate) fn complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The tables; beside each figure its change since an earlier run, if there is one.
    pub(crate) fn table(&mut self, earlier: Option<&Earlier>) -> String {
        self.load_average_after = load_average();
        let mut text = String::new();
        if !self.figures.is_empty() {
            self.figures(&mut text, earlier);
        }
        for peer in &self.peers {
            text.push_str(&peer.table());
        }
        for failure in &self.failures {
            let _ = writeln!(text, "NOT MEASURED {failure}");
        }
        for Conditions { before, load_average, disk } in &self.conditions {
            let Disk { synced_mb_per_sec, sync_p50_micros } = disk;
            let _ = writeln!(
                text,
                "before {before:<11} load average {load_average:>5}, bare disk {synced_mb_per_sec:>4.0} MB/s synced, \
                 {sync_p50_micros:>5.0} us a sync"
            );
        }
        let Self { machine, load_average_before, load_average_after, load_generator, .. } = &*self;
        let _ = writeln!(
            text,
            "{machine}; load average {load_average_before} before and {load_average_after} after; load generator \
             {load_generator}; {}; revision {}",
            self.durability, self.revision,
        );
        text
    }

    fn figures(&self, text: &mut String, earlier: Option<&Earlier>) {
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0).max(8);
        let _ = writeln!(
            text,
            "{:>3}  {:<width$}  {:>10}  {:>10}  {:>15}  {:>15}",
            "row", "measured", "value, p50", "p99", "target", "floor"
        );
        for figure in &self.figures {
            let (row, what, unit, verdict) = (figure.row, &figure.what, figure.unit, figure.verdict());
            let (value, p99) = (short(figure.value), figure.p99.map_or(String::new(), short));
            let (target, floor) = figure.goals(short);
            let repeated = figure.repeated();
            let change = earlier.map_or(String::new(), |earlier| earlier.change(figure));
            let _ = writeln!(
                text,
                "{row:>3}  {what:<width$}  {value:>10}  {p99:>10}  {target:>15}  {floor:>15}  {unit} ({verdict}{repeated}){change}"
            );
        }
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

/// A value in four digits or so.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_names_the_conditions_and_every_figure() {
        let mut report = Report::begin();
        report.note_conditions("row 1", Disk { synced_mb_per_sec: 100.0, sync_p50_micros: 300.0 });
        let goal = Goal { target: 3e6, floor: 1e6 };
        report.extend(vec![
            Figure::rate(1, "ingest", 2e6, "points/s").aiming(goal),
            Figure::times(7, "chart", &[1.0, 2.0, 3.0], "ms"),
        ]);
        report.fail("row 10", &anyhow::anyhow!("not built"));
        assert!(!report.complete());
        let table = report.table(None);
        assert!(table.contains("NOT MEASURED row 10: not built"), "{table}");
        assert!(table.contains("bare disk  100 MB/s synced,   300 us a sync"), "{table}");
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        for condition in
            ["durability", "revision", "load_average_before", "load_average_after", "load_generator"]
        {
            assert!(!json[condition].as_str().unwrap().is_empty(), "{condition}");
        }
        assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
        assert_eq!(json["conditions"][0]["before"], "row 1");
        assert_eq!(json["conditions"][0]["disk"]["sync_p50_micros"], 300.0);
        assert_eq!(json["figures"][0]["value"], 2e6);
        assert_eq!(json["figures"][0]["verdict"], "floor");
        assert_eq!(json["figures"][1]["p99"], 3.0);
        assert_eq!(json["failures"][0], "row 10: not built");
    }

    #[test]
    fn an_earlier_run_is_compared_figure_by_figure() {
        let mut before = Report::begin();
        before.extend(vec![Figure::rate(1, "ingest", 2e6, "points/s")]);
        let earlier = Earlier::parse(&before.json().unwrap()).unwrap();
        let mut after = Report::begin();
        after.extend(vec![Figure::rate(1, "ingest", 3e6, "points/s"), Figure::cost(2, "new", 1.0, "ms")]);
        let table = after.table(Some(&earlier));
        assert!(table.contains("+50 %"), "{table}");
        assert!(table.contains("new since"), "{table}");
        assert!(Earlier::parse("{}").is_err());
    }
}
