//! Row 5: what one `channel.send(x, y)` costs a Python program, measured in that program, online.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use neptune_end_to_end::binary;

use super::Load;
use crate::fill::Bench;
use crate::report::Figure;

const PROGRAM: &str = include_str!("python/send.py");

#[derive(serde::Deserialize)]
struct Measured {
    p50_us: f64,
    p99_us: f64,
    start_ms: f64,
}

pub(crate) fn measure(_load: &Load) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("figures.json");
    std::fs::write(folder.path().join("send.py"), PROGRAM)?;
    let run = Command::new(binary("neptune")?)
        .args(["--server", bench.server.url(), "run", "send.py"])
        .current_dir(folder.path())
        .env("NEPTUNE_BENCH_OUT", &out)
        .output()?;
    ensure!(run.status.success(), "send.py: {}", String::from_utf8_lossy(&run.stderr));
    let measured: Measured =
        serde_json::from_slice(&std::fs::read(&out).context("send.py wrote no figures")?)?;
    let figure = |what: &str, value, unit, target, floor| Figure {
        row: 5,
        what: what.into(),
        value,
        unit,
        target,
        floor,
        more_is_better: false,
    };
    Ok(vec![
        figure("Python channel.send(x, y), p50 of 200 k calls", measured.p50_us, "us", 0.3, 2.0),
        figure("Python channel.send(x, y), p99 of 200 k calls", measured.p99_us, "us", 2.0, 10.0),
        figure("Python import and Context()", measured.start_ms, "ms", 50.0, 50.0),
    ])
}
