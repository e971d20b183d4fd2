//! Row 10: the job table: a filter on two metrics, sorted by a metric, the first hundred rows; and how soon a new value counts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use neptune_wire::query::AppendPoints;
use serde::Deserialize;

use super::World;
use super::filled::{Filled, Made};
use crate::http::{Http, encoded};
use crate::report::{Figure, Goal};

const FILTER: &str = "metric.loss.last < 0.5 and metric.acc.max > 0.2";
const SORT: &str = "-metric.loss.last";
const LIMIT: usize = 100;
const ROUNDS: usize = 200;
const CHANGES: usize = 30;
/// A value that does not count by then is lost.
const SORTABLE_WITHIN: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Page {
    items: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
}

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    probe(world)?;
    let filled = world.with_jobs()?;
    let mut http = Http::connect(filled.bench.server.url())?;
    let wanted = expected(&filled.jobs);
    let mut millis = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (rows, took) = ask(&mut http)?;
        ensure!(rows == wanted, "the rows are not those of a plain sort: {rows:?}, not {wanted:?}");
        millis.push(took);
    }
    let jobs = filled.jobs.len();
    let (p50, p99) = if jobs > 100_000 { (10.0, 25.0) } else { (2.0, 5.0) };
    let goal = |target| Goal { target, floor: target * 10.0 };
    let what = format!("{jobs} jobs, filter on 2 metrics, sort by a metric, {LIMIT} rows");
    let fresh = changes(filled, &mut http)?;
    Ok(vec![
        Figure::times(10, what, &millis, "ms").aiming(goal(p50)).aiming_p99(goal(p99)),
        Figure::times(10, format!("{jobs} jobs, from a new value to a sort by it"), &fresh, "ms")
            .aiming_p99(Goal { target: 100.0, floor: 1_000.0 }),
    ])
}

/// Asks before minutes of filling whether the server knows such a question at all.
fn probe(world: &mut World) -> Result<()> {
    let server = &world.with_server()?.bench.server;
    let answer = Http::connect(server.url())?.fetch(&path())?;
    if answer.status != 200 {
        let why = String::from_utf8_lossy(&answer.body).into_owned();
        bail!("not built: the server does not filter and sort by metrics (status {}: {why})", answer.status);
    }
    Ok(())
}

/// Each time another job gets a value that makes it the first; how long from sending it until the table says so, so that
/// its way to the disk and into the table is in it.
fn changes(filled: &mut Filled, http: &mut Http) -> Result<Vec<f64>> {
    let Filled { jobs, bench, changed, .. } = filled;
    let chosen = jobs.iter_mut().filter(|job| job.acc > 0.2 && job.loss < 0.4).take(CHANGES);
    let mut millis = Vec::new();
    for job in chosen {
        // Below the filter's bound, above every other.
        let loss = 0.5 - 1e-9 + f64::from(*changed) * 1e-12;
        let points: AppendPoints = serde_json::from_value(serde_json::json!({"loss": [[2, loss]]}))?;
        let key = format!("change-{changed}");
        let rest = bench.rest.rest();
        let begin = Instant::now();
        bench.rest.wait(rest.append_points(&job.id.clone().into(), &key, &points))?;
        (job.loss, *changed) = (loss, *changed + 1);
        while ask(http)?.0.first() != Some(&job.id.to_string()) {
            ensure!(begin.elapsed() < SORTABLE_WITHIN, "{} with loss {loss} is not the first row", job.id);
        }
        millis.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(!millis.is_empty(), "no job has a loss below 0.4 and an acc above 0.2");
    Ok(millis)
}

fn path() -> String {
    format!("/api/v1/jobs?filter={}&sort={}&limit={LIMIT}", encoded(FILTER), encoded(SORT))
}

fn ask(http: &mut Http) -> Result<(Vec<String>, f64)> {
    let path = path();
    let begin = Instant::now();
    let answer = http.fetch(&path)?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    let page: Page = serde_json::from_str(&answer.text()?).context("a page of jobs")?;
    Ok((page.items.into_iter().map(|row| row.id).collect(), took))
}

/// What the filter and the sort must answer.
fn expected(jobs: &[Made]) -> Vec<String> {
    let mut rows: Vec<&Made> = jobs.iter().filter(|job| job.loss < 0.5 && job.acc > 0.2).collect();
    rows.sort_by(|a, b| b.loss.total_cmp(&a.loss));
    rows.into_iter().take(LIMIT).map(|job| job.id.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_filtered_and_sorted() {
        let made =
            |number: u32, loss, acc| Made { id: format!("BENCH-{number}").parse().unwrap(), loss, acc };
        let jobs =
            [made(1, 0.1, 0.9), made(2, 0.4, 0.9), made(3, 0.6, 0.9), made(4, 0.45, 0.1), made(5, 0.2, 0.3)];
        assert_eq!(expected(&jobs), ["BENCH-2", "BENCH-5", "BENCH-1"]);
    }
}
