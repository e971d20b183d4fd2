//! The live hub: what changes is published once and fans out to subscriptions.

use std::sync::Arc;

use neptune_wire::live::Topic;
use neptune_wire::query::{ImagePoint, Line};
use neptune_wire::{Channel, ChannelName, Chart, Job};

use crate::{Engine, Grant, Refused};

/// One subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    /// For channels: how many points each had when the subscription began, in the asked order.
    pub marks: Vec<u64>,
}

/// What a subscriber is told. Points are shared, not copied, between subscribers.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// A job is new or changed.
    Job(Arc<Job>),
    /// A channel is new or its summary changed; coalesced to a few a second.
    Channel(Channel),
    /// A chart is new.
    Chart(Chart),
    /// Points in order of arrival, the first of them number `index`.
    Points { channel: ChannelName, index: u64, points: Arc<LivePoints> },
    /// Lines; the first may be the grown form of the last one told before.
    Lines { channel: ChannelName, lines: Arc<Vec<Line>> },
    /// Images.
    Images { channel: ChannelName, images: Arc<Vec<ImagePoint>> },
    /// The subscriber was too slow: what is left out begins at `from` (of the channel; of the jobs when there is none).
    Reread { channel: Option<ChannelName>, from: u64 },
}

/// Columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LivePoints {
    /// Steps.
    pub x: Vec<f64>,
    /// Values.
    pub y: Vec<f64>,
    /// Microseconds since the epoch.
    pub time: Vec<i64>,
}

impl Engine {
    /// Subscribes; whatever is newer than the marks will be told, within a bounded backlog.
    pub async fn subscribe(&self, _grant: &Grant, _topic: &Topic) -> Result<Subscription, Refused> {
        todo!("live")
    }
}

impl Subscription {
    /// The next event; cancel-safe. `None` when the engine stops.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        todo!("live")
    }
}
