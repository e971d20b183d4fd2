//! Row 6: from `send` in a program to pixels in a browser: the page's next frame after its chart knows the point.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use neptune_client::writer::now;
use neptune_wire::{ChannelName, ChannelOrigin};

use super::{World, python};
use crate::fill::{Bench, settle};
use crate::report::{Figure, Goal};

const WATCH: &str = include_str!("live/watch.py");
const POINTS: usize = 100;

pub(crate) fn measure(_world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
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
        std::thread::sleep(std::time::Duration::from_millis(150 + (i as u64 * 37) % 100));
        let time = now();
        channel.send(i as f64, (i as f64 * 0.1).sin(), time);
        sent.push(time.0 as f64 / 1e3);
    }
    ensure!(browser.wait()?.success(), "the browser did not see every point");
    let seen: Vec<f64> = serde_json::from_slice(&std::fs::read(&out)?)?;
    ensure!(seen.len() == sent.len(), "{} of {} points were seen", seen.len(), sent.len());
    let millis: Vec<f64> = seen.iter().zip(&sent).map(|(seen, sent)| seen - sent).collect();
    let what = format!("live latency, send to pixels in headless Chromium, {POINTS} points");
    let goal = |target| Goal { target, floor: 500.0 };
    Ok(vec![Figure::times(6, what, &millis, "ms").aiming(goal(40.0)).aiming_p99(goal(120.0))])
}

fn wait_for(ready: &std::path::Path, browser: &mut std::process::Child) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !ready.exists() {
        if let Some(status) = browser.try_wait()? {
            anyhow::bail!(
                "the browser script ended with {status}; it needs the playwright package and Chromium"
            );
        }
        ensure!(std::time::Instant::now() < deadline, "the page did not open within a minute");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::metadata(ready).context("ready file").map(drop)
}
