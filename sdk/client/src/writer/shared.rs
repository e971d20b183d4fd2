//! What callers and the background thread share: the channel table, who has something, wishes and counts.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use neptune_wire::ingest::SESSION_CHANNELS;
use neptune_wire::job::PatchJob;
use neptune_wire::problem::Code;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, CreateChart, JobRef, Problem};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::buffer::Budget;
use super::channel::Core;
use super::{ChannelError, Flushed, Stats, WriterSettings};
use crate::notice::Notice;
use crate::rest::{Rest, RestError};

const LOCKED: &str = "nothing panics while it holds this lock";
/// Changes of a job that may wait; a program makes a few dozen.
const REQUESTS: usize = 10_000;
/// The longest wait of a caller; an `Instant` cannot name every `Duration` from now.
const WAIT_AT_MOST: Duration = Duration::from_secs(365 * 24 * 3600);
/// After its deadline a caller waits so long for the disk to take what the server did not.
const DISK_WITHIN: Duration = Duration::from_secs(2);
/// How long a closer waits for the session's end beyond the flush.
const GOODBYE_WITHIN: Duration = Duration::from_millis(1500);

/// A change of the job that is no point; sent in order, each may be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Patch(PatchJob),
    Chart(CreateChart),
}

impl Request {
    /// Sends it; may be repeated.
    pub(crate) async fn send(&self, rest: &Rest, job: &JobRef) -> Result<(), RestError> {
        match self {
            Self::Patch(patch) => rest.patch_job(job, patch).await.map(drop),
            Self::Chart(chart) => rest.create_chart(job, chart).await.map(drop),
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Patch(_) => "a change of the job".into(),
            Self::Chart(chart) => format!("chart \"{}\"", chart.name),
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) settings: WriterSettings,
    pub(super) budget: Budget,
    pub(super) image_budget: Budget,
    channels: RwLock<Channels>,
    dirty: Mutex<Vec<u32>>,
    requests: Mutex<VecDeque<Request>>,
    /// Here and with the background thread.
    waiting_requests: AtomicUsize,
    /// Wakes the background thread before its next turn.
    pub(super) notify: Notify,
    woken: AtomicBool,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

#[derive(Debug, Default)]
struct Channels {
    by_name: HashMap<ChannelName, Arc<Core>>,
    by_number: Vec<Arc<Core>>,
    /// The writer is closed, and every channel that is opened now is too.
    closed: bool,
}

/// What callers wish and how far the background thread is.
#[derive(Debug, Default)]
struct Progress {
    /// Flushes asked for, ever; numbers the next one.
    flushes: u64,
    /// Those the background thread has not seen.
    wanted: Vec<(u64, Instant)>,
    /// Those it has answered and whose caller has not seen it.
    answers: HashMap<u64, Flushed>,
    /// The session is to end.
    close: bool,
    /// The background thread has ended.
    ended: bool,
    /// The last answer.
    last: Option<Flushed>,
    stats: Stats,
}

impl Shared {
    pub(super) fn new(settings: WriterSettings) -> Self {
        Self {
            budget: Budget::new(settings.limits.memory_bytes),
            image_budget: Budget::new(settings.limits.image_memory_bytes),
            settings,
            channels: RwLock::default(),
            dirty: Mutex::default(),
            requests: Mutex::default(),
            waiting_requests: AtomicUsize::new(0),
            notify: Notify::new(),
            woken: AtomicBool::new(false),
            progress: Mutex::default(),
            progressed: Condvar::new(),
        }
    }

    pub(super) fn open_channel(
        &self,
        name: &ChannelName,
        kind: ChannelKind,
        origin: ChannelOrigin,
    ) -> Result<Arc<Core>, ChannelError> {
        if name.is_system() == (origin == ChannelOrigin::User) {
            return Err(ChannelError::Reserved { name: name.clone() });
        }
        let mut channels = self.channels.write().expect(LOCKED);
        if let Some(core) = channels.by_name.get(name) {
            if core.kind != kind || core.origin != origin {
                return Err(ChannelError::KindDiffers { name: name.clone(), found: core.kind, wanted: kind });
            }
            return Ok(Arc::clone(core));
        }
        let number = channels.by_number.len() as u32;
        if number >= SESSION_CHANNELS {
            return Err(ChannelError::TooMany);
        }
        let core = Arc::new(Core::new(number, name.clone(), kind, origin));
        core.buffer().closed = channels.closed;
        channels.by_name.insert(name.clone(), Arc::clone(&core));
        channels.by_number.push(Arc::clone(&core));
        Ok(core)
    }

    /// Opens a parent's channel in its forked child. A log does not go on here: its offsets are the parent's.
    pub(super) fn reopen_channel(&self, parent: &Core) -> Arc<Core> {
        let core = self.open_channel(&parent.name, parent.kind, parent.origin);
        let core = core.expect("a child opens nothing but what its parent opened under the same rules");
        if parent.origin.is_log() {
            core.buffer().closed = true;
        }
        core
    }

    pub(super) fn find_channel(&self, number: u32) -> Option<Arc<Core>> {
        self.channels.read().expect(LOCKED).by_number.get(number as usize).cloned()
    }

    /// Channels from this number on.
    pub(super) fn list_channels_from(&self, number: usize) -> Vec<Arc<Core>> {
        self.channels.read().expect(LOCKED).by_number.get(number..).unwrap_or_default().to_vec()
    }

    pub(super) fn mark_dirty(&self, number: u32) {
        self.dirty.lock().expect(LOCKED).push(number);
    }

    pub(super) fn take_dirty(&self, into: &mut Vec<u32>) {
        into.clear();
        std::mem::swap(&mut *self.dirty.lock().expect(LOCKED), into);
    }

    /// Queues a change; one that comes when too many wait is refused.
    pub(super) fn push_request(&self, request: Request) {
        if self.waiting_requests.load(Ordering::Relaxed) >= REQUESTS {
            let problem =
                Problem::new(Code::Busy, format!("{REQUESTS} changes of this job wait to be sent already"));
            return self.settings.notices.say(Notice::RequestRefused { what: request.describe(), problem });
        }
        self.waiting_requests.fetch_add(1, Ordering::Relaxed);
        self.requests.lock().expect(LOCKED).push_back(request);
    }

    /// A change was sent, or refused for good.
    pub(super) fn request_done(&self) {
        self.waiting_requests.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take_requests(&self) -> VecDeque<Request> {
        std::mem::take(&mut *self.requests.lock().expect(LOCKED))
    }

    /// Asks the background thread to take its turn now; once per turn.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// A turn begins: it sees everything that was pushed before.
    pub(super) fn begin_turn(&self) {
        self.woken.store(false, Ordering::Relaxed);
    }

    /// Waits for a flush, and after its time a little for the disk.
    pub(super) fn flush(&self, within: Duration) -> Flushed {
        self.wait(within, false)
    }

    pub(super) fn close(&self, within: Duration) -> Flushed {
        let flushed = self.wait(within, true);
        let by = Instant::now() + GOODBYE_WITHIN;
        let mut progress = self.progress.lock().expect(LOCKED);
        while !progress.ended {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            progress = self.progressed.wait_timeout(progress, left).expect(LOCKED).0;
        }
        flushed
    }

    /// Closes without waiting.
    pub(super) fn ask_to_close(&self) {
        self.progress.lock().expect(LOCKED).close = true;
        self.notify.notify_one();
    }

    fn wait(&self, within: Duration, close: bool) -> Flushed {
        let by = Instant::now() + within.min(WAIT_AT_MOST);
        let mut progress = self.progress.lock().expect(LOCKED);
        let id = progress.flushes;
        progress.flushes += 1;
        progress.wanted.push((id, by));
        progress.close |= close;
        drop(progress);
        // Not `wake`: a turn that begins between its flag and this wish would not see the wish.
        self.notify.notify_one();
        let mut progress = self.progress.lock().expect(LOCKED);
        loop {
            if let Some(flushed) = progress.answers.remove(&id) {
                return flushed;
            }
            let left = (by + DISK_WITHIN).saturating_duration_since(Instant::now());
            if progress.ended || left.is_zero() {
                let stats = &progress.stats;
                let waiting_points =
                    stats.sent_points.saturating_sub(stats.acked_points + stats.refused_points);
                let spool = (stats.spool_bytes > 0).then(|| self.settings.spool_dir.clone());
                let flushed = Flushed { all_acked: false, waiting_points, spool };
                return progress.last.clone().filter(|_| progress.ended).unwrap_or(flushed);
            }
            progress = self.progressed.wait_timeout(progress, left).expect(LOCKED).0;
        }
    }

    /// What callers asked for: flushes with their deadlines, and whether to close.
    pub(super) fn take_wishes(&self) -> (Vec<(u64, Instant)>, bool) {
        let mut progress = self.progress.lock().expect(LOCKED);
        (std::mem::take(&mut progress.wanted), progress.close)
    }

    /// From now on nothing is taken from callers.
    pub(super) fn close_buffers(&self) {
        let mut channels = self.channels.write().expect(LOCKED);
        channels.closed = true;
        channels.by_number.iter().for_each(|core| core.buffer().closed = true);
    }

    pub(super) fn answer(&self, ids: &[u64], flushed: &Flushed) {
        let mut progress = self.progress.lock().expect(LOCKED);
        // The largest number is the background thread's own.
        let asked = ids.iter().filter(|id| **id != u64::MAX);
        progress.answers.extend(asked.map(|id| (*id, flushed.clone())));
        progress.last = Some(flushed.clone());
        self.progressed.notify_all();
    }

    pub(super) fn publish(&self, stats: &Stats) {
        self.progress.lock().expect(LOCKED).stats.clone_from(stats);
    }

    /// The background thread is gone.
    pub(super) fn end(&self) {
        self.close_buffers();
        self.progress.lock().expect(LOCKED).ended = true;
        self.progressed.notify_all();
    }

    pub(super) fn stats(&self) -> Stats {
        self.progress.lock().expect(LOCKED).stats.clone()
    }
}
