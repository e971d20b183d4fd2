//! `neptune show`: everything about a job.

use clap::Args;
use neptune_wire::{Channel, ChannelKind, Chart, Job, JobRef, Number};
use serde::Serialize;

use crate::args::Global;
use crate::error::CliError;
use crate::output::{Cell, Output, Table, plain};
use crate::{ls, target, time};

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its id, such as TRIG-12
    job: JobRef,
}

#[derive(Serialize)]
struct Shown<'a> {
    job: &'a Job,
    channels: &'a [Channel],
    charts: &'a [Chart],
}

pub(crate) fn run(args: &ShowArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let rest = server.rest();
    let job = server.wait(rest.read_job(&args.job))?;
    let channels = server.wait(rest.list_channels(&args.job))?;
    let charts = server.wait(rest.list_charts(&args.job))?;
    if out.json {
        return out.json(&Shown { job: &job, channels: &channels, charts: &charts });
    }
    out.line(&format!("{}  {}", job.id, plain(&job.name)))?;
    if !job.description.is_empty() {
        out.line(&plain(&job.description))?;
    }
    out.table(&facts(&job, &rest.access().url))?;
    section(out, "parameters", params(&job))?;
    section(out, "properties", pairs(&job.properties))?;
    section(out, "channels", channel_table(&channels))?;
    section(out, "charts", chart_table(&charts))?;
    section(out, "environment", pairs(&job.environment))
}

/// A table under its heading; nothing when it is empty.
fn section(out: &mut Output, heading: &str, table: Option<Table>) -> Result<(), CliError> {
    match table {
        Some(table) => {
            out.line(&format!("\n{heading}"))?;
            out.table(&table)
        }
        None => Ok(()),
    }
}

fn facts(job: &Job, url: &str) -> Table {
    let mut table = Table::new(&["", ""]).flexible(&[1]);
    let mut fact = |name: &str, value: Cell| table.row(vec![Cell::dim(name), value]);
    fact("state", ls::state(job));
    if let Some(reason) = &job.reason {
        fact("reason", Cell::new(reason));
    }
    if let Some(deleted) = &job.deleted {
        let until = time::moment(deleted.until_micros);
        fact("deleted", Cell::new(format!("{} (can be restored until {until})", deleted.reason)));
    }
    if let Some(since) = job.silent_since_micros {
        fact("not responding", Cell::new(format!("since {} ({})", time::moment(since), time::ago(since))));
    }
    fact(
        "created",
        Cell::new(format!("{} ({})", time::moment(job.created_micros), time::ago(job.created_micros))),
    );
    for (name, at) in [("started", job.started_micros), ("ended", job.ended_micros)] {
        if let Some(at) = at {
            fact(name, Cell::new(time::moment(at)));
        }
    }
    if let Some(run_time) = time::run_time(job) {
        fact("duration", Cell::new(run_time));
    }
    if let Some(host) = &job.host {
        fact("host", Cell::new(host));
    }
    if !job.command.is_empty() {
        fact("command", Cell::new(job.command.join(" ")));
    }
    if !job.tags.is_empty() {
        fact("tags", Cell::new(job.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(" ")));
    }
    if let Some(metric) = &job.metric {
        let direction = match metric.direction {
            neptune_wire::job::Direction::Minimize => "minimize",
            neptune_wire::job::Direction::Maximize => "maximize",
        };
        fact("metric", Cell::new(format!("{direction} {}", metric.channel)));
    }
    if job.dropped_points > 0 {
        fact("dropped points", Cell::new(job.dropped_points.to_string()));
    }
    fact("page", Cell::new(format!("{url}/jobs/{}", job.id)));
    table
}

fn params(job: &Job) -> Option<Table> {
    let mut table = Table::new(&["name", "value", "type", "description"]).flexible(&[3, 1]);
    for param in &job.params {
        let kind = match &param.value {
            neptune_wire::ParamValue::Boolean(_) => "boolean",
            neptune_wire::ParamValue::Integer(_) => "int",
            neptune_wire::ParamValue::Double(_) => "double",
            neptune_wire::ParamValue::String(_) => "string",
        };
        table.row(vec![
            Cell::new(param.name.as_str()),
            Cell::new(param.value.to_string()),
            Cell::dim(kind),
            Cell::new(&param.description),
        ]);
    }
    (!job.params.is_empty()).then_some(table)
}

fn pairs(pairs: &std::collections::BTreeMap<String, String>) -> Option<Table> {
    let mut table = Table::new(&["key", "value"]).flexible(&[1, 0]);
    pairs.iter().for_each(|(key, value)| table.row(vec![Cell::new(key), Cell::new(value)]));
    (!pairs.is_empty()).then_some(table)
}

fn channel_table(channels: &[Channel]) -> Option<Table> {
    let mut table = Table::new(&["name", "kind", "points", "last x", "last", "min", "max"]).flexible(&[0]);
    for Channel { name, kind, summary, .. } in channels {
        let number = |number: Option<Number>| match kind {
            ChannelKind::Numeric => Cell::new(number.map(|Number(value)| short(value)).unwrap_or_default()),
            ChannelKind::Text | ChannelKind::Image => Cell::default(),
        };
        let points = match summary.nan_count {
            0 => summary.count.to_string(),
            nan => format!("{} ({nan} NaN)", summary.count),
        };
        table.row(vec![
            Cell::new(name.as_str()),
            Cell::dim(kind.as_str()),
            Cell::new(points),
            Cell::new(summary.last_x.map(|Number(x)| short(x)).unwrap_or_default()),
            number(summary.last),
            number(summary.min),
            number(summary.max),
        ]);
    }
    (!channels.is_empty()).then_some(table)
}

fn chart_table(charts: &[Chart]) -> Option<Table> {
    let mut table = Table::new(&["name", "series"]).flexible(&[1, 0]);
    for chart in charts {
        let series = |series: &neptune_wire::Series| match series.name == series.channel.as_str() {
            true => series.name.clone(),
            false => format!("{} ({})", series.name, series.channel),
        };
        let series: Vec<_> = chart.series.iter().map(series).collect();
        table.row(vec![Cell::new(&chart.name), Cell::new(series.join(", "))]);
    }
    (!charts.is_empty()).then_some(table)
}

/// Whole numbers as they are, others with six significant digits; `--json` has them all.
fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value}");
    }
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    let size = f64::abs(rounded);
    if size.is_finite() && !(1e-4..1e15).contains(&size) {
        format!("{rounded:e}")
    } else {
        format!("{rounded}")
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [
            0.0,
            -0.0,
            1.0,
            0.1 + 0.2,
            1234567.0,
            1e300,
            -1.5e-7,
            f64::NAN,
            f64::NEG_INFINITY,
            1_700_000_000.123,
        ]
        .map(short)
        .into();
        expect_test::expect!["0 -0 1 0.3 1234567 1e300 -1.5e-7 NaN -inf 1700000000"]
            .assert_eq(&shown.join(" "));
    }
}
