//! A folder with long channels and many jobs, filled once and shared by the rows that ask about it.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use neptune_client::{Rest, new_job_uid};
use neptune_wire::ingest::OpenChannel;
use neptune_wire::query::AppendPoints;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, CreateJob, JobId};

use super::World;
use crate::data::{Noise, Numbers, Shape};
use crate::fill::{Bench, OpenJob};

/// Jobs made at once.
const MAKING: usize = 128;
/// Stands out of every channel.
pub(crate) const SPIKE: f64 = 1e6;

/// The folder, served.
pub(crate) struct Filled {
    /// The server.
    pub bench: Bench,
    /// Holds the long channels.
    pub job: OpenJob,
    /// The points of each long channel, ascending.
    pub sizes: Vec<u64>,
    /// The many.
    pub jobs: Vec<Made>,
    /// How many of them got a new value since.
    pub changed: u32,
}

/// One of many jobs, with what its two metrics ended at.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub id: JobId,
    pub loss: f64,
    pub acc: f64,
}

impl World {
    /// The folder with a channel of 10,000 points, and of ten times as many, up to the asked length.
    pub(crate) fn with_points(&mut self) -> Result<&mut Filled> {
        let longest = self.load.points;
        let filled = self.with_server()?;
        if filled.sizes.is_empty() {
            let decades = (4..=9).map(|power| 10_u64.pow(power)).filter(|size| *size <= longest);
            for size in decades {
                let begin = Instant::now();
                filled.fill_channel(size)?;
                let seconds = begin.elapsed().as_secs_f64();
                eprintln!("  {size} points stored in {seconds:.1} s");
                filled.sizes.push(size);
            }
        }
        Ok(filled)
    }

    /// The folder with many jobs of two metrics each.
    pub(crate) fn with_jobs(&mut self) -> Result<&mut Filled> {
        let count = self.load.jobs;
        let filled = self.with_server()?;
        if filled.jobs.is_empty() {
            let begin = Instant::now();
            let rest = filled.bench.rest.rest();
            let jobs = (0..count).map(|number| make(rest, number));
            let made = stream::iter(jobs).buffered(MAKING).try_collect();
            filled.jobs = filled.bench.rest.wait(made)?;
            eprintln!("  {count} jobs made in {:.1} s", begin.elapsed().as_secs_f64());
        }
        Ok(filled)
    }

    /// The folder as it is, served.
    pub(crate) fn with_server(&mut self) -> Result<&mut Filled> {
        if self.filled.is_none() {
            let bench = Bench::start()?;
            let job = bench.open_job("long channels")?;
            self.filled = Some(Filled { bench, job, sizes: Vec::new(), jobs: Vec::new(), changed: 0 });
        }
        self.filled.as_mut().ok_or_else(|| anyhow::anyhow!("the folder was just made"))
    }
}

impl Filled {
    fn fill_channel(&self, size: u64) -> Result<()> {
        let name = ChannelName::new(&channel_name(size))?;
        let channel =
            OpenChannel { number: 0, name, kind: ChannelKind::Numeric, origin: ChannelOrigin::User };
        let noise = Noise::new();
        let source =
            || Numbers::new(&noise, Shape::Noisy, 1, 1_000, 10).up_to(size).with_spike(spike_at(size), SPIKE);
        self.bench.fill(&self.job, &[channel], source)?;
        let stored = self.bench.summary(&self.job, &channel_name(size))?.count;
        ensure!(stored == size, "{stored} of {size} points are stored");
        Ok(())
    }
}

/// Of the channel with so many points.
pub(crate) fn channel_name(size: u64) -> String {
    format!("points-{size}")
}

/// The number, which is also the x, of the point that stands out.
pub(crate) fn spike_at(size: u64) -> u64 {
    size / 3
}

async fn make(rest: &Rest, number: u64) -> Result<Made> {
    let mut mix = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut uniform = || {
        mix ^= mix >> 29;
        mix = mix.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mix >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (loss, acc) = (uniform(), uniform());
    let create: CreateJob = serde_json::from_value(serde_json::json!({
        "uid": new_job_uid(), "project": "BENCH", "name": format!("job {number}"),
        "params": [{"name": "lr", "type": "double", "value": uniform()}],
    }))?;
    let job = rest.create_job(&create).await?;
    let points: AppendPoints = serde_json::from_value(serde_json::json!({
        "loss": [[0, loss + 1.0], [1, loss]], "acc": [[0, acc], [1, acc / 2.0]],
    }))?;
    let appended = rest.append_points(&job.uid.into(), "filled", &points).await?;
    ensure!(appended.points == 4, "{} of 4 points are stored", appended.points);
    Ok(Made { id: job.id, loss, acc })
}
