//! Row 8: fifty lines over each other, 1,000 pixels wide, from the request to decoded numbers in a real browser.
//!
//! The page's own decoder cannot be called from outside, so the script asks from the page (its origin, its policy, its
//! connections) and decodes the columns in JavaScript: typed arrays over the answer's bytes, every value looked at.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{World, python};
use crate::data::{Noise, Numbers, Shape};
use crate::fill::Bench;
use crate::report::{Figure, Goal};
use crate::swarm::numeric_channels;

const ASK: &str = include_str!("overlay/ask.py");
const LINES: usize = 50;
const POINTS: u64 = 100_000;
const ROUNDS: usize = 100;

pub(crate) fn measure(_world: &mut World) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let open = bench.open_job("row 8")?;
    let (noise, channels) = (Noise::new(), numeric_channels(LINES)?);
    bench.fill(&open, &channels, || Numbers::new(&noise, Shape::Noisy, LINES, 1_000, 10).up_to(POINTS))?;
    let stored: u64 = bench.stored_points(std::slice::from_ref(&open))?.iter().sum();
    ensure!(stored == LINES as u64 * POINTS, "{stored} points are stored");
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("ask.py");
    std::fs::write(&script, ASK)?;
    let output = Command::new(python())
        .arg(&script)
        .args([bench.server.url(), &open.job.id.to_string()])
        .args([LINES.to_string(), POINTS.to_string(), ROUNDS.to_string()])
        .output()?;
    ensure!(output.status.success(), "the browser: {}", String::from_utf8_lossy(&output.stderr));
    let millis: Vec<f64> = serde_json::from_slice(&output.stdout)?;
    ensure!(millis.len() == ROUNDS, "{} of {ROUNDS} rounds", millis.len());
    let what = format!(
        "{LINES} lines of {POINTS} points, request to decoded in headless Chromium, JavaScript decoding"
    );
    let goal = Goal { target: 60.0, floor: 300.0 };
    Ok(vec![Figure::times(8, what, &millis, "ms").aiming(goal)])
}
