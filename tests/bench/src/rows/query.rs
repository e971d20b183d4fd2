//! Row 7: a chart of one channel, 1,000 pixels wide, from the request to the last byte of the answer.
//!
//! Warm: sealed, and asked again and again on one kept connection; the first answer does not count. Cold: of a server that was started again, with its files taken out
//! of the page cache. And one point that stands out must be seen at every zoom.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use neptune_wire::columns::{COLUMNS, Data, Table, decode};

use super::World;
use super::filled::{Filled, SPIKE, channel_name, spike_at};
use crate::http::Http;
use crate::process::forget_pages;
use crate::report::{Figure, Goal};

/// Points of the channel; target of p50 and p99 in milliseconds; the floor is ten times that.
const GOALS: [(u64, f64, f64); 6] = [
    (10_000, 0.3, 1.0),
    (100_000, 0.5, 2.0),
    (1_000_000, 1.0, 3.0),
    (10_000_000, 2.0, 6.0),
    (100_000_000, 3.0, 8.0),
    (1_000_000_000, 5.0, 15.0),
];
const COLD: Goal = Goal { target: 50.0, floor: 500.0 };
const ROUNDS: usize = 500;
/// Sealing may wait a minute for more points, and then has to do it all.
const SEALED_WITHIN: Duration = Duration::from_secs(600);
const COLD_ROUNDS: usize = 3;
const BUCKETS: u64 = 1_000;

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    let filled = world.with_points()?;
    filled.bench.wait_until_sealed(SEALED_WITHIN)?;
    let mut figures = Vec::new();
    for (size, p50, p99) in GOALS.into_iter().filter(|(size, ..)| filled.sizes.contains(size)) {
        let mut http = Http::connect(filled.bench.server.url())?;
        let mut millis = Vec::with_capacity(ROUNDS);
        chart(&mut http, filled, size, None)?;
        for _ in 0..ROUNDS {
            let (table, took) = chart(&mut http, filled, size, None)?;
            check(&table, size)?;
            millis.push(took);
        }
        let zooms = zoom(&mut http, filled, size)?;
        let what =
            format!("chart of {size} points, {BUCKETS} buckets, loopback included, spike in {zooms} zooms");
        let goal = |target| Goal { target, floor: target * 10.0 };
        figures.push(Figure::times(7, what, &millis, "ms").aiming(goal(p50)).aiming_p99(goal(p99)));
    }
    if let Some(size) = filled.sizes.last().copied() {
        let mut millis = Vec::new();
        for _ in 0..COLD_ROUNDS {
            filled.bench.server.stop()?;
            forget_pages(&filled.bench.server.data())?;
            filled.bench.start_again()?;
            let mut http = Http::connect(filled.bench.server.url())?;
            let (table, took) = chart(&mut http, filled, size, None)?;
            check(&table, size)?;
            millis.push(took);
        }
        let what = format!(
            "chart of {size} points, first request of a server with cold files, {COLD_ROUNDS} starts"
        );
        figures.push(Figure::times(7, what, &millis, "ms").aiming(COLD));
    }
    Ok(figures)
}

fn chart(http: &mut Http, filled: &Filled, size: u64, range: Option<(u64, u64)>) -> Result<(Table, f64)> {
    let series = format!("{}/{}", filled.job.job.id, channel_name(size));
    let range = range.map_or(String::new(), |(from, to)| format!("&from={from}&to={to}"));
    let path = format!("/api/v1/envelope?series={series}&buckets={BUCKETS}{range}");
    let begin = Instant::now();
    let answer = http.fetch_as(&path, COLUMNS)?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == 200, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok((decode(&answer.body)?.pop().context("an envelope without a table")?, took))
}

/// The whole chart counts every point, in at most the asked number of buckets, and shows the spike.
fn check(table: &Table, size: u64) -> Result<()> {
    let (rows, count, max) = (table.rows() as u64, sum(table, "count")?, max(table)?);
    ensure!((1..=BUCKETS).contains(&rows), "{rows} buckets");
    ensure!(count == size, "the buckets count {count} of {size} points");
    ensure!(max == SPIKE, "the largest value is {max}, not {SPIKE}");
    Ok(())
}

/// Zooms in on the spike by tens, off centre, down to the one point; answers how many ranges were asked for.
fn zoom(http: &mut Http, filled: &Filled, size: u64) -> Result<usize> {
    let spike = spike_at(size);
    let (mut span, mut zooms) = (size, 0);
    loop {
        let from = spike.saturating_sub(span / 3);
        let to = (from + span - 1).max(spike).min(size - 1);
        let (table, _) = chart(http, filled, size, Some((from, to)))?;
        let (count, max) = (sum(&table, "count")?, max(&table)?);
        ensure!(max == SPIKE, "from {from} to {to} the largest value is {max}, not {SPIKE}");
        ensure!(count == to - from + 1, "from {from} to {to} there are {count} points");
        zooms += 1;
        if span == 1 {
            return Ok(zooms);
        }
        span /= 10;
    }
}

fn sum(table: &Table, name: &str) -> Result<u64> {
    match table.find_column(name) {
        Some(Data::U64(counts)) => Ok(counts.iter().sum()),
        _ => anyhow::bail!("the envelope has no {name}"),
    }
}

fn max(table: &Table) -> Result<f64> {
    match table.find_column("max") {
        Some(Data::F64(values)) => Ok(values.iter().copied().fold(f64::NAN, f64::max)),
        _ => anyhow::bail!("the envelope has no max"),
    }
}
