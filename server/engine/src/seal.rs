//! Sealing: what is open of a job goes into chunks, then its frames are cleared.
//!
//! One round takes a job through: for every channel, all points of the frames that were applied when it was looked at are
//! compressed and committed together with the channel's state, which says so; then the head lets go of them. When all
//! channels are through, the frames are cleared. It may end anywhere: a channel is sealed up to some frame or is not, and
//! frames that some state does not hold yet are still there.
//!
//! [`Sealer`] says when a round is due.

mod due;
mod numeric;
mod sheets;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use neptune_store::kv::ReadError;
use neptune_store::{ChannelState, ChannelStateRecord, SealRecord, StoreError, WriteError, Writes};
use neptune_wire::JobUid;

pub(crate) use self::due::{Open, Sealer};
use self::numeric::Task;
use self::sheets::Prepared;
use crate::Refused;
use crate::engine::Core;
use crate::heads::numeric::NumericView;
use crate::heads::{Head, JobHeads};
use crate::registry::{JobCell, LOCK};

/// Channels that are looked at under one lock, and compressed together.
const GROUP_CHANNELS: usize = 256;
/// Points that are compressed together, where channels have many.
const GROUP_POINTS: u64 = 1 << 20;
/// Frames that are cleared one by one, with the state that lets go of them. More are cleared as a range, which costs a
/// commit of its own, and every later read of the log a little until it is compacted away.
const SINGLE_FRAMES: u64 = 512;
/// Between two tries while the disk is full or the backend is in trouble.
const RETRY: Duration = Duration::from_secs(1);

impl Core {
    /// Jobs that have frames, and those of which the disk does not say: one damaged place ends a list, but each job is found
    /// by itself.
    pub(crate) async fn list_jobs_with_frames(&self) -> Vec<JobUid> {
        let error = match self.store.list_jobs_with_frames().await {
            Ok(jobs) => return jobs,
            Err(error) => error,
        };
        tracing::warn!(%error, "frames cannot be listed; each job is looked at");
        let mut jobs = Vec::new();
        for project in self.registry.list_projects() {
            for cell in self.registry.list_cells(&project.key) {
                if *self.stopping.borrow() {
                    return jobs;
                }
                if !matches!(self.store.has_frames(&cell.uid).await, Ok(false)) {
                    jobs.push(cell.uid);
                }
            }
        }
        jobs
    }

    /// Seals what the last life of the server left open, one job after the other, so that memory holds one of them. Answers
    /// whether all of it was read: a job that cannot be is not in the way of the others.
    async fn seal_leftovers(&self) -> bool {
        let mut all = true;
        for uid in self.list_jobs_with_frames().await {
            let Some(cell) = self.registry.find_uid(&uid) else { continue };
            if *self.stopping.borrow() {
                return false;
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
        all
    }

    async fn seal_leftover(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        let heads = cell.heads(self).await?;
        // Clearing them may have been cut off.
        heads.uncleared.store(true, Ordering::Relaxed);
        Ok(self.seal_job(&heads).await?)
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
        let leftovers = self.seal_leftovers().await;
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
                    if self.store.disk().has_failed() {
                        // Whoever waits for room waits in vain until the next start.
                        self.sealer.fail();
                    }
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
        self.0.sealer.fail();
        // Nor will what was left over be gone through.
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
            self.commit(None).await?;
        } else if through - cleared > SINGLE_FRAMES {
            self.commit(Some(through)).await?;
            self.heads.uncleared.store(true, Ordering::Relaxed);
        } else {
            let mut frames = Writes::new();
            (cleared + 1..=through).for_each(|seq| frames.delete_frame(&self.heads.uid, seq));
            self.make_room(&frames).await?;
            self.writes.append(frames);
            self.commit(Some(through)).await?;
        }
        self.clear_range().await
    }

    /// Clears frames that the seal lets go of, until it has gone well once.
    async fn clear_range(&self) -> Result<(), WriteError> {
        if self.heads.uncleared.load(Ordering::Relaxed) {
            if let Some(seal) = self.seal {
                self.core.store.clear_frames(&self.heads.uid, seal.cleared).await?;
            }
            self.heads.uncleared.store(false, Ordering::Relaxed);
        }
        Ok(())
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
