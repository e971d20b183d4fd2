//! Row 5: what one `channel.send(x, y)` costs a Python program, measured in that program, online.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use neptune_end_to_end::binary;

use super::World;
use crate::fill::Bench;
use crate::report::{Figure, Goal};

const PROGRAM: &str = include_str!("python/send.py");

#[derive(serde::Deserialize)]
struct Measured {
    p50_us: f64,
    p99_us: f64,
    start_ms: f64,
}

pub(crate) fn measure(_world: &mut World) -> Result<Vec<Figure>> {
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
    let goal = |target, floor| Goal { target, floor };
    let mut call = Figure::cost(5, "Python channel.send(x, y), 200 k calls", measured.p50_us, "us");
    call.p99 = Some(measured.p99_us);
    let start = Figure::cost(5, "Python import and Context()", measured.start_ms, "ms");
    Ok(vec![
        call.aiming(goal(0.3, 2.0)).aiming_p99(goal(2.0, 10.0)),
        // The table of targets has no floor for it.
        start.aiming(goal(50.0, 50.0)),
    ])
}
