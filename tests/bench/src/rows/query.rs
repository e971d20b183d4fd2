//! Row 7: a chart of one channel, 1,000 pixels wide, from the request to the last byte of the answer, warm.

use std::time::Instant;

use anyhow::{Result, ensure};
use neptune_client::writer::now;
use neptune_wire::query::{EnvelopeQuery, SeriesRef};
use neptune_wire::{ChannelName, ChannelOrigin};

use super::Load;
use crate::fill::{Bench, quantile, settle};
use crate::report::Figure;

/// Points of the channel; target of p50 and p99 in milliseconds; the floor is ten times that.
const SIZES: [(usize, f64, f64); 3] = [(10_000, 0.3, 1.0), (100_000, 0.5, 2.0), (1_000_000, 1.0, 3.0)];
const ROUNDS: usize = 200;

pub(crate) fn measure(_load: &Load) -> Result<Vec<Figure>> {
    let bench = Bench::start()?;
    let open = bench.open_job("row 7")?;
    let writer = bench.writer(&open);
    let mut figures = Vec::new();
    for (points, p50, p99) in SIZES {
        let name = ChannelName::new(&format!("{points} points"))?;
        let channel = writer.open_numeric(&name, ChannelOrigin::User)?;
        let x: Vec<f64> = (0..points).map(|i| i as f64).collect();
        let mut y: Vec<f64> = x.iter().map(|x| (x * 0.01).sin()).collect();
        y[points / 3] = 1e6;
        channel.send_many(&x, &y, now());
        settle(&writer)?;
        let series = vec![SeriesRef { job: open.job.uid.into(), channel: name }];
        let query = EnvelopeQuery::of(series, 1_000);
        let mut millis = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let before = Instant::now();
            let tables = bench.rest.wait(bench.rest.rest().read_envelopes_columns(&query))?;
            millis.push(before.elapsed().as_secs_f64() * 1e3);
            ensure!(tables[0].rows() == 1_000, "{} buckets", tables[0].rows());
        }
        millis.sort_by(f64::total_cmp);
        for (part, label, target) in [(0.5, "p50", p50), (0.99, "p99", p99)] {
            figures.push(Figure {
                row: 7,
                what: format!(
                    "chart of {points} points, 1,000 buckets, {label}, loopback round trip included"
                ),
                value: quantile(&millis, part),
                unit: "ms",
                target,
                floor: target * 10.0,
                more_is_better: false,
            });
        }
    }
    Ok(figures)
}
