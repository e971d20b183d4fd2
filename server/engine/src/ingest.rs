//! Ingest: numbered frames in, acknowledgements out after they are durable.
//!
//! One connection is one pair of [`IngestSink`] and [`IngestEvents`]. A frame is checked where it comes in, takes its turn
//! in its session, and lines up in the lane of its job's shard ([`lane`]), where frames of many connections are committed
//! together. A sink waits only when its own connection, or all together, have more pending than memory allows.

pub(crate) mod check;
pub(crate) mod connection;
pub(crate) mod json;
pub(crate) mod lane;
mod open;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use neptune_wire::frame::parse_header;
use neptune_wire::ingest::OpenChannel;
use neptune_wire::query::{AppendPoints, Appended};
use neptune_wire::{AttemptNumber, JobRef, Micros, SessionId};

use self::connection::Connection;
use self::lane::{Entry, FrameEntry};
use crate::heads::JobHeads;
use crate::heads::session::{Session, Turn};
use crate::registry::JobCell;
use crate::{Engine, Grant, Refused};

/// Sessions one connection may hold open.
const SESSIONS: usize = 1_000;

/// Where a connection's frames go in, in order.
pub struct IngestSink {
    engine: Engine,
    grant: Grant,
    connection: Arc<Connection>,
    sessions: HashMap<SessionId, Arc<OpenSession>>,
}

/// What became of them.
pub struct IngestEvents {
    connection: Arc<Connection>,
}

/// A session as one connection holds it.
pub(crate) struct OpenSession {
    pub(crate) cell: Arc<JobCell>,
    pub(crate) heads: Arc<JobHeads>,
    pub(crate) session: Arc<Session>,
}

/// What became of a session's frames.
#[derive(Debug)]
pub enum IngestEvent {
    /// Everything up to this number is durable (or refused and counted).
    Acked {
        /// The session.
        session: SessionId,
        /// The number.
        acked: u64,
    },
    /// Refused for its content; the number is used up, the points are counted.
    Refused {
        /// The session.
        session: SessionId,
        /// The frame.
        seq: u64,
        /// Why.
        why: Refused,
    },
    /// Too early.
    Gap {
        /// The session.
        session: SessionId,
        /// The number wanted next.
        expected: u64,
    },
    /// Not attributable to a session's number (no open session, damaged header, superseded attempt), or the disk is
    /// full: then frames wait here and are acknowledged once there is room.
    Trouble {
        /// The session it is about, as far as it is known.
        session: Option<SessionId>,
        /// Why.
        why: Refused,
    },
}

/// A channel that could not be bound, and why.
#[derive(Debug)]
pub struct RefusedChannelWhy {
    /// The number it was to have.
    pub number: u32,
    /// Why.
    pub why: Refused,
}

impl fmt::Debug for IngestSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestSink").field("connection", &self.connection.number()).finish_non_exhaustive()
    }
}

impl fmt::Debug for IngestEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestEvents").field("connection", &self.connection.number()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins a connection.
    pub fn open_ingest(&self, grant: &Grant) -> (IngestSink, IngestEvents) {
        let number = self.core.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(Connection::new(number));
        let sink = IngestSink {
            engine: self.clone(),
            grant: grant.clone(),
            connection: connection.clone(),
            sessions: HashMap::new(),
        };
        (sink, IngestEvents { connection })
    }

    /// Stores JSON points once per `key` (the `Idempotency-Key` header); creates channels that do not exist.
    ///
    /// # Errors
    ///
    /// [`Refused::Taken`] for a key that other points had, [`Refused::Field`] for a point that is none or not of its
    /// channel's kind, [`Refused::TooLarge`] for more than one
    /// commit holds; nothing is stored then and the key is not used up.
    pub async fn append_points(
        &self,
        grant: &Grant,
        job: &JobRef,
        key: &str,
        points: AppendPoints,
        now: Micros,
    ) -> Result<Appended, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_write(&cell)?;
        let hash = json::key_hash(key)?;
        let core = self.core.clone();
        self.core.finish(async move { core.append_json(cell, hash, points, now).await }).await
    }
}

impl IngestSink {
    /// Opens a session and answers its mark: the highest frame number that is durable, 0 for a new one.
    ///
    /// Frames of the session that another connection left behind are settled first; that connection may not send any more.
    ///
    /// # Errors
    ///
    /// [`Refused::Superseded`], [`Refused::UnknownAttempt`], [`Refused::Taken`] for a session of another attempt, or what
    /// hinders the store.
    pub async fn open_session(
        &mut self,
        session: SessionId,
        job: &JobRef,
        attempt: AttemptNumber,
        now: Micros,
    ) -> Result<u64, Refused> {
        if self.sessions.len() == SESSIONS && !self.sessions.contains_key(&session) {
            return Err(Refused::TooLarge { what: "number of open sessions", limit: SESSIONS as u64 });
        }
        let cell = self.engine.find_job(&self.grant, job)?;
        self.grant.check_speaks_for(&cell, attempt)?;
        cell.check_attempt(attempt)?;
        let core = self.engine.core.clone();
        let open =
            self.engine.core.finish(async move { core.open_session(cell, session, attempt, now).await });
        let open = open.await?;
        open.session.own(self.connection.number());
        let mark = self.engine.core.settled(&open.session).await?;
        self.sessions.insert(session, Arc::new(open));
        Ok(mark)
    }

    /// Binds the session's numbers to channels, durably, before it answers. Answers how many are bound, and those refused.
    ///
    /// # Errors
    ///
    /// [`Refused::Protocol`] for a session that is not open here, [`Refused::TooLarge`] for too many at once, or what
    /// hinders the store.
    pub async fn open_channels(
        &mut self,
        session: SessionId,
        channels: Vec<OpenChannel>,
        now: Micros,
    ) -> Result<(u32, Vec<RefusedChannelWhy>), Refused> {
        let open = self.find_open(&session)?.clone();
        let core = self.engine.core.clone();
        let opened = async move { core.open_channels(&open, channels, now).await };
        self.engine.core.finish(opened).await
    }

    /// Hands over one frame as it came; waits only for room. What becomes of it comes out of [`IngestEvents`].
    ///
    /// Dropping the future before it answers takes the frame back, if it was not taken yet.
    pub async fn submit_frame(&mut self, frame: Bytes, _now: Micros) {
        self.connection.room_for_events().await;
        if let Err((session, why)) = self.take_frame(frame).await {
            self.connection.tell(IngestEvent::Trouble { session, why });
        }
    }

    async fn take_frame(&mut self, frame: Bytes) -> Result<(), (Option<SessionId>, Refused)> {
        let header = parse_header(&frame).map_err(|damage| (None, damage.into()))?;
        let (session, seq) = (header.session, header.seq);
        let whose = |why| (Some(session), why);
        let open = self.find_open(&session).map_err(whose)?.clone();
        let core = self.engine.core.clone();
        core.check_running().map_err(whose)?;
        open.heads.check_current().map_err(whose)?;
        let number = self.connection.number();
        // What is not its turn is not worth a look inside.
        if self.settle_turn(&open, open.session.turn(number, seq)).map_err(whose)? {
            return Ok(());
        }
        open.cell.check_attempt(open.session.attempt).map_err(whose)?;
        core.sealer.room(&open.heads, &core.stopping).await;
        let what = check::content(frame, &open);
        let room = self.connection.room_for(what.size_bytes(), &core).await;
        let connection = self.connection.clone();
        let entry = FrameEntry { open: open.clone(), connection, seq, what, room };
        let lane = core.lanes.lane_of(&open.cell.uid);
        let limits = core.store.limits();
        let line_up = || lane.line_up(Entry::Frame(entry), &limits);
        let turn = open.session.take_turn(number, seq, line_up);
        self.settle_turn(&open, turn).map_err(whose)?;
        self.connection.tell_read_only(session, core.store.disk());
        Ok(())
    }

    /// Answers a frame by its turn; says whether that was all there is to do.
    fn settle_turn(&self, open: &OpenSession, turn: Turn) -> Result<bool, Refused> {
        let session = open.session.id;
        match turn {
            Turn::Next => return Ok(false),
            Turn::Waiting => {}
            Turn::Stored { mark } => self.connection.acked(session, mark),
            Turn::Early { expected } => self.connection.gap(session, expected),
            Turn::Replaced => {
                return Err(Refused::Protocol {
                    wanted: "another connection has this session now; open it again",
                });
            }
        }
        Ok(true)
    }

    /// Waits until everything of the session is durable and answers the mark.
    ///
    /// # Errors
    ///
    /// [`Refused::Protocol`] for a session that is not open here; [`Refused::ReadOnly`] when the disk has no room for what
    /// waits.
    pub async fn close_session(&mut self, session: SessionId) -> Result<u64, Refused> {
        let open = self.find_open(&session)?.clone();
        let mark = self.engine.core.settled(&open.session).await?;
        self.sessions.remove(&session);
        Ok(mark)
    }

    fn find_open(&self, session: &SessionId) -> Result<&Arc<OpenSession>, Refused> {
        let found = self.sessions.get(session);
        found.ok_or(Refused::Protocol { wanted: "open the session on this connection first" })
    }
}

impl Drop for IngestSink {
    fn drop(&mut self) {
        self.connection.end_sink();
    }
}

impl IngestEvents {
    /// The next event; `None` after the sink is gone and everything is told. Cancel-safe.
    pub async fn next(&mut self) -> Option<IngestEvent> {
        self.connection.next_event().await
    }
}
