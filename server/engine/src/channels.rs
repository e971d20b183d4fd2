//! Channels and charts of a job.

use neptune_wire::chart::{Chart, CreateChart};
use neptune_wire::{Channel, CreateChannel, JobRef, Micros};

use crate::{Engine, Grant, Refused};

impl Engine {
    /// Creates a channel or finds the one of the same name, kind and origin.
    pub async fn create_channel(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _create: CreateChannel,
        _now: Micros,
    ) -> Result<Channel, Refused> {
        todo!("channels")
    }

    /// All channels of a job with their summaries, in order of creation.
    pub async fn list_channels(&self, _grant: &Grant, _job: &JobRef) -> Result<Vec<Channel>, Refused> {
        todo!("channels")
    }

    /// Creates a chart or finds an equal one of the name.
    pub async fn create_chart(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _create: CreateChart,
        _now: Micros,
    ) -> Result<Chart, Refused> {
        todo!("channels")
    }

    /// All charts of a job in order of creation.
    pub async fn list_charts(&self, _grant: &Grant, _job: &JobRef) -> Result<Vec<Chart>, Refused> {
        todo!("channels")
    }
}
