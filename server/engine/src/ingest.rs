//! Ingest: numbered frames in, acknowledgements out after they are durable.
//!
//! One connection is one pair of [`IngestSink`] and [`IngestEvents`]. Frames of many connections are committed together
//! (one sync); a sink waits only when more is pending than memory allows.

use bytes::Bytes;
use neptune_wire::ingest::{OpenChannel, RefusedChannel};
use neptune_wire::query::{AppendPoints, Appended};
use neptune_wire::{AttemptNumber, JobRef, Micros, SessionId};

use crate::{Engine, Grant, Refused};

/// Where a connection's frames go in, in order.
#[derive(Debug)]
pub struct IngestSink {}

/// What became of them.
#[derive(Debug)]
pub struct IngestEvents {}

/// What became of a session's frames.
#[derive(Debug)]
pub enum IngestEvent {
    /// Everything up to this number is durable (or refused and counted).
    Acked { session: SessionId, acked: u64 },
    /// Refused for its content; the number is used up, the points are counted.
    Refused { session: SessionId, seq: u64, why: Refused },
    /// Too early.
    Gap { session: SessionId, expected: u64 },
    /// Not attributable to a session's number (no open session, damaged header, superseded attempt, disk full).
    Trouble { session: Option<SessionId>, why: Refused },
}

impl Engine {
    /// Begins a connection.
    pub fn open_ingest(&self, _grant: &Grant) -> (IngestSink, IngestEvents) {
        todo!("ingest")
    }

    /// Stores JSON points once per `key` (the `Idempotency-Key` header); creates channels that do not exist.
    pub async fn append_points(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _key: &str,
        _points: AppendPoints,
        _now: Micros,
    ) -> Result<Appended, Refused> {
        todo!("ingest")
    }
}

impl IngestSink {
    /// Opens a session and answers its mark: the highest frame number that is durable, 0 for a new one.
    pub async fn open_session(
        &mut self,
        _session: SessionId,
        _job: &JobRef,
        _attempt: AttemptNumber,
        _now: Micros,
    ) -> Result<u64, Refused> {
        todo!("ingest")
    }

    /// Binds the session's numbers to channels, durably, before it answers. Answers how many are bound, and those refused.
    pub async fn open_channels(
        &mut self,
        _session: SessionId,
        _channels: Vec<OpenChannel>,
        _now: Micros,
    ) -> Result<(u32, Vec<RefusedChannelWhy>), Refused> {
        todo!("ingest")
    }

    /// Hands over one frame as it came; waits only for room. What becomes of it comes out of [`IngestEvents`].
    pub async fn submit_frame(&mut self, _frame: Bytes, _now: Micros) {
        todo!("ingest")
    }

    /// Waits until everything of the session is durable and answers the mark.
    pub async fn close_session(&mut self, _session: SessionId) -> Result<u64, Refused> {
        todo!("ingest")
    }
}

/// A channel that could not be bound, and why.
#[derive(Debug)]
pub struct RefusedChannelWhy {
    /// The number it was to have.
    pub number: u32,
    /// Why.
    pub why: Refused,
}

impl IngestEvents {
    /// The next event; `None` after the sink is gone and everything is told. Cancel-safe.
    pub async fn next(&mut self) -> Option<IngestEvent> {
        let _: Option<RefusedChannel> = None;
        todo!("ingest")
    }
}
