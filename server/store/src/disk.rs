//! Whether the disk is full, as the last answer of the backend says; asked by whoever would wait for a commit. And whether
//! it has failed, which only another start can mend.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// The state of the disk.
#[derive(Debug)]
pub struct Disk {
    full: watch::Sender<bool>,
    /// Counts the times it filled up.
    episodes: AtomicU64,
    failed: AtomicBool,
}

impl Default for Disk {
    fn default() -> Self {
        Self { full: watch::Sender::new(false), episodes: AtomicU64::new(0), failed: AtomicBool::new(false) }
    }
}

impl Disk {
    /// Whether it is full: reading works, commits are refused.
    pub fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Whether it has failed: reading may work, nothing is written until the data is opened again.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// While it is full: how many times it filled up until now.
    pub fn episode(&self) -> Option<u64> {
        self.is_full().then(|| self.episodes.load(Ordering::Relaxed))
    }

    /// Follows the state.
    pub fn follow(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// A commit found that it has failed.
    pub(crate) fn failed(&self, error: &(dyn std::error::Error + Send + Sync)) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the disk failed: nothing is written until the server is started again");
        }
    }

    /// A commit found it so.
    pub(crate) fn found(&self, full: bool) {
        self.full.send_if_modified(|was| {
            let changed = std::mem::replace(was, full) != full;
            if changed && full {
                self.episodes.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the disk is full: reading works, writing resumes when there is space");
            } else if changed {
                tracing::info!("the disk has space again: writing resumes");
            }
            changed
        });
    }
}
