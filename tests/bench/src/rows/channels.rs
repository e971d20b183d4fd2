//! Row 3: very many active channels, one point a second each; and what a kill in the middle of it costs (row 11).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::World;
use crate::data::{Noise, Numbers, Shape};
use crate::fill::Bench;
use crate::process::{Used, resident_mb};
use crate::report::{Figure, Goal};
use crate::swarm::{Outcome, Pace, Plan, Swarm, numeric_channels};

/// Channels of one job.
const PER_JOB: u64 = 1_000;
const EVERY: Duration = Duration::from_secs(1);
/// Channels the targets are for.
const FULL: u64 = 1_000_000;
/// From the first points until all clients have found their pace.
const LEAD: Duration = Duration::from_secs(2);

/// What the server was when it was killed.
struct Killed {
    resident_mb: f64,
    cpu_seconds: f64,
}

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    let total = world.load.channels;
    let per_job = total.min(PER_JOB);
    let jobs = total.div_ceil(per_job) as usize;
    let total = jobs as u64 * per_job;
    let mut bench = Bench::start()?;
    let jobs = bench.open_jobs("row 3", jobs)?;
    let (noise, channels) = (Noise::new(), numeric_channels(per_job as usize)?);
    let source = |_| Numbers::new(&noise, Shape::Noisy, per_job as usize, 1, per_job as usize);
    let length = Duration::from_secs(world.load.seconds);
    // Sent for longer than measured: the kill comes while points are on their way.
    let plan = Plan { pace: Pace::Every(EVERY), length: length + LEAD + EVERY * 5, may_break: true };
    let begin = Instant::now();
    let swarm = bench.wait(Swarm::connect(bench.server.url(), &jobs, &channels, source))?;
    let opening = begin.elapsed();
    let pid = bench.server.pid();
    let (outcome, killed) =
        bench.wait(async { tokio::try_join!(swarm.run(plan), kill_after(pid, LEAD + length)) })?;
    let seconds = (LEAD + length).as_secs_f64();
    let what = format!("{total} channels, 1 point/s each, {} s", length.as_secs());
    let unlike = |figure: Figure| {
        if total == FULL { figure } else { figure.unjudged("the target is for 1e6 channels") }
    };
    let mut figures = vec![
        unlike(
            Figure::rate(3, &what, outcome.acked_points() as f64 / seconds, "points/s")
                .aiming(Goal { target: 1e6, floor: 3e5 }),
        ),
        Figure::times(3, format!("{what}: acknowledged after"), &outcome.ack_millis(), "ms"),
        unlike(
            Figure::cost(3, format!("{what}: server's memory then"), killed.resident_mb, "MB")
                .aiming(Goal { target: 1_500.0, floor: 4_000.0 }),
        ),
        Figure::cost(3, format!("{what}: server"), killed.cpu_seconds / seconds, "cores"),
        Figure::cost(3, format!("{what}: generator"), outcome.generator.cpu_seconds / seconds, "cores"),
        Figure::rate(
            3,
            format!("{total} channels opened"),
            total as f64 / opening.as_secs_f64(),
            "channels/s",
        ),
    ];
    figures.extend(restart(&mut bench, &jobs, &outcome)?.map(unlike));
    Ok(figures)
}

async fn kill_after(pid: u32, length: Duration) -> Result<Killed> {
    let before = Used::of(pid)?;
    tokio::time::sleep(length).await;
    let killed =
        Killed { resident_mb: resident_mb(pid)?, cpu_seconds: Used::of(pid)?.since(before).cpu_seconds };
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL)?;
    Ok(killed)
}

/// Starts the killed server again: to its first answer, and until it has answered rightly for every job.
fn restart(bench: &mut Bench, jobs: &[crate::fill::OpenJob], outcome: &Outcome) -> Result<[Figure; 2]> {
    bench.server.kill()?;
    let begin = Instant::now();
    bench.start_again()?;
    bench.rest.wait(bench.rest.rest().read_server())?;
    let first = begin.elapsed();
    let stored = bench.stored_points(jobs)?;
    let all = begin.elapsed();
    for ((open, share), stored) in jobs.iter().zip(&outcome.clients).zip(stored) {
        let (job, acked, sent) = (&open.job.id, share.acked_points, share.sent_points);
        ensure!(
            (acked..=sent).contains(&stored),
            "{job} has {stored} points after the kill; {acked} were acknowledged, {sent} sent"
        );
    }
    let goal = Goal { target: 5_000.0, floor: 5_000.0 };
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    Ok([
        Figure::cost(11, "after a kill under row 3, start to first 200", millis(first), "ms").aiming(goal),
        Figure::cost(
            11,
            "after a kill under row 3, start to the right counts of all channels",
            millis(all),
            "ms",
        ),
    ])
}
