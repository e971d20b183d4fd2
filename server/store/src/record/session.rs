//! Sessions: whose frames were taken up to which number, what their channel numbers mean, and what was lost.

use neptune_wire::{AttemptNumber, SessionId};
use serde::{Deserialize, Serialize};

use super::Record;

/// Whose frames the server itself writes, from points that came as JSON: no client's session, and without a record.
pub const DIRECT_SESSION: SessionId = SessionId::from_bytes([0; 16]);

/// One writer's session. Written in the commit of its frames, so that frames and mark are never apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The attempt it belongs to, for ever.
    pub attempt: AttemptNumber,
    /// The highest frame number that is stored, or refused and counted.
    pub mark: u64,
}

impl Record for SessionRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "session";
}

/// Some of a session's channel numbers, in the order they were bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingsRecord {
    /// The session's number and the job's channel.
    pub channels: Vec<(u32, u32)>,
}

impl Record for BindingsRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "bindings";
}

/// Points of a job that were dropped by a sender or refused here, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRecord {
    /// Points; bytes where a log lost some.
    pub points: u64,
}

impl Record for DroppedRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "dropped";
}

/// Points that came as JSON under an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendedRecord {
    /// How many were stored.
    pub points: u64,
    /// Digest of what was asked: the key stands for it alone.
    pub asked: [u8; 32],
}

impl Record for AppendedRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "appended";
}
