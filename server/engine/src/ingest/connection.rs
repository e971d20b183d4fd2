//! One ingest connection: room for what it has pending, and the events it is still to be told.
//!
//! Acknowledgements and gaps are states, not messages: a session has at most one of each waiting, the newest. Other events
//! queue; a sender that does not read them is not listened to ([`Connection::room_for_events`]).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use neptune_store::Disk;
use neptune_wire::SessionId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::IngestEvent;
use crate::Refused;
use crate::engine::Core;
use crate::registry::LOCK;

/// Bytes of frames one connection may have pending: several commits, so that a fast sender never waits for a slow answer.
const CONNECTION_BYTES: usize = 4 << 20;
/// Bytes of frames all connections together may have pending.
pub(crate) const PENDING_BYTES: usize = 256 << 20;
/// What a pending frame costs besides its bytes.
const ENTRY_BYTES: usize = 512;
/// Events that may wait before further frames do.
const EVENTS: usize = 1_000;

/// One connection, shared by its sink, its events and its pending frames.
pub(crate) struct Connection {
    number: u64,
    room: Arc<Semaphore>,
    events: Mutex<Events>,
    told: Notify,
    heard: Notify,
}

#[derive(Default)]
struct Events {
    queue: VecDeque<IngestEvent>,
    acked: HashMap<SessionId, u64>,
    gaps: HashMap<SessionId, u64>,
    /// Frames lined up and not settled.
    pending: usize,
    sink_gone: bool,
    /// The last episode of a full disk that was told of.
    full_told: u64,
}

/// Room that a pending frame takes; given back when it is settled.
pub(crate) struct Room {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
    counted: Arc<Connection>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.counted.events.lock().expect(LOCK).pending -= 1;
        self.counted.told.notify_one();
    }
}

impl Connection {
    pub(crate) fn new(number: u64) -> Connection {
        Connection {
            number,
            room: Arc::new(Semaphore::new(CONNECTION_BYTES)),
            events: Mutex::default(),
            told: Notify::new(),
            heard: Notify::new(),
        }
    }

    /// Which connection it is, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until a frame of that size may be pending.
    pub(crate) async fn room_for(self: &Arc<Self>, size_bytes: usize, core: &Core) -> Room {
        const OPEN: &str = "these semaphores are never closed";
        let bytes = (size_bytes + ENTRY_BYTES) as u32;
        let own = self.room.clone().acquire_many_owned(bytes).await.expect(OPEN);
        let shared = core.lanes.room().acquire_many_owned(bytes).await.expect(OPEN);
        self.events.lock().expect(LOCK).pending += 1;
        Room { _own: own, _shared: shared, counted: self.clone() }
    }

    /// Waits while too many events wait to be told.
    pub(crate) async fn room_for_events(&self) {
        while self.events.lock().expect(LOCK).queue.len() >= EVENTS {
            self.heard.notified().await;
        }
    }

    pub(crate) fn tell(&self, event: IngestEvent) {
        self.events.lock().expect(LOCK).queue.push_back(event);
        self.told.notify_one();
    }

    pub(crate) fn acked(&self, session: SessionId, mark: u64) {
        self.events.lock().expect(LOCK).acked.insert(session, mark);
        self.told.notify_one();
    }

    pub(crate) fn gap(&self, session: SessionId, expected: u64) {
        self.events.lock().expect(LOCK).gaps.insert(session, expected);
        self.told.notify_one();
    }

    /// Says that the disk is full, once each time it fills up.
    pub(crate) fn tell_read_only(&self, session: SessionId, disk: &Disk) {
        let Some(episode) = disk.episode() else { return };
        let mut events = self.events.lock().expect(LOCK);
        if std::mem::replace(&mut events.full_told, episode) != episode {
            let trouble = IngestEvent::Trouble { session: Some(session), why: Refused::ReadOnly };
            events.queue.push_back(trouble);
            self.told.notify_one();
        }
    }

    /// No further frames will come.
    pub(crate) fn end_sink(&self) {
        self.events.lock().expect(LOCK).sink_gone = true;
        self.told.notify_one();
    }

    /// The next event; refusals come before the acknowledgement that covers them.
    pub(crate) async fn next_event(&self) -> Option<IngestEvent> {
        loop {
            if let Some(next) = self.events.lock().expect(LOCK).next() {
                self.heard.notify_one();
                return next;
            }
            self.told.notified().await;
        }
    }
}

impl Events {
    /// The next event, if one is there; `Some(None)` when none will come any more.
    fn next(&mut self) -> Option<Option<IngestEvent>> {
        if let Some(event) = self.queue.pop_front() {
            return Some(Some(event));
        }
        if let Some(session) = self.gaps.keys().next().copied() {
            let expected = self.gaps.remove(&session)?;
            return Some(Some(IngestEvent::Gap { session, expected }));
        }
        if let Some(session) = self.acked.keys().next().copied() {
            let acked = self.acked.remove(&session)?;
            return Some(Some(IngestEvent::Acked { session, acked }));
        }
        (self.sink_gone && self.pending == 0).then_some(None)
    }
}
