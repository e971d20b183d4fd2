//! The live hub: a subscription is a place in what the engine already holds, not a queue beside it.
//!
//! Every commit wakes the followers of its job, and each follower reads what lies between its place and the present. So
//! nothing is told twice or left out, a slow reader costs no memory, and what changes faster than it is read comes
//! together. A reader that falls too far behind is told to read again from its place ([`LiveEvent::Reread`]).

mod channels;
mod job;
mod jobs;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_wire::live::Topic;
use neptune_wire::query::{ImagePoint, Line};
use neptune_wire::table::JobRow;
use neptune_wire::{Channel, ChannelName, Chart, Job, JobUid, Micros};
use tokio::sync::watch;

use self::channels::FollowChannels;
use self::job::FollowJob;
use self::jobs::FollowJobs;
use crate::table::follow::{Asks, FollowRows};
use crate::table::question::{read_columns, read_filter, tests_metric};
use crate::{Engine, Grant, Refused};

/// One subscription; dropping it ends it.
pub struct Subscription {
    /// For channels: how many points each had when the subscription began, in the asked order.
    pub marks: Vec<u64>,
    engine: Engine,
    stopping: watch::Receiver<bool>,
    follow: Follow,
}

enum Follow {
    Jobs(FollowJobs),
    Rows(FollowRows),
    Job(Box<FollowJob>),
    Channels(FollowChannels),
}

/// What a subscriber is told. Points are shared, not copied, between subscribers.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// A job is new or changed.
    Job(Arc<Job>),
    /// A row is new among those that pass the filter, or one of the asked columns changed.
    Row {
        /// Its values.
        row: Arc<JobRow>,
        /// It was not there before.
        entered: bool,
    },
    /// A job's row does not pass the filter any more, or is gone.
    Left(JobUid),
    /// A channel is new or its summary changed; coalesced to a few a second.
    Channel(Channel),
    /// A chart is new.
    Chart(Chart),
    /// Points in order of arrival, the first of them number `index`.
    Points {
        /// The channel.
        channel: ChannelName,
        /// Number of the first point.
        index: u64,
        /// Columns.
        points: Arc<LivePoints>,
    },
    /// Lines; the first may be the grown form of the last one told before.
    Lines {
        /// The channel.
        channel: ChannelName,
        /// In order.
        lines: Arc<Vec<Line>>,
    },
    /// Images.
    Images {
        /// The channel.
        channel: ChannelName,
        /// In order.
        images: Arc<Vec<ImagePoint>>,
    },
    /// The subscriber was too slow: what is left out begins at `from` (of the channel; of the jobs when there is none).
    Reread {
        /// The channel.
        channel: Option<ChannelName>,
        /// The first that is left out.
        from: u64,
    },
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

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("marks", &self.marks).finish_non_exhaustive()
    }
}

impl Engine {
    /// Subscribes; whatever is newer than the marks will be told, within a bounded backlog.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownProject`], [`Refused::UnknownJob`], [`Refused::UnknownChannel`], [`Refused::Forbidden`];
    /// [`Refused::Text`] for a filter or columns that cannot be read.
    pub async fn subscribe(
        &self,
        grant: &Grant,
        topic: &Topic,
        now: Micros,
    ) -> Result<Subscription, Refused> {
        let mut marks = Vec::new();
        let follow = match topic {
            Topic::Jobs { project } => {
                grant.check_everything("following all jobs")?;
                if let Some(project) = project {
                    self.core.registry.find_project(project)?;
                }
                Follow::Jobs(FollowJobs::new(&self.core.registry, project.clone()))
            }
            Topic::Rows { project, filter, columns } => {
                grant.check_everything("following all jobs")?;
                if let Some(project) = project {
                    self.core.registry.find_project(project)?;
                }
                let filter = read_filter(filter.as_deref())?;
                let columns = columns.as_deref().map(read_columns).transpose()?;
                if tests_metric(&filter) {
                    self.core.table_filled().await?;
                }
                let asks = Asks { project: project.clone(), filter, columns };
                Follow::Rows(FollowRows::new(&self.core, asks, now).await?)
            }
            Topic::Job { job } => {
                let cell = self.find_job(grant, job)?;
                let heads = cell.heads(&self.core).await?;
                Follow::Job(Box::new(FollowJob::new(cell, heads)))
            }
            Topic::Channels { job, channels } => {
                let heads = self.find_heads(grant, job).await?;
                let follow = FollowChannels::new(heads, channels)?;
                marks = follow.marks();
                Follow::Channels(follow)
            }
        };
        self.core.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        let stopping = self.core.stopping.subscribe();
        Ok(Subscription { marks, engine: self.clone(), stopping, follow })
    }
}

impl Subscription {
    /// The next event; cancel-safe. `None` when the engine stops.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        let Self { engine, stopping, follow, .. } = self;
        let next = async {
            match follow {
                Follow::Jobs(follow) => follow.next(&engine.core.registry).await,
                Follow::Rows(follow) => follow.next(&engine.core).await,
                Follow::Job(follow) => follow.next().await,
                Follow::Channels(follow) => follow.next(&engine.core.store).await,
            }
        };
        tokio::select! {
            event = next => event,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.engine.core.counters.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
