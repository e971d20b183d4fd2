//! `/api/v1/live`: a browser subscribes to topics and gets deltas only.
//!
//! Numeric points come as binary messages: one [`crate::columns`] table per channel, named by the channel, columns `x`,
//! `y`, `time`, with `{"id": subscription, "index": number of the first point in order of arrival}` as the table's meta.
//! Everything else is text. A reader that is too slow gets `Reread` instead of a backlog and asks REST for the range.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::chart::Chart;
use crate::id::{JobRef, JobUid};
use crate::job::Job;
use crate::name::{ChannelName, ProjectKey};
use crate::problem::Problem;
use crate::query::{ImagePoint, Line};
use crate::table::JobRow;

/// Subscriptions one connection may hold.
pub const SUBSCRIPTIONS: usize = 1_000;
/// Of these, subscriptions to rows: each keeps its filter ready and looks at every change of the table.
pub const ROW_SUBSCRIPTIONS: usize = 16;

/// What a browser sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveUp {
    /// Begins a subscription; `Subscribed` answers, deltas follow.
    Subscribe {
        /// Chosen by the browser, unique on this connection.
        id: u32,
        /// To what.
        topic: Topic,
    },
    /// Ends one.
    Unsubscribe {
        /// Which.
        id: u32,
    },
}

/// What one can subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "topic", rename_all = "snake_case")]
pub enum Topic {
    /// New and changed jobs, of one project or all.
    Jobs {
        /// All when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<ProjectKey>,
    },
    /// Rows of the job table: those that come to pass a filter, change in the asked columns, or pass it no more. A job
    /// that is deleted passes none, until it is restored.
    ///
    /// Times of a filter such as `-7d` pass by the server's clock; a row that time alone moves is told when it next changes.
    Rows {
        /// All when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<ProjectKey>,
        /// As in `GET /jobs`; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
        /// As in `GET /jobs`; whole jobs are pushed when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        columns: Option<String>,
    },
    /// One job's record, its new channels and charts, and its channels' summaries (a few times a second).
    Job {
        /// Which.
        job: JobRef,
    },
    /// The points, lines and images of some channels of a job.
    Channels {
        /// Which job.
        job: JobRef,
        /// Which channels; they must exist.
        channels: Vec<ChannelName>,
    },
}

/// What the server pushes as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveDown {
    /// The subscription holds: whatever is newer than `marks` will be pushed; ask REST for what is older.
    Subscribed {
        /// Which.
        id: u32,
        /// For [`Topic::Channels`]: points (lines, images) each channel had at that moment, in the asked order.
        #[serde(default)]
        marks: Vec<u64>,
    },
    /// A job is new or changed.
    Job {
        /// The subscription.
        id: u32,
        /// The whole record.
        job: Box<Job>,
    },
    /// A row of [`Topic::Rows`] is new or changed.
    Row {
        /// The subscription.
        id: u32,
        /// The asked values.
        row: JobRow,
        /// It did not pass the filter before.
        #[serde(default)]
        entered: bool,
    },
    /// A row of [`Topic::Rows`] passes the filter no more, or its job is gone.
    Left {
        /// The subscription.
        id: u32,
        /// The job.
        uid: JobUid,
    },
    /// A channel is new or its summary changed.
    Channel {
        /// The subscription.
        id: u32,
        /// The whole channel.
        channel: Channel,
    },
    /// A chart is new.
    Chart {
        /// The subscription.
        id: u32,
        /// The chart.
        chart: Chart,
    },
    /// New lines of a text channel or log. The first may be the grown form of the last line sent before.
    Lines {
        /// The subscription.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// In order.
        lines: Vec<Line>,
    },
    /// New images.
    Images {
        /// The subscription.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// In order.
        images: Vec<ImagePoint>,
    },
    /// The reader was too slow: from this point (line, image) on, ask REST.
    Reread {
        /// The subscription.
        id: u32,
        /// The channel; absent for jobs: read the list or the job again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<ChannelName>,
        /// The first index that was left out.
        from: u64,
    },
    /// A message was refused; the connection lives on.
    Problem {
        /// The subscription it was about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// Why.
        problem: Problem,
    },
}
