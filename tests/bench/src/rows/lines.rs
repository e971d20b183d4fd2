//! Row 4: the lines of many programs' standard output, acknowledged after the sync.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use neptune_wire::ingest::OpenChannel;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin};

use super::World;
use crate::data::{LINE_BYTES, Lines};
use crate::fill::Bench;
use crate::process::Used;
use crate::report::{Figure, Goal};
use crate::swarm::{Pace, Plan, Swarm};

const CLIENTS: usize = 100;
/// What a program that prints 3,000 lines a second sends every 100 ms.
const LINES: usize = 300;
/// Frames of one client on their way.
const FRAMES: usize = 4;

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let jobs = bench.open_jobs("row 4", CLIENTS)?;
    let origin = ChannelOrigin::Stdout;
    let name = origin.log_name().context("the log of standard output has a name")?;
    let stdout = [OpenChannel { number: 0, name: ChannelName::new(name)?, kind: ChannelKind::Text, origin }];
    let length = Duration::from_secs(world.load.seconds);
    let plan = Plan { pace: Pace::Window(FRAMES), length, may_break: false };
    let (before, outcome) = bench.wait(async {
        let swarm = Swarm::connect(bench.server.url(), &jobs, &stdout, |_| Lines::new(LINES)).await?;
        anyhow::Ok((Used::of(bench.server.pid())?, swarm.run(plan).await?))
    })?;
    let server = Used::of(bench.server.pid())?.since(before);
    bench.verify(&jobs, &outcome)?;
    let lines = outcome.clients[0].acked_points;
    let bytes = bench.summary(&jobs[0], name)?.log_bytes;
    ensure!(bytes == Some(lines * LINE_BYTES as u64), "{lines} lines are {bytes:?} bytes");
    let what = format!("lines of {LINE_BYTES} B, {CLIENTS} clients, {} s", length.as_secs());
    let written = server.written_bytes / outcome.acked_points() as f64;
    Ok(vec![
        Figure::rate(4, &what, outcome.rate(), "lines/s").aiming(Goal { target: 3e5, floor: 5e4 }),
        Figure::times(4, format!("{what}: acknowledged after"), &outcome.ack_millis(), "ms"),
        Figure::cost(4, format!("{what}: written to disk"), written, "bytes/line"),
        Figure::cost(4, format!("{what}: server"), server.cpu_seconds / outcome.seconds, "cores"),
        Figure::cost(
            4,
            format!("{what}: generator"),
            outcome.generator.cpu_seconds / outcome.seconds,
            "cores",
        ),
    ])
}
