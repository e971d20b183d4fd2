//! Watching an attempt: beats up, wishes down. A job by hand and a queued one are watched by the same messages.
//!
//! Truth is only in [`Beat`] and [`Wish`], which are complete each time; [`Abort`] is a hint that shortens the wait and
//! may be lost. Durations are measured on one machine's monotonic clock; wall clocks are for people.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptNumber, JobUid};
use crate::job::Exit;
use crate::number::Micros;

/// How often a runner beats when nothing changes.
pub const BEAT_EVERY_MILLIS: u64 = 10_000;
/// A live attempt without a beat for so long is shown as not responding.
pub const SILENT_AFTER_MILLIS: u64 = 30_000;
/// A silent attempt is lost after so long.
pub const LOST_AFTER_MILLIS: u64 = 600_000;
/// Time between SIGTERM and SIGKILL of an abort that does not say.
pub const GRACE_MILLIS: u64 = 10_000;

/// Everything the sender holds, sent every [`BEAT_EVERY_MILLIS`] and at once on any change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Grows by one per beat of a connection.
    pub seq: u64,
    /// The sender's monotonic clock.
    pub uptime_micros: u64,
    /// All attempts it knows of, ended ones until [`Wish::forget`] names them.
    pub holding: Vec<Holding>,
}

/// One attempt in a beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The job.
    pub job: JobUid,
    /// Which try.
    pub attempt: AttemptNumber,
    /// Where it stands.
    pub phase: Phase,
    /// Since when, by the sender's wall clock.
    pub since_micros: Micros,
    /// Process id of the program, once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How it ended, with [`Phase::Ended`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Where an attempt stands on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Workspace and environment are being built.
    Preparing,
    /// The program runs.
    Running,
    /// The process tree is being ended.
    Ending,
    /// No process is left; `exit` says how it ended.
    Ended,
}

/// Names an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The job.
    pub job: JobUid,
    /// Which try.
    pub attempt: AttemptNumber,
}

/// The answer to a beat: what the server wants of every attempt in it. One that is in no list is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// `seq` of the beat it answers.
    pub ack: u64,
    /// Run on.
    #[serde(default)]
    pub hold: Vec<AttemptRef>,
    /// End these.
    #[serde(default)]
    pub stop: Vec<Abort>,
    /// The end is recorded durably; the attempt need not be named again.
    #[serde(default)]
    pub forget: Vec<AttemptRef>,
}

/// End an attempt's process tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// The job.
    pub job: JobUid,
    /// Which try.
    pub attempt: AttemptNumber,
    /// How.
    pub mode: StopMode,
    /// Time between SIGTERM and SIGKILL.
    pub grace_millis: u64,
    /// For people and logs.
    pub reason: String,
}

/// How a process tree is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// SIGTERM, grace, SIGKILL.
    Graceful,
    /// SIGKILL at once.
    Kill,
}
