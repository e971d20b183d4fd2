//! A writer in one process: what callers share with the background thread, and the way to a forked child's own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

use super::link;
use super::shared::Shared;
use super::{Flushed, WriterSettings};
use crate::notice::Notice;
use crate::{folder, fork};

/// One process's writer.
pub(super) struct Inner {
    /// Of the process that made it.
    generation: u64,
    pub(super) shared: Arc<Shared>,
    /// This writer in a forked child, set by that child. Lock-free: another thread of the parent may have been anywhere.
    successor: OnceBox<Arc<Inner>>,
}

impl Inner {
    pub(super) fn open(settings: WriterSettings) -> Arc<Self> {
        fork::watch();
        // Here and not in the background: when this returns, no sync takes the folder away.
        let hold = folder::hold(&settings.spool_dir);
        let shared = Arc::new(Shared::new(settings));
        if let Err(error) = link::spawn(&shared, hold) {
            // The program runs on; its points are counted as dropped.
            shared.settings.notices.say(Notice::NoThread { why: error.to_string() });
            shared.end();
        }
        Arc::new(Self { generation: fork::generation(), shared, successor: OnceBox::new() })
    }

    /// This process's own; made now in a forked child that uses it for the first time.
    pub(super) fn current(inner: &Arc<Self>) -> &Arc<Self> {
        let mut inner = inner;
        while inner.generation != fork::generation() {
            inner = inner.successor.get_or_init(|| {
                let mut settings = inner.shared.settings.clone();
                settings.notices = settings.notices.afresh();
                Box::new(Self::open(settings))
            });
        }
        inner
    }

    /// This process's own, if it was ever used here.
    pub(super) fn existing(inner: &Arc<Self>) -> Option<&Arc<Self>> {
        let mut inner = inner;
        while inner.generation != fork::generation() {
            inner = inner.successor.get()?;
        }
        Some(inner)
    }

    pub(super) fn close(&self, within: Duration) -> Flushed {
        self.shared.close(within)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last writer and channel are gone (or a forked child lost the race to make one): nobody waits for the end.
        if self.generation == fork::generation() {
            self.shared.ask_to_close();
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
