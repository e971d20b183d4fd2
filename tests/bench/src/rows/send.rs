//! Row 5, the Rust half: what one `send` costs the program that calls it. No server is needed: nobody waits for one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use neptune_client::writer::now;
use neptune_client::{Writer, WriterSettings};
use neptune_wire::{AttemptNumber, ChannelName, ChannelOrigin};

use super::World;
use crate::report::{Figure, Goal};

const POINTS: u32 = 1_000_000;

pub(crate) fn measure(_world: &mut World) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let spool = folder.path().to_owned();
    let writer = Writer::open(WriterSettings::new("BENCH-1".parse()?, AttemptNumber(1), None, spool));
    let channel = writer.open_numeric(&ChannelName::new("loss")?, ChannelOrigin::User)?;
    let mut costs = Vec::with_capacity(POINTS as usize);
    for x in 0..POINTS {
        let begin = Instant::now();
        channel.send(f64::from(x), f64::from(x) * 0.1, now());
        costs.push(begin.elapsed().as_nanos() as f64 / 1e3);
    }
    writer.flush(Duration::from_secs(60));
    ensure!(writer.stats().dropped_points == 0, "points were dropped: {:?}", writer.stats());
    let goal = |target, floor| Goal { target, floor };
    // A third of what Python may take, which adds its own call.
    let figure = Figure::times(5, "Rust channel.send(x, y, now), 1 M calls", &costs, "us");
    Ok(vec![figure.aiming(goal(0.1, 0.7)).aiming_p99(goal(0.7, 3.0))])
}
