//! Row 11: from starting the process to its first answer, and what it holds in memory when nobody talks to it.

use std::time::{Duration, Instant};

use anyhow::Result;
use neptune_client::{Access, Blocking, Rest};
use neptune_end_to_end::{Server, ServerOptions};

use super::World;
use crate::process::{forget_pages, resident_mb};
use crate::report::{Figure, Goal};

const STARTS: usize = 10;
const FULL_STARTS: usize = 3;
/// What runs after a start has come to rest by then.
const REST: Duration = Duration::from_secs(3);

/// On an empty folder.
pub(crate) fn measure_empty(_world: &mut World) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut millis = Vec::new();
    let mut resident = 0.0;
    for start in 0..STARTS {
        let before = Instant::now();
        let mut server = Server::start(&folder.path().join(start.to_string()), ServerOptions::default())?;
        let rest = Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?;
        rest.wait(rest.rest().read_server())?;
        millis.push(before.elapsed().as_secs_f64() * 1e3);
        if start == STARTS - 1 {
            std::thread::sleep(REST);
            resident = resident_mb(server.pid())?;
        }
        server.stop()?;
    }
    let goal = |target, floor| Goal { target, floor };
    Ok(vec![
        Figure::times(11, format!("empty store, start to first 200, {STARTS} starts"), &millis, "ms")
            .aiming(goal(150.0, 1_000.0)),
        Figure::cost(11, "empty store, idle resident memory", resident, "MB").aiming(goal(40.0, 150.0)),
    ])
}

/// On the folder of rows 7 and 10, its files cold.
pub(crate) fn measure_full(world: &mut World) -> Result<Vec<Figure>> {
    world.with_points()?;
    let filled = world.with_jobs()?;
    let mut millis = Vec::new();
    for _ in 0..FULL_STARTS {
        filled.bench.server.stop()?;
        forget_pages(&filled.bench.server.data())?;
        let before = Instant::now();
        filled.bench.start_again()?;
        filled.bench.rest.wait(filled.bench.rest.rest().read_server())?;
        millis.push(before.elapsed().as_secs_f64() * 1e3);
    }
    std::thread::sleep(REST);
    let resident = resident_mb(filled.bench.server.pid())?;
    let points: u64 = filled.sizes.iter().sum();
    let what = format!("{points} points and {} jobs, cold files", filled.jobs.len());
    let unlike = |figure: Figure| match (points >= 1_000_000_000, filled.jobs.len() >= 100_000) {
        (true, true) => figure,
        _ => figure.unjudged("the target is for 1e9 points and 1e5 jobs"),
    };
    let goal = |target, floor| Goal { target, floor };
    Ok(vec![
        unlike(
            Figure::times(11, format!("{what}, start to first 200, {FULL_STARTS} starts"), &millis, "ms")
                .aiming(goal(1_000.0, 5_000.0)),
        ),
        unlike(
            Figure::cost(11, format!("{what}, idle resident memory"), resident, "MB")
                .aiming(goal(250.0, 1_000.0)),
        ),
    ])
}
