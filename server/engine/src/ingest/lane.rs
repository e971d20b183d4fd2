//! Lanes: frames of all connections, committed together in the order they came.
//!
//! Every job belongs to one lane, and a lane has one commit on its way at a time: so frames of a job are stored and shown
//! in one order, and the next commit gathers while the last one syncs. Lanes commit side by side; the backend syncs once
//! for those that wait together. A commit takes what lined up within [`WINDOW`], or as much as fits ([`batch`]).
//!
//! What a commit meets: a full disk or a backend in trouble makes it wait, with everything behind it; an unknown fate is
//! settled by the store; a conflict means that somebody else wrote our job, so its memory is dropped and its senders start
//! again from what is stored.

mod batch;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use neptune_store::WriteError;
use neptune_store::key::shard_of;
use neptune_store::kv::Limits;
use neptune_wire::{Digest, JobUid};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;

use self::batch::Batch;
use super::OpenSession;
use super::connection::{Connection, PENDING_BYTES, Room};
use crate::Refused;
use crate::engine::Core;
use crate::heads::JobHeads;
use crate::registry::{JobCell, LOCK};

/// Commits on their way side by side.
const LANES: usize = 4;
/// How long a frame waits for company.
const WINDOW: Duration = Duration::from_millis(5);
/// Between two tries while the disk is full or the backend is in trouble.
const RETRY: Duration = Duration::from_millis(200);

/// All lanes.
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
    room: Arc<Semaphore>,
    running: watch::Sender<usize>,
    /// One has ended before its time, by a fault of this code.
    failed: AtomicBool,
}

/// One lane: what lined up and is not committed.
#[derive(Default)]
pub(crate) struct Lane {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    size_bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

/// What lines up.
pub(crate) enum Entry {
    /// A frame of a session.
    Frame(FrameEntry),
    /// Points that came as JSON.
    Json(JsonEntry),
}

/// One frame in line.
pub(crate) struct FrameEntry {
    pub(crate) open: Arc<OpenSession>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) seq: u64,
    pub(crate) what: What,
    /// Given back when the entry is settled.
    pub(crate) room: Room,
}

/// What is to be stored of a frame.
pub(crate) enum What {
    /// All of it, as it came.
    Frame { bytes: Bytes, points: u64, dropped: u64, logs: Vec<LogStep> },
    /// Only that its number is used up, how many points that lost, and a frame that says what of logs is missing.
    Refused { points: u64, why: Refused, stand_in: Option<(Bytes, Vec<LogStep>)> },
}

/// What a frame does to a log, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogStep {
    /// Bytes at an offset.
    Block { channel: u32, offset: u64, length: u64 },
    /// The sender lost so many bytes.
    Announced { channel: u32, bytes: u64 },
}

/// One request of JSON points in line: stored in one commit or not at all.
pub(crate) struct JsonEntry {
    pub(crate) cell: Arc<JobCell>,
    pub(crate) heads: Arc<JobHeads>,
    pub(crate) hash: Digest,
    pub(crate) asked: [u8; 32],
    pub(crate) frames: Vec<Bytes>,
    pub(crate) points: u64,
    pub(crate) stored: oneshot::Sender<Result<(), Refused>>,
    pub(crate) _room: OwnedSemaphorePermit,
}

impl What {
    /// Bytes that are held until it is settled.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            What::Frame { bytes, .. } => bytes.len(),
            What::Refused { stand_in, .. } => stand_in.as_ref().map_or(0, |(bytes, _)| bytes.len()),
        }
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
        match self {
            Entry::Frame(frame) => frame.what.size_bytes(),
            Entry::Json(json) => json.frames.iter().map(Bytes::len).sum(),
        }
    }

    /// Answers a request that the disk is full; keeps a frame.
    fn refuse_json(self) -> Option<Entry> {
        match self {
            Entry::Frame(_) => Some(self),
            Entry::Json(json) => {
                // Nobody waits for an answer any more if it cannot be sent.
                let _ = json.stored.send(Err(Refused::ReadOnly));
                None
            }
        }
    }
}

impl Lane {
    /// Puts an entry behind the others.
    pub(crate) fn line_up(&self, entry: Entry, limits: &Limits) {
        let mut queue = self.queue.lock().expect(LOCK);
        queue.size_bytes += entry.size_bytes();
        queue.entries.push_back(entry);
        queue.since.get_or_insert_with(Instant::now);
        // The lane sleeps until its window ends, so only the first entry and a full queue wake it.
        let wakes = queue.entries.len() == 1 || queue.is_full(limits);
        drop(queue);
        if wakes {
            self.more.notify_one();
        }
    }

    /// Answers the requests in line that the disk is full.
    fn refuse_json(&self) {
        let mut queue = self.queue.lock().expect(LOCK);
        let entries = std::mem::take(&mut queue.entries);
        queue.entries = entries.into_iter().filter_map(Entry::refuse_json).collect();
        queue.size_bytes = queue.entries.iter().map(Entry::size_bytes).sum();
        if queue.entries.is_empty() {
            queue.since = None;
        }
    }

    /// Waits for entries and takes as many as one commit holds; `None` when there are none and no more will come.
    async fn gather(&self, core: &Core) -> Option<Batch> {
        let limits = core.store.limits();
        loop {
            let due = {
                let mut queue = self.queue.lock().expect(LOCK);
                let stopping = *core.stopping.borrow();
                match queue.since {
                    None if stopping => return None,
                    None => None,
                    Some(since) if stopping || queue.is_full(&limits) || since.elapsed() >= WINDOW => {
                        return Some(queue.take(&limits));
                    }
                    Some(since) => Some(since + WINDOW),
                }
            };
            match due {
                None => self.more.notified().await,
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.more.notified() => {}
                },
            }
        }
    }
}

impl Queue {
    fn is_full(&self, limits: &Limits) -> bool {
        self.size_bytes >= limits.batch_bytes || self.entries.len() >= limits.batch_ops
    }

    fn take(&mut self, limits: &Limits) -> Batch {
        let mut batch = Batch::new(limits);
        while let Some(entry) = self.entries.pop_front() {
            let size_bytes = entry.size_bytes();
            if let Some(entry) = batch.add(entry) {
                self.entries.push_front(entry);
                break;
            }
            self.size_bytes -= size_bytes;
        }
        if self.entries.is_empty() {
            self.since = None;
        }
        batch
    }
}

impl Lanes {
    pub(crate) fn new() -> Lanes {
        Lanes {
            lanes: std::array::from_fn(|_| Lane::default()),
            room: Arc::new(Semaphore::new(PENDING_BYTES)),
            running: watch::Sender::new(LANES),
            failed: AtomicBool::new(false),
        }
    }

    /// Starts the background work; it ends when the engine stops.
    pub(crate) fn start(core: &Arc<Core>) {
        for at in 0..LANES {
            let core = core.clone();
            tokio::spawn(async move {
                let ended = Ended(&core);
                while let Some(batch) = core.lanes.lanes[at].gather(&core).await {
                    core.commit_batch(&core.lanes.lanes[at], batch).await;
                }
                drop(ended);
            });
        }
    }

    /// The lane of a job.
    pub(crate) fn lane_of(&self, job: &JobUid) -> &Lane {
        &self.lanes[usize::from(shard_of(job)) % LANES]
    }

    /// Room for frames of all connections.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        self.room.clone()
    }

    /// Whether one has ended before its time.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Makes every lane look whether to stop.
    pub(crate) fn wake(&self) {
        self.lanes.iter().for_each(|lane| lane.more.notify_one());
    }

    /// Waits until all lanes have ended.
    pub(crate) async fn stopped(&self) {
        self.wake();
        let mut running = self.running.subscribe();
        // The sender lives as long as the lanes do.
        let _ = running.wait_for(|running| *running == 0).await;
    }
}

/// Counts a lane out, however it ends.
struct Ended<'a>(&'a Core);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if !*self.0.stopping.borrow() {
            self.0.lanes.failed.store(true, Ordering::Relaxed);
            tracing::error!("a quarter of all jobs is not written any more; start the server again");
        }
        self.0.lanes.running.send_modify(|running| *running -= 1);
    }
}

impl Core {
    /// Commits a batch, and waits out whatever may pass.
    async fn commit_batch(&self, lane: &Lane, mut batch: Batch) {
        loop {
            let placed = batch.place();
            if placed.writes.is_empty() {
                return;
            }
            let error = match self.store.commit(placed.writes.clone()).await {
                Ok(()) => return placed.apply(self),
                Err(error) => error,
            };
            let passes = match &error {
                WriteError::ReadOnly => {
                    placed.tell_read_only(self.store.disk());
                    true
                }
                WriteError::Busy | WriteError::Store(_) => {
                    tracing::warn!(%error, "frames could not be stored yet; trying on");
                    true
                }
                WriteError::Conflict | WriteError::Closed | WriteError::Failed | WriteError::TooLarge(_) => {
                    false
                }
            };
            // What waits is not acknowledged, so nothing is lost by not waiting for it at the end.
            if !passes || *self.stopping.borrow() {
                tracing::error!(%error, "frames could not be stored; their senders keep them");
                return placed.give_back(self, error);
            }
            batch = placed.into_batch();
            if self.store.disk().is_full() {
                // Frames wait for room, as their senders know; a request wants an answer.
                batch.refuse_json();
                lane.refuse_json();
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
