//! Row 9: what a point takes on disk, its x, its time and its share of the pyramid included, after sealing and compaction.
//!
//! The server is started once more, so that compaction has come by. Some of what a folder holds is there however many
//! points there are (logs, files not full yet), so few points look larger than they are.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::World;
use crate::data::{Noise, Numbers, Shape};
use crate::fill::Bench;
use crate::process::disk_bytes;
use crate::report::{Figure, Goal};
use crate::swarm::numeric_channels;

const CHANNELS: u64 = 10;
/// So much tells the size of a point from the size of an empty folder.
const MOST_POINTS: u64 = 100_000_000;
/// Sealing may wait a minute for more points, and then has to do it all.
const SEALED_WITHIN: Duration = Duration::from_secs(600);
/// Compaction begins when a server starts, and has little to do.
const COMPACTED_AFTER: Duration = Duration::from_secs(5);

pub(crate) fn measure(world: &mut World) -> Result<Vec<Figure>> {
    let points = world.load.points.min(MOST_POINTS);
    let mut figures = Vec::new();
    for (shape, name, target) in [(Shape::Noisy, "noisy", 4.5), (Shape::Smooth, "smooth", 2.0)] {
        let mut bench = Bench::start()?;
        let open = bench.open_job("row 9")?;
        let (noise, channels) = (Noise::new(), numeric_channels(CHANNELS as usize)?);
        let each = points / CHANNELS;
        bench.fill(&open, &channels, || {
            Numbers::new(&noise, shape, CHANNELS as usize, 1_000, CHANNELS as usize).up_to(each)
        })?;
        let total = each * CHANNELS;
        let stored: u64 = bench.stored_points(std::slice::from_ref(&open))?.iter().sum();
        ensure!(stored == total, "{stored} of {total} points are stored");
        let sealed = bench.wait_until_sealed(SEALED_WITHIN)?;
        let per_point = |bytes: u64| bytes as f64 / total as f64;
        let serving = per_point(disk_bytes(&bench.server.data())?);
        bench.server.stop()?;
        bench.server.start_again()?;
        std::thread::sleep(COMPACTED_AFTER);
        bench.server.stop()?;
        let stopped = per_point(disk_bytes(&bench.server.data())?);
        let what =
            format!("{CHANNELS} channels of {each} {name} points born as f32, folder of a stopped server");
        let figure = Figure::cost(9, what, stopped, "bytes/point").aiming(Goal { target, floor: 8.0 });
        figures.push(if sealed { figure } else { figure.unjudged("not sealed") });
        let what =
            format!("{CHANNELS} channels of {each} {name} points born as f32, folder of a running server");
        figures.push(Figure::cost(9, what, serving, "bytes/point"));
    }
    Ok(figures)
}
