//! Channels and charts of a job.

use neptune_wire::chart::Series;
use neptune_wire::name::ChartName;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, Chart, Line, Micros};
use serde::{Deserialize, Serialize};

use super::{Record, disk};

/// A channel; its number in the job is in the key and counts from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Unique in the job.
    pub name: ChannelName,
    /// What y is.
    #[serde(with = "disk::kind")]
    pub kind: ChannelKind,
    /// Who fills it.
    #[serde(with = "disk::origin")]
    pub origin: ChannelOrigin,
    /// When it was created.
    pub created: Micros,
}

impl Record for ChannelRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "channel";
}

/// A chart; its number in the job is in the key and counts from 0 without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartRecord {
    name: ChartName,
    series: Vec<DiskSeries>,
}

impl Record for ChartRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "chart";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DiskSeries {
    name: String,
    channel: ChannelName,
    #[serde(with = "disk::line")]
    line: Line,
}

impl From<&Chart> for ChartRecord {
    fn from(chart: &Chart) -> Self {
        let series = |series: &Series| DiskSeries {
            name: series.name.clone(),
            channel: series.channel.clone(),
            line: series.line,
        };
        Self { name: chart.name.clone(), series: chart.series.iter().map(series).collect() }
    }
}

impl From<ChartRecord> for Chart {
    fn from(record: ChartRecord) -> Self {
        let series =
            |series: DiskSeries| Series { name: series.name, channel: series.channel, line: series.line };
        Self { name: record.name, series: record.series.into_iter().map(series).collect() }
    }
}
