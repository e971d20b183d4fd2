//! Row 2: many clients, each with a connection and a job of its own, that send a small message ten times a second.
//!
//! First at the pace of the row, then at whatever pace the server still holds: acknowledgements within [`HELD_MILLIS`], and
//! (almost) no message that was due and could not be sent. The message stays the same, only how often it comes changes.

use std::time::Duration;

use anyhow::Result;

use super::World;
use crate::data::{Noise, Numbers, Shape};
use crate::fill::Bench;
use crate::process::Used;
use crate::report::{Figure, Goal};
use crate::swarm::{Outcome, Pace, Plan, Swarm, numeric_channels};

const FLUSH: Duration = Duration::from_millis(100);
const CHANNELS: usize = 10;
const POINTS: usize = 200;
/// The floor of an acknowledgement's p99.
const HELD_MILLIS: f64 = 200.0;
/// Part of the messages that may be late at the end without the pace being lost.
const HELD_MISSED: f64 = 0.02;
/// Tries of the search.
const TRIES: usize = 6;
/// The longest of one try.
const TRY_SECONDS: u64 = 8;

/// One pace, tried.
#[derive(Debug, Clone)]
struct Trial {
    /// Points per second that were due.
    asked: f64,
    /// Points per second that were acknowledged.
    reached: f64,
    missed: f64,
    ack_millis: Vec<f64>,
    server_cores: f64,
    generator_cores: f64,
    written: f64,
}

impl Trial {
    fn held(&self) -> bool {
        let acks = Figure::times(2, "", &self.ack_millis, "ms");
        self.missed <= HELD_MISSED && acks.p99.is_some_and(|p99| p99 <= HELD_MILLIS)
    }
}

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    let clients = world.load.clients;
    let asked = (clients * POINTS) as f64 / FLUSH.as_secs_f64();
    let noise = Noise::new();
    let attempt = |rate: f64, seconds: u64| {
        eprintln!("  {clients} clients, {:.2} M points/s for {seconds} s", rate / 1e6);
        attempt(&noise, clients, rate, Duration::from_secs(seconds))
    };
    let first = attempt(asked, world.load.seconds)?;
    let seconds = world.load.seconds.min(TRY_SECONDS);
    let best = search(&first, |rate| attempt(rate, seconds))?;
    let what = format!("ingest, {clients} clients, {POINTS} points every 100 ms, {} s", world.load.seconds);
    let ack = |target| Goal { target, floor: HELD_MILLIS };
    let rate = Goal { target: 2e6, floor: 5e5 };
    let mut figures = vec![
        Figure::rate(2, &what, first.reached, "points/s").aiming(rate),
        Figure::times(2, format!("{what}: acknowledged after"), &first.ack_millis, "ms")
            .aiming(ack(15.0))
            .aiming_p99(ack(50.0)),
        Figure::cost(2, format!("{what}: server"), first.server_cores, "cores"),
        Figure::cost(2, format!("{what}: generator"), first.generator_cores, "cores"),
        Figure::cost(2, format!("{what}: written to disk"), first.written, "bytes/point"),
    ];
    let what =
        format!("ingest, {clients} clients, highest pace held (p99 within {HELD_MILLIS} ms), {seconds} s");
    match best {
        Some(best) => figures.extend([
            Figure::rate(2, &what, best.reached, "points/s").aiming(rate),
            Figure::times(2, format!("{what}: acknowledged after"), &best.ack_millis, "ms"),
        ]),
        None => figures.push(Figure::rate(2, what, 0.0, "points/s").aiming(rate)),
    }
    Ok(figures)
}

/// Finds the highest pace that is held, within a tenth or so.
fn search(first: &Trial, mut attempt: impl FnMut(f64) -> Result<Trial>) -> Result<Option<Trial>> {
    let (mut held, mut lost) = match first.held() {
        true => (Some(first.clone()), None),
        false => (None, Some(first.asked)),
    };
    for _ in 0..TRIES {
        let low = held.as_ref().map(|trial| trial.asked);
        let rate = match (low, lost) {
            (Some(low), None) => low * 1.3,
            (Some(low), Some(high)) if high / low < 1.1 => break,
            (Some(low), Some(high)) => f64::midpoint(low, high),
            // What it reached while it was overrun is a good guess.
            (None, Some(high)) => (first.reached * 0.9).min(high * 0.7),
            (None, None) => first.asked,
        };
        let trial = attempt(rate)?;
        match trial.held() {
            true => held = Some(trial),
            false => lost = Some(rate),
        }
    }
    Ok(held)
}

/// Each time on a fresh server, so that no try pays for what another left.
fn attempt(noise: &Noise, clients: usize, rate: f64, length: Duration) -> Result<Trial> {
    let bench = Bench::start()?;
    let jobs = bench.open_jobs("row 2", clients)?;
    let interval = Duration::from_secs_f64((clients * POINTS) as f64 / rate);
    let source = |_| Numbers::new(noise, Shape::Noisy, CHANNELS, POINTS / CHANNELS, CHANNELS);
    let plan = Plan { pace: Pace::Every(interval), length, may_break: false };
    let (before, outcome): (Used, Outcome) = bench.wait(async {
        let swarm = Swarm::connect(bench.server.url(), &jobs, &numeric_channels(CHANNELS)?, source).await?;
        anyhow::Ok((Used::of(bench.server.pid())?, swarm.run(plan).await?))
    })?;
    let server = Used::of(bench.server.pid())?.since(before);
    bench.verify(&jobs, &outcome)?;
    Ok(Trial {
        asked: rate,
        reached: reached(&outcome, length),
        missed: outcome.missed(),
        ack_millis: outcome.ack_millis(),
        server_cores: server.cpu_seconds / outcome.seconds,
        generator_cores: outcome.generator.cpu_seconds / outcome.seconds,
        written: server.written_bytes / outcome.acked_points() as f64,
    })
}

/// Acknowledged points per second. That the last message takes its time is said by the acknowledgements, not here; what
/// takes longer than a pace that is held may is work left over, and counts.
fn reached(outcome: &Outcome, length: Duration) -> f64 {
    let (length, late) = (length.as_secs_f64(), HELD_MILLIS / 1e3);
    let seconds = if outcome.seconds <= length + late { length } else { outcome.seconds };
    outcome.acked_points() as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that holds paces up to its capacity.
    fn trial(asked: f64, capacity: f64) -> Trial {
        let (reached, late) = (asked.min(capacity), if asked > capacity { 1_000.0 } else { 10.0 });
        let (missed, ack_millis) = (1.0 - reached / asked, vec![late; 100]);
        Trial { asked, reached, missed, ack_millis, server_cores: 1.0, generator_cores: 0.5, written: 20.0 }
    }

    fn found(capacity: f64) -> Option<f64> {
        let mut tries = 0;
        let best = search(&trial(2e6, capacity), |rate| {
            tries += 1;
            Ok(trial(rate, capacity))
        });
        assert!(tries <= TRIES);
        best.unwrap().map(|trial| trial.asked)
    }

    #[test]
    fn the_search_comes_near_what_the_server_holds() {
        for capacity in [3e5, 1.2e6, 1.9e6, 2e6, 3.3e6, 6e6] {
            let found = found(capacity).unwrap();
            assert!(found <= capacity && found > capacity * 0.85, "{found} of {capacity}");
        }
    }

    #[test]
    fn late_or_missing_messages_lose_the_pace() {
        assert!(trial(1e6, 2e6).held());
        assert!(!Trial { ack_millis: vec![201.0; 10], ..trial(1e6, 2e6) }.held());
        assert!(!Trial { missed: 0.03, ..trial(1e6, 2e6) }.held());
        assert!(!Trial { ack_millis: vec![], ..trial(1e6, 2e6) }.held());
    }
}
