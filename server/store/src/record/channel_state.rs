//! What is sealed of a channel: up to which frame, and the running summary of it all.
//!
//! Written in the commit of the chunks it tells of, so that a channel is in this state or in the one before. Frames up to
//! [`ChannelStateRecord::seq`] are not replayed for this channel.

use neptune_wire::{AttemptNumber, ChannelSummary, Micros, Number};
use serde::{Deserialize, Serialize};

use super::Record;

/// Of this size and above a finite y is summed in parts of [`BIG_PART`], so that no sum overflows.
const BIG: f64 = 1e200;
const BIG_PART: f64 = 1e-200;

/// The sealed part of one channel; its number in the job is in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStateRecord {
    /// All frames up to this one are sealed, as far as they are of this channel.
    pub seq: u64,
    /// By the channel's kind.
    pub state: ChannelState,
}

impl Record for ChannelStateRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "channel state";
}

/// The sealed part by the channel's kind. The order of variants is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChannelState {
    /// Numbers.
    Numeric(NumericState),
    /// Lines of a text channel.
    Text(RowsState),
    /// A log.
    Log(LogState),
    /// Images.
    Images(RowsState),
}

/// The sealed lines of a text channel, or the sealed images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RowsState {
    /// How many.
    pub count: u64,
    /// Where the last sheet begins.
    pub last_sheet: u64,
    /// Along x and time.
    pub steps: Steps,
}

/// The sealed part of a log, and what its writer goes on from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LogState {
    /// Bytes of the stored stream.
    pub length: u64,
    /// Lines that began in them, those that tell of lost bytes among them.
    pub lines: u64,
    /// Bytes of the line that is unfinished behind them; 0 if the next byte begins a line.
    pub open: u32,
    /// Where the last sheet begins.
    pub last_sheet: u64,
    /// How far the log was written, by the writer's offsets.
    pub cursor: LogCursor,
    /// Along x and time.
    pub steps: Steps,
}

/// How far a log was written, by the writer's offsets, which count from 0 in each attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCursor {
    /// Whose offsets; `None` before the first byte.
    pub attempt: Option<AttemptNumber>,
    /// Offset that the next byte has.
    pub next: u64,
    /// Bytes the sender reported as lost that no gap has shown yet.
    pub announced: u64,
}

/// The sealed points of a numeric channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NumericState {
    /// Of all of them.
    pub running: Running,
    /// Points of each part that the last, incomplete block lies in, in order.
    pub parts: Vec<u32>,
}

/// What is known of all points of a numeric channel, kept as they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Points, NaN included.
    pub count: u64,
    /// Points whose y is NaN.
    pub nan_count: u64,
    /// Smallest y that is not NaN; NaN while there is none.
    pub min: f64,
    /// Largest y that is not NaN; NaN while there is none.
    pub max: f64,
    /// The last y.
    pub last: f64,
    finite_count: u64,
    finite_sum: f64,
    big_sum: f64,
    /// Along x and time.
    pub steps: Steps,
    /// Smallest finite x; infinite while there is none. So with `x_high`.
    pub x_low: f64,
    /// Largest finite x.
    pub x_high: f64,
    /// No x is below one before it, and all are finite.
    pub x_ordered: bool,
    /// Smallest time.
    pub time_low: i64,
    /// Largest time.
    pub time_high: i64,
    /// No time is below one before it.
    pub time_ordered: bool,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            count: 0,
            nan_count: 0,
            min: f64::NAN,
            max: f64::NAN,
            last: f64::NAN,
            finite_count: 0,
            finite_sum: 0.0,
            big_sum: 0.0,
            steps: Steps::default(),
            x_low: f64::INFINITY,
            x_high: f64::NEG_INFINITY,
            x_ordered: true,
            time_low: i64::MAX,
            time_high: i64::MIN,
            time_ordered: true,
        }
    }
}

impl Running {
    /// Takes in the point that arrived next.
    pub fn add(&mut self, x: f64, y: f64, time: i64) {
        self.add_value(y);
        self.steps.add(x, time);
        if x.is_finite() {
            self.x_ordered &= x >= self.x_high;
            self.x_low = self.x_low.min(x);
            self.x_high = self.x_high.max(x);
        } else {
            self.x_ordered = false;
        }
        self.time_ordered &= time >= self.time_high;
        self.time_low = self.time_low.min(time);
        self.time_high = self.time_high.max(time);
    }

    fn add_value(&mut self, y: f64) {
        self.count += 1;
        self.last = y;
        // `min` and `max` leave NaN aside.
        self.min = self.min.min(y);
        self.max = self.max.max(y);
        if y.is_finite() {
            self.finite_count += 1;
            if y.abs() < BIG {
                self.finite_sum += y;
            } else {
                self.big_sum += y * BIG_PART;
            }
        } else {
            self.nan_count += u64::from(y.is_nan());
        }
    }

    fn mean(&self) -> Option<f64> {
        let count = self.finite_count as f64;
        (self.finite_count > 0).then(|| self.finite_sum / count + self.big_sum / count / BIG_PART)
    }

    /// As it is answered.
    pub fn summary(&self) -> ChannelSummary {
        if self.count == 0 {
            return ChannelSummary::default();
        }
        ChannelSummary {
            nan_count: self.nan_count,
            min: number(self.min),
            max: number(self.max),
            mean: self.mean().map(Number),
            last: Some(Number(self.last)),
            ..self.steps.summary(self.count)
        }
    }
}

/// What is known of the x and times of a channel's points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    last_x: f64,
    x_min: f64,
    x_max: f64,
    last_time: i64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { last_x: f64::NAN, x_min: f64::NAN, x_max: f64::NAN, last_time: 0 }
    }
}

impl Steps {
    /// Takes in a point.
    pub fn add(&mut self, x: f64, time: i64) {
        // `min` and `max` leave NaN aside.
        *self = Self { last_x: x, x_min: self.x_min.min(x), x_max: self.x_max.max(x), last_time: time };
    }

    /// The x of the point that arrived last; NaN while there is none.
    pub fn last_x(&self) -> f64 {
        self.last_x
    }

    /// As it is answered for `count` points that are no numbers.
    pub fn summary(&self, count: u64) -> ChannelSummary {
        if count == 0 {
            return ChannelSummary::default();
        }
        ChannelSummary {
            count,
            last_x: Some(Number(self.last_x)),
            x_min: number(self.x_min),
            x_max: number(self.x_max),
            last_micros: Some(Micros(self.last_time)),
            ..ChannelSummary::default()
        }
    }
}

/// A number that may be missing: NaN stands for "none yet".
fn number(value: f64) -> Option<Number> {
    if value.is_nan() { None } else { Some(Number(value)) }
}

/// How far a job's frame log is sealed and cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRecord {
    /// Every channel's state holds all frames up to this one; those that still lie there are left over.
    pub cleared: u64,
    /// Grows with every commit that changes the state of any of the job's channels.
    pub commits: u64,
}

impl Record for SealRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "seal";
}
