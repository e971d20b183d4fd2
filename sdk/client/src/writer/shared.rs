//! What callers and the background thread share: the channel table, who has something, wishes and counts.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use neptune_wire::ingest::SESSION_CHANNELS;
use neptune_wire::job::PatchJob;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, CreateChart};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::buffer::Budget;
use super::channel::Core;
use super::{ChannelError, Flushed, Stats, WriterSettings};

const LOCKED: &str = "nothing panics while it holds this lock";

/// A change of the job that is no point; sent in order, each may be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Patch(PatchJob),
    Chart(CreateChart),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) settings: WriterSettings,
    pub(super) budget: Budget,
    pub(super) image_budget: Budget,
    channels: RwLock<Channels>,
    dirty: Mutex<Vec<u32>>,
    pub(super) requests: Mutex<VecDeque<Request>>,
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
}

/// What callers wish and how far the background thread is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Flushes asked for, ever.
    pub(super) flushes: u64,
    /// Of those, done.
    pub(super) flushed: u64,
    /// The session is to end by then.
    pub(super) close_by: Option<Instant>,
    /// The background thread has ended.
    pub(super) ended: bool,
    pub(super) last: Option<Flushed>,
    pub(super) stats: Stats,
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

    pub(super) fn push_request(&self, request: Request) {
        self.requests.lock().expect(LOCKED).push_back(request);
    }

    /// Asks the background thread to take its turn now; once per turn.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    pub(super) fn flush(&self, _within: Duration) -> Flushed {
        self.wake();
        let progress = self.progress.lock().expect(LOCKED);
        progress.last.clone().unwrap_or(Flushed { all_acked: true, waiting_points: 0, spool: None })
    }

    pub(super) fn close(&self, within: Duration) -> Flushed {
        self.flush(within)
    }

    pub(super) fn stats(&self) -> Stats {
        self.progress.lock().expect(LOCKED).stats.clone()
    }
}
