//! Charts: named groups of numeric channels drawn together.

use serde::{Deserialize, Serialize};

use crate::name::{ChannelName, ChartName};

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Points joined by lines.
    #[default]
    Line,
    /// Points alone.
    Dot,
}

/// One channel in a chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The legend's text; the channel's name by default.
    pub name: String,
    /// A numeric channel of the chart's job; it may be created after the chart.
    pub channel: ChannelName,
    /// How it is drawn.
    #[serde(default)]
    pub line: Line,
}

/// `POST /jobs/{id}/charts`. The same chart again answers the existing one; another one of that name is `taken`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateChart {
    /// Unique in the job.
    pub name: ChartName,
    /// At most 100; may be empty.
    pub series: Vec<Series>,
}

/// A chart as `GET /jobs/{id}/charts` answers it, in the order of creation.
pub type Chart = CreateChart;
