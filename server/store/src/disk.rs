//! Whether the disk is full, as the last answer of the backend says; asked by whoever would wait for a commit.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// The state of the disk.
#[derive(Debug)]
pub struct Disk {
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
    /// Whether it is full: reading works, commits are refused.
    pub fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// While it is full: how many times it filled up until now.
    pub fn episode(&self) -> Option<u64> {
        self.is_full().then(|| self.episodes.load(Ordering::Relaxed))
    }

    /// Follows the state.
    pub fn follow(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
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
