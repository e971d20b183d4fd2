//! Whether the disk is full: told by commits, asked by whoever would wait for one.

use std::sync::atomic::{AtomicU64, Ordering};

use neptune_store::{WriteError, Writes};
use tokio::sync::watch;

use crate::engine::Core;

/// The state of the disk, as the last commit found it.
pub(crate) struct Disk {
    full: watch::Sender<bool>,
    /// Counts the times it filled up.
    episodes: AtomicU64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { full: watch::Sender::new(false), episodes: AtomicU64::new(0) }
    }
}

impl Disk {
    pub(crate) fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// The present episode of a full disk, from 1.
    pub(crate) fn episode(&self) -> Option<u64> {
        self.is_full().then(|| self.episodes.load(Ordering::Relaxed))
    }

    pub(crate) fn follow(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    fn found(&self, full: bool) {
        let changed = self.full.send_if_modified(|was| std::mem::replace(was, full) != full);
        if changed && full {
            self.episodes.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the disk is full: reading works, writing resumes when there is space");
        } else if changed {
            tracing::info!("the disk has space again: writing resumes");
        }
    }
}

impl Core {
    /// Commits; every write of the engine goes through here, so that a full disk is known at once and its end too.
    pub(crate) async fn commit(&self, writes: Writes) -> Result<(), WriteError> {
        let outcome = self.store.commit(writes).await;
        match outcome {
            Ok(()) => self.disk.found(false),
            Err(WriteError::ReadOnly) => self.disk.found(true),
            Err(_) => {}
        }
        outcome
    }

    /// Tries whether a full disk has space again, when nobody else may be writing.
    pub(crate) async fn probe_disk(&self) {
        if self.disk.is_full() && self.store.probe().await.is_ok() {
            self.disk.found(false);
        }
    }
}
