//! When a round of sealing is due: which jobs have something open, how old and how much it is.
//!
//! A round is due when a job's oldest open frame is [`Times::seal_after_micros`] old, when its frames take more than
//! [`ROUND_BYTES`], or when all open points together take more memory than [`OPEN_POINTS`] stand for; then the jobs
//! with the most come first, and whoever fills them waits for room.
//!
//! [`Times::seal_after_micros`]: crate::Times::seal_after_micros

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use neptune_wire::{JobUid, Micros};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::heads::JobHeads;
use crate::registry::LOCK;

/// Frames of one job that are sealed without waiting.
const ROUND_BYTES: u64 = 16 << 20;
/// Frames of one job for each of its open channels, below which a round would make parts too small.
const CHANNEL_BYTES: u64 = 2 << 10;
/// Open points of all jobs, at 8 to 24 bytes each; above it senders wait for room.
const OPEN_POINTS: u64 = 48 << 20;
/// From here on rounds begin without waiting.
const MANY_POINTS: u64 = OPEN_POINTS / 4 * 3;

/// Which jobs have something open, and how much there is of it.
pub(crate) struct Sealer {
    open: Mutex<HashMap<JobUid, Arc<JobHeads>>>,
    /// Open points of all jobs in memory.
    points: AtomicU64,
    pub(super) due: Notify,
    sealed: Notify,
    /// The present, as of the last tick.
    now: AtomicI64,
    after_micros: i64,
    /// Held over a round.
    pub(super) round: tokio::sync::Mutex<()>,
    pub(super) task: Mutex<Option<JoinHandle<()>>>,
    /// It ended before its time.
    failed: AtomicBool,
}

/// What a job has open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// When the oldest of it came, by the time of ticks; 0 for nothing.
    since: AtomicI64,
    /// Bytes of frames since the last round.
    bytes: AtomicU64,
    points: AtomicU64,
    is_listed: AtomicBool,
}

impl Sealer {
    pub(crate) fn new(after_micros: i64) -> Sealer {
        Sealer {
            open: Mutex::default(),
            points: AtomicU64::new(0),
            due: Notify::new(),
            sealed: Notify::new(),
            now: AtomicI64::new(0),
            after_micros,
            round: tokio::sync::Mutex::default(),
            task: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// Frames were added to a job.
    pub(crate) fn added(&self, heads: &Arc<JobHeads>, bytes: u64, points: u64) {
        let open = &heads.open;
        let bytes = open.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        open.points.fetch_add(points, Ordering::Relaxed);
        let all = self.points.fetch_add(points, Ordering::Relaxed) + points;
        if !open.is_listed.swap(true, Ordering::AcqRel) {
            open.since.store(self.now.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
            self.open.lock().expect(LOCK).insert(heads.uid, heads.clone());
        }
        if self.after_micros == 0 || bytes >= ROUND_BYTES || all >= MANY_POINTS {
            self.due.notify_one();
        }
    }

    /// A round begins; answers the last frame it takes, and the bytes of frames so far.
    pub(super) fn begin(&self, heads: &JobHeads) -> (u64, u64) {
        let inner = heads.lock();
        // What comes from now on is as old as the round.
        heads.open.since.store(self.now.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        (inner.applied, heads.open.bytes.load(Ordering::Relaxed))
    }

    /// A round has ended well.
    pub(super) fn finish(&self, heads: &JobHeads, through: u64, bytes: u64) {
        let mut listed = self.open.lock().expect(LOCK);
        let inner = heads.lock();
        heads.open.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if inner.applied == through {
            heads.open.is_listed.store(false, Ordering::Release);
            listed.remove(&heads.uid);
        }
    }

    /// Points of a job lie in chunks now.
    pub(super) fn sealed(&self, heads: &JobHeads, points: u64) {
        heads.open.points.fetch_sub(points, Ordering::Relaxed);
        self.points.fetch_sub(points, Ordering::Relaxed);
        self.sealed.notify_waiters();
    }

    /// A job's heads are gone from memory.
    pub(crate) fn forget(&self, open: &Open) {
        self.points.fetch_sub(open.points.load(Ordering::Relaxed), Ordering::Relaxed);
        self.sealed.notify_waiters();
    }

    /// Heads that differ from what is stored are not sealed; those that are read in their place will be.
    pub(crate) fn drop_stale(&self, heads: &Arc<JobHeads>) {
        let mut open = self.open.lock().expect(LOCK);
        if open.get(&heads.uid).is_some_and(|listed| Arc::ptr_eq(listed, heads)) {
            open.remove(&heads.uid);
        }
        drop(open);
        // Nobody makes room in them any more.
        self.sealed.notify_waiters();
    }

    /// Waits for the end of the round that is under way. Rounds that begin later find out which heads are stale by now.
    pub(crate) async fn round_ended(&self) {
        drop(self.round.lock().await);
    }

    /// Waits until there is room for more open points. Only those wait that fill a job with more than its share.
    pub(crate) async fn room(&self, heads: &JobHeads, stopping: &watch::Sender<bool>) {
        loop {
            let sealed = self.sealed.notified();
            let has_room = self.points.load(Ordering::Relaxed) < OPEN_POINTS;
            if has_room || self.has_failed() || *stopping.borrow() || heads.check_current().is_err() {
                return;
            }
            let share = OPEN_POINTS / (self.open.lock().expect(LOCK).len() as u64).max(1);
            if heads.open.points.load(Ordering::Relaxed) < share {
                return;
            }
            self.due.notify_one();
            sealed.await;
        }
    }

    /// Whether nothing is sealed until the next start.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Nothing is sealed until the next start, and nobody makes room.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.sealed.notify_waiters();
    }

    /// Open points in memory.
    pub(crate) fn open_points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    /// Bytes of frames that are not sealed, of jobs in memory.
    pub(crate) fn open_bytes(&self) -> u64 {
        let open = self.open.lock().expect(LOCK);
        open.values().map(|heads| heads.open.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Lets rounds begin that only time makes due.
    pub(crate) fn tick(&self, now: Micros) {
        self.now.store(now.0, Ordering::Relaxed);
        self.due.notify_one();
    }

    /// Jobs whose round is due, the one with the most first.
    pub(super) fn list_due(&self) -> Vec<Arc<JobHeads>> {
        let now = self.now.load(Ordering::Relaxed);
        let many = self.points.load(Ordering::Relaxed) >= MANY_POINTS;
        let open = self.open.lock().expect(LOCK);
        let is_due = |heads: &&Arc<JobHeads>| {
            let age = now - heads.open.since.load(Ordering::Relaxed);
            // A clock that went back does not make anything younger.
            let is_old = age >= self.after_micros || age < 0;
            let bytes = heads.open.bytes.load(Ordering::Relaxed);
            many || is_old || bytes >= ROUND_BYTES && bytes >= heads.lock().open_channels * CHANNEL_BYTES
        };
        let mut due: Vec<Arc<JobHeads>> = open.values().filter(is_due).cloned().collect();
        due.sort_by_key(|heads| std::cmp::Reverse(heads.open.points.load(Ordering::Relaxed)));
        if many {
            // Not all of them: what is left fills up meanwhile.
            due.truncate(due.len() / 2 + 1);
        }
        due
    }
}
