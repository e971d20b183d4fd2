//! Row 1: durable ingest of one client that sends batched numeric columns, acknowledged after the sync.
//!
//! Twice: through the library as a Rust program uses it, and by the protocol alone with the points that row 9 stores, which
//! leaves out what the library itself takes of the two cores.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use neptune_client::writer::now;
use neptune_wire::{ChannelName, ChannelOrigin};

use super::World;
use crate::data::{Noise, Numbers, Shape};
use crate::fill::{Bench, MEMORY_CHECK, settle};
use crate::process::{Used, check_memory};
use crate::report::{Figure, Goal};
use crate::swarm::{Pace, Plan, Swarm, numeric_channels};

const CHANNELS: usize = 10;
const BATCH: usize = 1_000;
/// More than this waiting, and the loop pauses: the figure is what the server takes, not what memory holds.
const WAITING: u64 = 1_000_000;
/// Frames on their way, 4 MB.
const FRAMES: usize = 64;
const GOAL: Goal = Goal { target: 3e6, floor: 1e6 };

/// Through the library: one Writer, `send_many`.
pub(crate) fn measure_library(world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let open = bench.open_job("row 1")?;
    let writer = bench.writer(&open);
    let channels = (0..CHANNELS)
        .map(|i| Ok(writer.open_numeric(&ChannelName::new(&format!("channel {i}"))?, ChannelOrigin::User)?))
        .collect::<Result<Vec<_>>>()?;
    let y: Vec<f64> = (0..BATCH).map(|i| f64::from((i as f32 * 0.37).sin() * 0.1 + 0.5)).collect();
    let mut x: Vec<f64> = (0..BATCH).map(|i| i as f64).collect();
    let (server, begin) = (Used::of(bench.server.pid())?, Instant::now());
    let mut checked = begin;
    while begin.elapsed() < Duration::from_secs(world.load.seconds) {
        channels.iter().for_each(|channel| channel.send_many(&x, &y, now()));
        x.iter_mut().for_each(|x| *x += BATCH as f64);
        if checked.elapsed() > MEMORY_CHECK {
            check_memory()?;
            checked = Instant::now();
        }
        let stats = writer.stats();
        if stats.sent_points - stats.acked_points > WAITING {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    settle(&writer)?;
    let seconds = begin.elapsed().as_secs_f64();
    let server = Used::of(bench.server.pid())?.since(server);
    let stats = writer.stats();
    ensure!(stats.dropped_points == 0 && stats.refused_points == 0, "points were dropped: {stats:?}");
    let stored: u64 = bench.stored_points(std::slice::from_ref(&open))?.iter().sum();
    ensure!(stored == stats.acked_points, "{stored} points stored, {} acknowledged", stats.acked_points);
    let what =
        format!("ingest, one client, library, {CHANNELS} channels of a ramp, {} s", world.load.seconds);
    Ok(figures(&what, stored, seconds, server))
}

/// By the protocol alone: noisy points at trembling times.
pub(crate) fn measure_protocol(world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let jobs = bench.open_jobs("row 1", 1)?;
    let noise = Noise::new();
    let source = |_| Numbers::new(&noise, Shape::Noisy, CHANNELS, BATCH, CHANNELS);
    let length = Duration::from_secs(world.load.seconds);
    let plan = Plan { pace: Pace::Window(FRAMES), length, may_break: false };
    let server = Used::of(bench.server.pid())?;
    let outcome = bench.wait(async {
        Swarm::connect(bench.server.url(), &jobs, &numeric_channels(CHANNELS)?, source).await?.run(plan).await
    })?;
    let server = Used::of(bench.server.pid())?.since(server);
    bench.verify(&jobs, &outcome)?;
    let what = format!("ingest, one client, protocol, {CHANNELS} channels of noise, {} s", length.as_secs());
    let mut figures = figures(&what, outcome.acked_points(), outcome.seconds, server);
    let cpu = outcome.generator.cpu_seconds / outcome.seconds;
    figures.push(Figure::cost(1, "the same: cores the generator took", cpu, "cores"));
    Ok(figures)
}

fn figures(what: &str, points: u64, seconds: f64, server: Used) -> Vec<Figure> {
    let points = points as f64;
    vec![
        Figure::rate(1, what, points / seconds, "points/s").aiming(GOAL),
        Figure::cost(1, format!("{what}: written to disk"), server.written_bytes / points, "bytes/point"),
        Figure::cost(1, format!("{what}: server"), server.cpu_seconds / seconds, "cores"),
    ]
}
