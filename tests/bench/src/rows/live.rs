//! Row 6: from `send` in a program to pixels in a browser: the page's next frame after its chart knows the point. On a quiet
//! server, and on one that takes a million points a second meanwhile.

use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neptune_client::writer::now;
use neptune_wire::{ChannelName, ChannelOrigin};

use super::{World, python};
use crate::data::{Noise, Numbers, Shape};
use crate::fill::{Bench, OpenJob, settle};
use crate::report::{Figure, Goal};
use crate::swarm::{Outcome, Pace, Plan, Swarm, numeric_channels};

const WATCH: &str = include_str!("live/watch.py");
const POINTS: usize = 100;
/// Clients of the load: each sends [`LOAD_POINTS`] every 100 ms.
const CLIENTS: usize = 500;
const LOAD_POINTS: usize = 200;
/// The browser has started and seen every point by then.
const LOAD_LENGTH: Duration = Duration::from_secs(40);

/// Nobody else sends.
pub(crate) fn measure_quiet(_world: &mut World) -> Result<Vec<Figure>> {
    let millis = watch(&Bench::start()?)?;
    let what = format!("live latency, send to pixels in headless Chromium, {POINTS} points");
    let goal = |target| Goal { target, floor: 500.0 };
    Ok(vec![Figure::times(6, what, &millis, "ms").aiming(goal(40.0)).aiming_p99(goal(120.0))])
}

/// Other jobs get a million points a second.
pub(crate) fn measure_loaded(_world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let jobs = bench.open_jobs("load", CLIENTS)?;
    let load = load(bench.server.url().to_owned(), jobs.clone());
    let millis = watch(&bench)?;
    let outcome = load.join().map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
    bench.verify(&jobs, &outcome)?;
    let rate = outcome.rate() / 1e6;
    let what = format!("the same while other jobs get {rate:.2} M points/s");
    let goal = Goal { target: 300.0, floor: 500.0 };
    let figure = Figure::times(6, what, &millis, "ms").aiming_p99(goal);
    Ok(vec![if rate > 0.95 { figure } else { figure.unjudged("the load was not 1 M points/s") }])
}

/// Sends from a thread of its own, as the row itself waits for the browser.
fn load(url: String, jobs: Vec<OpenJob>) -> JoinHandle<Result<Outcome>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (noise, channels) = (Noise::new(), numeric_channels(10)?);
        let source = |_| Numbers::new(&noise, Shape::Noisy, 10, LOAD_POINTS / 10, 10);
        let pace = Pace::Every(Duration::from_millis(100));
        let plan = Plan { pace, length: LOAD_LENGTH, may_break: false };
        runtime.block_on(async { Swarm::connect(&url, &jobs, &channels, source).await?.run(plan).await })
    })
}

/// Sends points one by one to a job whose page is open; how many milliseconds each took to be drawn.
fn watch(bench: &Bench) -> Result<Vec<f64>> {
    let open = bench.open_job("row 6")?;
    let writer = bench.writer(&open);
    let channel = writer.open_numeric(&ChannelName::new("loss")?, ChannelOrigin::User)?;
    channel.send(0.0, 0.5, now());
    settle(&writer)?;
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("watch.py");
    std::fs::write(&script, WATCH)?;
    let (ready, out) = (folder.path().join("ready"), folder.path().join("seen.json"));
    let mut browser = Command::new(python())
        .arg(&script)
        .arg(format!("{}/jobs/{}", bench.server.url(), open.job.id))
        .args([&ready, &out])
        .arg((POINTS + 1).to_string())
        .spawn()?;
    wait_for(&ready, &mut browser)?;
    let mut sent = Vec::with_capacity(POINTS);
    for i in 1..=POINTS {
        // Not in step with any timer of the way.
        std::thread::sleep(Duration::from_millis(150 + (i as u64 * 37) % 100));
        let time = now();
        channel.send(i as f64, (i as f64 * 0.1).sin(), time);
        sent.push(time.0 as f64 / 1e3);
    }
    ensure!(browser.wait()?.success(), "the browser did not see every point");
    let seen: Vec<f64> = serde_json::from_slice(&std::fs::read(&out)?)?;
    ensure!(seen.len() == sent.len(), "{} of {} points were seen", seen.len(), sent.len());
    Ok(seen.iter().zip(&sent).map(|(seen, sent)| seen - sent).collect())
}

fn wait_for(ready: &std::path::Path, browser: &mut std::process::Child) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !ready.exists() {
        if let Some(status) = browser.try_wait()? {
            anyhow::bail!(
                "the browser script ended with {status}; it needs the playwright package and Chromium"
            );
        }
        ensure!(std::time::Instant::now() < deadline, "the page did not open within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::metadata(ready).context("ready file").map(drop)
}
