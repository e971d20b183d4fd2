//! Row 1: durable ingest of one client that sends batched numeric columns, acknowledged after the sync.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use neptune_client::writer::now;
use neptune_wire::{ChannelName, ChannelOrigin};

use super::Load;
use crate::fill::{Bench, settle};
use crate::report::Figure;

const CHANNELS: usize = 10;
const BATCH: usize = 1_000;
/// More than this waiting, and the loop pauses: the figure is what the server takes, not what memory holds.
const WAITING: u64 = 1_000_000;

pub(crate) fn measure(load: &Load) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let open = bench.open_job("row 1")?;
    let writer = bench.writer(&open);
    let channels = (0..CHANNELS)
        .map(|i| Ok(writer.open_numeric(&ChannelName::new(&format!("channel {i}"))?, ChannelOrigin::User)?))
        .collect::<Result<Vec<_>>>()?;
    let y: Vec<f64> = (0..BATCH).map(|i| f64::from((i as f32 * 0.37).sin() * 0.1 + 0.5)).collect();
    let mut x: Vec<f64> = (0..BATCH).map(|i| i as f64).collect();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(load.seconds) {
        channels.iter().for_each(|channel| channel.send_many(&x, &y, now()));
        x.iter_mut().for_each(|x| *x += BATCH as f64);
        let stats = writer.stats();
        if stats.sent_points - stats.acked_points > WAITING {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    settle(&writer)?;
    let seconds = begin.elapsed().as_secs_f64();
    let stats = writer.stats();
    ensure!(stats.dropped_points == 0 && stats.refused_points == 0, "points were dropped: {stats:?}");
    Ok(vec![Figure {
        row: 1,
        what: format!("durable ingest, one client, {CHANNELS} channels, {} s", load.seconds),
        value: stats.acked_points as f64 / seconds,
        unit: "points/s",
        target: 3e6,
        floor: 1e6,
        more_is_better: true,
    }])
}
