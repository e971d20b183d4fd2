//! The engine itself: opened over a store, shared by every connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use neptune_store::{Blobs, Store, StoreError};
use neptune_wire::{Digest, Micros};
use tokio::sync::watch;

use crate::Refused;
use crate::ingest::lane::Lanes;
use crate::life::Life;
use crate::patience::LastTick;
use crate::registry::Registry;
use crate::seal::Sealer;
use crate::series::SealedCache;

pub(crate) const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// Time that saving the job table gets at the end.
const SAVING: Duration = Duration::from_secs(10);

/// What the engine does after which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Points stay open for so long before they are sealed.
    pub seal_after_micros: i64,
    /// A deleted job can be restored for so long.
    pub restore_micros: i64,
    /// A blob that no job names is kept for so long: somebody may be about to name it, even from a spool.
    pub grace_micros: i64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            seal_after_micros: 60 * 1_000_000,
            restore_micros: 30 * DAY_MICROS,
            grace_micros: 7 * DAY_MICROS,
        }
    }
}

/// The one door to all rules; cheap to clone. Opened inside a tokio runtime, on which it commits in the background.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
    /// Ends the background work when the last engine is gone.
    _alive: Arc<Alive>,
}

/// What the engine's parts share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) registry: Registry,
    pub(crate) lanes: Lanes,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) sealed_cache: SealedCache,
    pub(crate) counters: Counters,
    /// No new writes are taken.
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) last_tick: LastTick,
    pub(crate) ticking: AtomicBool,
    pub(crate) life: Life,
}

/// Counted since the start.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) points: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) dropped_points: AtomicU64,
    pub(crate) refused_frames: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    pub(crate) removed_jobs: AtomicU64,
    pub(crate) removed_blobs: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    /// Numbers ingest connections.
    pub(crate) connections: AtomicU64,
}

struct Alive(Arc<Core>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.stopping.send_replace(true);
        self.0.lanes.wake();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Counters for `/metrics` and the settings page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Jobs in the store.
    pub jobs: u64,
    /// Jobs whose attempt is live.
    pub live_jobs: u64,
    /// Channels held in memory.
    pub channels: u64,
    /// Points stored since start.
    pub points: u64,
    /// Frames stored since start.
    pub frames: u64,
    /// Commits of frames (syncs) since start.
    pub commits: u64,
    /// Points dropped since start, by anyone.
    pub dropped_points: u64,
    /// Frames refused since start.
    pub refused_frames: u64,
    /// Points in memory that are not sealed yet.
    pub open_points: u64,
    /// Jobs whose metrics the job table lacks: not read yet, or unreadable.
    pub jobs_without_metrics: u64,
    /// Bytes of frames that are not sealed yet, of jobs in memory.
    pub unsealed_bytes: u64,
    /// Live subscriptions now.
    pub subscriptions: u64,
    /// Jobs deleted and restorable.
    pub deleted_jobs: u64,
    /// Jobs removed for good since start.
    pub removed_jobs: u64,
    /// Files of blobs removed since start.
    pub removed_blobs: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Projects whose files the collector passed over, because what they need cannot be read.
    pub projects_passed_over: u64,
    /// Disk full: reading works, writing resumes by itself.
    pub read_only: bool,
    /// The disk has failed, or the background work has: nothing is written until the next start.
    pub failed: bool,
}

impl Engine {
    /// Opens the engine over a store and its blobs: reads projects and jobs; what a job produced is read when asked for.
    ///
    /// Cost: a few microseconds and one to a few kilobytes of memory a job.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn open(store: Store, blobs: Blobs) -> Result<Engine, StoreError> {
        Self::open_with(store, blobs, Times::default()).await
    }

    /// The same, with other times.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn open_with(store: Store, blobs: Blobs, times: Times) -> Result<Engine, StoreError> {
        let registry = Registry::open(&store).await?;
        let life = Life::open(&store, times).await?;
        let core = Arc::new(Core {
            store,
            blobs,
            registry,
            lanes: Lanes::new(),
            sealer: Arc::new(Sealer::new(times.seal_after_micros)),
            sealed_cache: SealedCache::new(),
            counters: Counters::default(),
            stopping: watch::Sender::new(false),
            last_tick: LastTick::default(),
            ticking: AtomicBool::new(false),
            life,
        });
        core.begin_table().await?;
        Lanes::start(&core);
        core.start_sealing();
        tokio::spawn(core.clone().keep_table());
        tokio::spawn(core.clone().fill_table());
        tokio::spawn(core.clone().keep_table_saved());
        let alive = Arc::new(Alive(core.clone()));
        Ok(Engine { core, _alive: alive })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.core.store
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.core.blobs
    }

    /// What tells the store from every other ([`Store::identity`]).
    pub fn store_identity(&self) -> Digest {
        self.core.store.identity()
    }

    /// Counters now.
    pub fn stats(&self) -> Stats {
        let counters = &self.core.counters;
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (jobs, live_jobs, channels) = self.core.registry.count();
        Stats {
            jobs,
            live_jobs,
            channels,
            points: now(&counters.points),
            frames: now(&counters.frames),
            commits: now(&counters.commits),
            dropped_points: now(&counters.dropped_points),
            refused_frames: now(&counters.refused_frames),
            open_points: self.core.sealer.open_points(),
            jobs_without_metrics: self.core.registry.table.count_unread(),
            unsealed_bytes: self.core.sealer.open_bytes(),
            subscriptions: now(&counters.subscriptions),
            deleted_jobs: self.core.registry.list_deleted().len() as u64,
            removed_jobs: now(&counters.removed_jobs),
            removed_blobs: now(&counters.removed_blobs),
            freed_bytes: now(&counters.freed_bytes),
            projects_passed_over: now(&self.core.life.passed_over),
            read_only: self.is_read_only(),
            failed: self.has_failed(),
        }
    }

    /// Whether the disk is full: reading works, writing resumes by itself. Waits for nothing.
    pub fn is_read_only(&self) -> bool {
        self.core.store.disk().is_full()
    }

    /// Whether the disk or the background work has failed: nothing is written until the next start. Waits for nothing.
    pub fn has_failed(&self) -> bool {
        self.core.has_failed()
    }

    /// Moves what only time moves: silent and lost attempts, and memory of jobs that nobody asked about for a while.
    ///
    /// Called about once a second. Patience is counted in the time between two calls, at most [`TICK_MICROS_MAX`] of it:
    /// a clock that jumps, or a server that was stopped for a minute, makes nobody lost.
    ///
    /// [`TICK_MICROS_MAX`]: crate::patience::TICK_MICROS_MAX
    ///
    /// # Errors
    ///
    /// What hinders the store; the next call tries again.
    pub async fn tick(&self, now: Micros) -> Result<(), Refused> {
        // A tick that takes longer than the interval is not overtaken by the next.
        if self.core.ticking.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if self.store().disk().is_full() {
            // Nobody else may be writing; whatever it answers, the disk's state is known again.
            let _ = self.store().probe().await;
        }
        let moved = self.core.clone().watch_patience(now).await;
        self.core.sealer.tick(now);
        self.core.registry.forget_idle(now);
        self.core.begin_chores(now);
        self.core.ticking.store(false, Ordering::Release);
        moved
    }

    /// Commits what is pending and refuses further writes; the store may be closed after it.
    ///
    /// Frames that the disk has no room for stay unacknowledged, so their senders keep them.
    pub async fn stop(&self) {
        self.core.stopping.send_replace(true);
        self.core.lanes.stopped().await;
        self.core.sealing_stopped().await;
        // What is not saved in time is read again by the next start.
        let _ = tokio::time::timeout(SAVING, self.core.save_table()).await;
        self.core.store.close();
    }
}

impl Core {
    /// Whether new writes are taken.
    pub(crate) fn check_running(&self) -> Result<(), Refused> {
        if *self.stopping.borrow() { Err(Refused::Busy) } else { Ok(()) }
    }

    /// Whether nothing can be written until the next start.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.disk().has_failed() || self.lanes.has_failed() || self.sealer.has_failed()
    }

    /// Runs a change to its end, even if whoever asked for it goes away meanwhile: a commit that was begun must not be
    /// left without the memory that follows from it.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<T, Refused> {
        self.check_running()?;
        match tokio::spawn(change).await {
            Ok(outcome) => outcome,
            Err(broken) => Err(Refused::Storage(Box::new(broken))),
        }
    }
}
