//! The control: what the bare disk does with synced appends, in the same minute as the rows.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

/// Of each of the two measures.
const SPAN: Duration = Duration::from_millis(500);

/// Synced appends of the bare disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Disk {
    /// Appends of 256 KiB, each followed by fdatasync.
    pub synced_mb_per_sec: f64,
    /// Median time of a 4 KiB append and its fdatasync.
    pub sync_p50_micros: f64,
}

/// Measures the folder in which the rows' servers keep their data.
pub(crate) fn measure() -> Result<Disk> {
    let mut file = tempfile::tempfile_in(std::env::temp_dir())?;
    let big = append_for(&mut file, &[7; 256 * 1024])?;
    let small = append_for(&mut file, &[7; 4096])?;
    let total: f64 = big.iter().map(Duration::as_secs_f64).sum();
    Ok(Disk {
        synced_mb_per_sec: big.len() as f64 * 0.262_144 / total,
        sync_p50_micros: small[small.len() / 2].as_secs_f64() * 1e6,
    })
}

fn append_for(file: &mut File, bytes: &[u8]) -> Result<Vec<Duration>> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < SPAN {
        let before = Instant::now();
        file.write_all(bytes)?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    times.sort();
    Ok(times)
}
