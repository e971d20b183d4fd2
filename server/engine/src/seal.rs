//! Sealing: what is open of a job goes into chunks, then its frames are cleared.
//!
//! One round takes a job through: for every channel, all points of the frames that were applied when it was looked at are
//! compressed and committed together with the channel's state, which says so; then the head lets go of them. When all
//! channels are through, the frames are cleared. It may end anywhere: a channel is sealed up to some frame or is not, and
//! frames that some state does not hold yet are still there.
//!
//! A round is due when a job's oldest open frame is [`Times::seal_after_micros`] old, when its frames take more than
//! [`ROUND_BYTES`], or when all open points together take more memory than [`OPEN_POINTS`] stand for; then the jobs
//! with the most come first, and whoever fills them waits for room.
//!
//! [`Times::seal_after_micros`]: crate::Times::seal_after_micros

mod numeric;
mod sheets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use neptune_store::kv::ReadError;
use neptune_store::{ChannelState, ChannelStateRecord, SealRecord, StoreError, WriteError, Writes};
use neptune_wire::{JobUid, Micros};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::numeric::Task;
use self::sheets::Prepared;
use crate::Refused;
use crate::engine::Core;
use crate::heads::numeric::NumericView;
use crate::heads::{Head, JobHeads};
use crate::registry::{JobCell, LOCK};

/// Frames of one job that are sealed without waiting.
const ROUND_BYTES: u64 = 16 << 20;
/// Frames of one job for each of its open channels, below which a round would make parts too small.
const CHANNEL_BYTES: u64 = 2 << 10;
/// Open points of all jobs, at 8 to 24 bytes each; above it senders wait for room.
const OPEN_POINTS: u64 = 48 << 20;
/// From here on rounds begin without waiting.
const MANY_POINTS: u64 = OPEN_POINTS / 4 * 3;
/// Channels that are looked at under one lock, and compressed together.
const GROUP_CHANNELS: usize = 256;
/// Points that are compressed together, where channels have many.
const GROUP_POINTS: u64 = 1 << 20;
/// Frames that are cleared one by one, with the state that lets go of them. More are cleared as a range, which costs a
/// commit of its own, and every later read of the log a little until it is compacted away.
const SINGLE_FRAMES: u64 = 512;
/// Between two tries while the disk is full or the backend is in trouble.
const RETRY: Duration = Duration::from_secs(1);

/// Which jobs have something open, and how much there is of it.
pub(crate) struct Sealer {
    open: Mutex<HashMap<JobUid, Arc<JobHeads>>>,
    /// Open points of all jobs in memory.
    points: AtomicU64,
    due: Notify,
    sealed: Notify,
    /// The present, as of the last tick.
    now: AtomicI64,
    after_micros: i64,
    /// Held over a round.
    round: tokio::sync::Mutex<()>,
    task: Mutex<Option<JoinHandle<()>>>,
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
    fn begin(&self, heads: &JobHeads) -> (u64, u64) {
        let inner = heads.lock();
        // What comes from now on is as old as the round.
        heads.open.since.store(self.now.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        (inner.applied, heads.open.bytes.load(Ordering::Relaxed))
    }

    /// A round has ended well.
    fn finish(&self, heads: &JobHeads, through: u64, bytes: u64) {
        let mut listed = self.open.lock().expect(LOCK);
        let inner = heads.lock();
        heads.open.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if inner.applied == through {
            heads.open.is_listed.store(false, Ordering::Release);
            listed.remove(&heads.uid);
        }
    }

    /// Points of a job lie in chunks now.
    fn sealed(&self, heads: &JobHeads, points: u64) {
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
    fn list_due(&self) -> Vec<Arc<JobHeads>> {
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

impl Core {
    /// Seals what the last life of the server left open, one job after the other, so that memory holds one of them. Answers
    /// whether all of it was read: a job that cannot be is not in the way of the others.
    async fn seal_leftovers(&self) -> Result<bool, StoreError> {
        let mut all = true;
        for uid in self.store.list_jobs_with_frames().await? {
            let Some(cell) = self.registry.find_uid(&uid) else { continue };
            if *self.stopping.borrow() {
                return Ok(false);
            }
            match self.seal_leftover(&cell).await {
                // It is being removed.
                Ok(()) | Err(Refused::JobGone { .. }) => {}
                Err(error) => {
                    all = false;
                    tracing::warn!(job = %uid, %error, "what is left from before the start cannot be sealed yet");
                }
            }
        }
        Ok(all)
    }

    async fn seal_leftover(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        let heads = cell.heads(self).await?;
        self.clear_sealed(&heads).await?;
        Ok(self.seal_job(&heads).await?)
    }

    /// Clears frames behind a seal that says they are: their clearing may have been cut off.
    async fn clear_sealed(&self, heads: &JobHeads) -> Result<(), WriteError> {
        let _one = self.sealer.round.lock().await;
        let cleared = heads.seal.lock().await.map_or(0, |seal| seal.cleared);
        if cleared > 0 && heads.check_current().is_ok() {
            self.store.clear_frames(&heads.uid, cleared).await?;
        }
        Ok(())
    }

    /// Starts the background work; it ends when the engine stops.
    pub(crate) fn start_sealing(self: &Arc<Self>) {
        let task = tokio::spawn(self.clone().seal_due());
        *self.sealer.task.lock().expect(LOCK) = Some(task);
    }

    /// Waits until the background work has ended, once the engine stops.
    pub(crate) async fn sealing_stopped(&self) {
        let task = self.sealer.task.lock().expect(LOCK).take();
        if let Some(task) = task {
            // However it ended, it has.
            let _ = task.await;
        }
    }

    /// Seals what is due until the engine stops.
    async fn seal_due(self: Arc<Self>) {
        let ended = Ended(&self);
        let mut stopping = self.stopping.subscribe();
        let leftovers = self.seal_leftovers().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "frames from before the start could not be sealed yet");
            false
        });
        self.registry.table.leftovers.send_replace(Some(leftovers));
        loop {
            tokio::select! {
                () = self.sealer.due.notified() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return drop(ended),
            }
            for heads in self.sealer.list_due() {
                if *self.stopping.borrow() {
                    return drop(ended);
                }
                if let Err(error) = self.seal_job(&heads).await {
                    tracing::warn!(job = %heads.uid, %error, "points could not be sealed yet; their frames stay");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Takes one job through a round.
    ///
    /// # Errors
    ///
    /// What hinders the store. What was sealed until then stays so; the rest is taken by the next round.
    pub(crate) async fn seal_job(&self, heads: &Arc<JobHeads>) -> Result<(), WriteError> {
        let _one = self.sealer.round.lock().await;
        let mut seal = heads.seal.lock().await;
        if heads.check_current().is_err() {
            self.sealer.drop_stale(heads);
            return Ok(());
        }
        let (through, bytes) = self.sealer.begin(heads);
        let mut round = Round { core: self, heads, seal: *seal, writes: Writes::new(), done: Vec::new() };
        let result = round.run(through).await;
        *seal = round.seal;
        match &result {
            Ok(()) => self.sealer.finish(heads, through, bytes),
            Err(WriteError::Conflict) => {
                // Somebody else wrote our job: what is in memory of it differs from what is stored.
                heads.make_stale();
                self.sealer.drop_stale(heads);
                if let Some(cell) = self.registry.find_uid(&heads.uid) {
                    cell.forget_heads(heads);
                    self.registry.table.note_unread(&cell);
                }
            }
            Err(_) => {}
        }
        result
    }
}

/// Says that nothing is sealed any more, however it came to that.
struct Ended<'a>(&'a Core);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if *self.0.stopping.borrow() {
            return;
        }
        tracing::error!("points are not sealed any more; start the server again");
        self.0.sealer.failed.store(true, Ordering::Relaxed);
        // Nobody makes room any more, nor will what was left over be gone through.
        self.0.sealer.sealed.notify_waiters();
        self.0.registry.table.leftovers.send_if_modified(|leftovers| {
            let was_open = leftovers.is_none();
            leftovers.get_or_insert(false);
            was_open
        });
    }
}

/// One job on its way.
struct Round<'a> {
    core: &'a Core,
    heads: &'a Arc<JobHeads>,
    seal: Option<SealRecord>,
    /// What the next commit writes, and the states among it.
    writes: Writes,
    done: Vec<(u32, ChannelStateRecord)>,
}

/// A channel that has something open, as of one moment.
struct Looked {
    channel: u32,
    /// The last frame in it.
    seq: u64,
    /// What the block it ends in lies in.
    parts: Vec<u32>,
    view: NumericView,
}

impl Round<'_> {
    async fn run(&mut self, through: u64) -> Result<(), WriteError> {
        let mut next = 0;
        while let Some(group) = self.look(&mut next) {
            let mut tasks = Vec::with_capacity(group.len());
            for Looked { channel, seq, parts, view } in group {
                let task = Task::gather(&self.core.store, self.heads.uid, channel, parts, view).await?;
                tasks.push((channel, seq, task));
            }
            let encode = move || tasks.into_iter().map(|(channel, seq, task)| (channel, seq, task.encode()));
            let sealed = tokio::task::spawn_blocking(move || encode().collect::<Vec<_>>()).await;
            for (channel, seq, sealed) in
                sealed.map_err(|broken| StoreError::Read(ReadError::Io(broken.into())))?
            {
                let state = ChannelState::Numeric(sealed.state);
                self.add(channel, ChannelStateRecord { seq, state }, sealed.pieces).await?;
            }
        }
        // What is compressed is kept, whatever becomes of the rest.
        self.commit(None).await?;
        self.seal_sheets(through).await?;
        let is_readable = self.heads.lock().unreadable == 0;
        let cleared = self.seal.map_or(0, |seal| seal.cleared);
        if !is_readable || cleared >= through {
            return self.commit(None).await;
        }
        if through - cleared > SINGLE_FRAMES {
            self.commit(Some(through)).await?;
            return self.core.store.clear_frames(&self.heads.uid, through).await;
        }
        let mut frames = Writes::new();
        (cleared + 1..=through).for_each(|seq| frames.delete_frame(&self.heads.uid, seq));
        self.make_room(&frames).await?;
        self.writes.append(frames);
        self.commit(Some(through)).await
    }

    /// The next channels that have something open, from number `next` on; `None` behind the last.
    fn look(&self, next: &mut u32) -> Option<Vec<Looked>> {
        let inner = self.heads.lock();
        let mut group = Vec::new();
        let (mut looked, mut points) = (0, 0);
        while let Some(channel) = inner.channels.get(*next as usize) {
            if looked == GROUP_CHANNELS || points >= GROUP_POINTS {
                return Some(group);
            }
            if let Head::Numeric(head) = &channel.head
                && head.open_count() > 0
            {
                points += head.open_count();
                looked += 1;
                let (parts, view) = (head.sealed_parts().to_vec(), head.view());
                group.push(Looked { channel: *next, seq: inner.applied, parts, view });
            }
            *next += 1;
        }
        (!group.is_empty()).then_some(group)
    }

    /// Seals what is open of text, logs and images in frames up to `through`.
    ///
    /// # Errors
    ///
    /// That a channel cannot be sealed is said when the others are.
    async fn seal_sheets(&mut self, through: u64) -> Result<(), WriteError> {
        let channels = {
            let inner = self.heads.lock();
            let others = (0..).zip(&inner.channels).filter(|(_, channel)| !channel.head.is_numeric());
            others.map(|(number, _)| number).collect::<Vec<u32>>()
        };
        let mut failed = None;
        for channel in channels {
            loop {
                let prepared = match sheets::prepare(&self.core.store, self.heads, channel, through).await {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        let error = StoreError::Read(ReadError::Io(error.into()));
                        tracing::warn!(job = %self.heads.uid, channel, %error, "a channel cannot be sealed");
                        failed.get_or_insert(error);
                        break;
                    }
                };
                let Some(Prepared { pieces, state, is_all }) = prepared else { break };
                self.add(channel, state, pieces).await?;
                if is_all {
                    break;
                }
                // What comes next goes on from here.
                self.commit(None).await?;
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => {
                self.commit(None).await?;
                Err(error.into())
            }
        }
    }

    /// Adds what was made of a channel to the next commits, its state to the last of them.
    async fn add(
        &mut self,
        channel: u32,
        record: ChannelStateRecord,
        mut pieces: Vec<Writes>,
    ) -> Result<(), WriteError> {
        let mut last = pieces.pop().unwrap_or_default();
        last.put_channel_state(&self.heads.uid, channel, &record);
        for piece in pieces {
            self.make_room(&piece).await?;
            self.writes.append(piece);
        }
        self.make_room(&last).await?;
        self.writes.append(last);
        self.done.push((channel, record));
        Ok(())
    }

    /// Commits what is there unless `more` fits beside it.
    async fn make_room(&mut self, more: &Writes) -> Result<(), WriteError> {
        let mut seal = Writes::new();
        self.put_seal(&mut seal, None);
        seal.append(more.clone());
        if self.writes.has_room_for(&seal, &self.core.store.limits()) {
            return Ok(());
        }
        self.commit(None).await
    }

    /// Replaces the job's seal: whoever else seals it meets a conflict.
    fn put_seal(&self, writes: &mut Writes, cleared: Option<u64>) -> SealRecord {
        let old = self.seal.unwrap_or_default();
        let new = SealRecord { cleared: cleared.unwrap_or(old.cleared), commits: old.commits + 1 };
        writes.put_seal(&self.heads.uid, self.seal.as_ref(), &new);
        new
    }

    /// Commits what is there; heads let go of what lies in chunks then.
    async fn commit(&mut self, cleared: Option<u64>) -> Result<(), WriteError> {
        let mut writes = std::mem::take(&mut self.writes);
        if writes.is_empty() && cleared.is_none() {
            return Ok(());
        }
        let seal = self.put_seal(&mut writes, cleared);
        self.core.store.commit(writes).await?;
        self.seal = Some(seal);
        let mut points = 0;
        let mut inner = self.heads.lock();
        for (channel, record) in self.done.drain(..) {
            points += inner.seal_channel(channel, record);
        }
        drop(inner);
        self.core.sealer.sealed(self.heads, points);
        Ok(())
    }
}
