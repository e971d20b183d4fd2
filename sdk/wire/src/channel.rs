//! Channels: named series of points (x, y, time) within a job.

use serde::{Deserialize, Serialize};

use crate::name::ChannelName;
use crate::number::{Micros, Number};

/// What a channel's y is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// f64, NaN and infinities included.
    Numeric,
    /// UTF-8 text; a log's lines.
    Text,
    /// A picture with a name and a description.
    Image,
}

impl ChannelKind {
    /// The kind as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Image => "image",
        }
    }
}

/// Who fills a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrigin {
    /// The job's program.
    #[default]
    User,
    /// The runner: CPU, memory. Names begin with `sys/`.
    System,
    /// The program's standard output as a byte stream; the channel `sys/stdout` holds its lines.
    Stdout,
    /// The program's standard error as a byte stream; the channel `sys/stderr` holds its lines.
    Stderr,
}

impl ChannelOrigin {
    /// Whether the channel is a log: a byte stream ([`crate::frame::Block::Log`]) whose lines are its points.
    pub fn is_log(self) -> bool {
        matches!(self, Self::Stdout | Self::Stderr)
    }

    /// The one name a log has; other origins choose.
    pub fn log_name(self) -> Option<&'static str> {
        match self {
            Self::Stdout => Some("sys/stdout"),
            Self::Stderr => Some("sys/stderr"),
            Self::User | Self::System => None,
        }
    }
}

/// `POST /jobs/{id}/channels`. The same name, kind and origin again answers the existing channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateChannel {
    /// Unique in the job.
    pub name: ChannelName,
    /// Never changes.
    pub kind: ChannelKind,
    /// `sys/…` names belong to the origins other than `user`, and only those.
    #[serde(default)]
    pub origin: ChannelOrigin,
}

/// A channel with its running summary, as `GET /jobs/{id}/channels` answers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channel {
    /// Unique in the job.
    pub name: ChannelName,
    /// What y is.
    pub kind: ChannelKind,
    /// Who fills it.
    #[serde(default)]
    pub origin: ChannelOrigin,
    /// Over all points so far.
    pub summary: ChannelSummary,
}

/// What is known of all points of a channel, kept as they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelSummary {
    /// Points, NaN included; for text and logs the lines.
    pub count: u64,
    /// How many y are NaN (numeric).
    #[serde(default)]
    pub nan_count: u64,
    /// Smallest y that is not NaN (numeric).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// Largest y that is not NaN (numeric).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// Mean of the finite y (numeric).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Number>,
    /// y of the point that arrived last (numeric).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Number>,
    /// x of the point that arrived last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_x: Option<Number>,
    /// Smallest x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_min: Option<Number>,
    /// Largest x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_max: Option<Number>,
    /// Time of the point that arrived last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_micros: Option<Micros>,
    /// Bytes of a log so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}
