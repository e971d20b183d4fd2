//! The engine itself: opened over a store, shared by every connection.

use neptune_wire::Micros;

use crate::Refused;

/// The one door to all rules; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {}

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
    /// Commits (syncs) since start.
    pub commits: u64,
    /// Points dropped since start, by anyone.
    pub dropped_points: u64,
    /// Frames refused since start.
    pub refused_frames: u64,
    /// Live subscriptions now.
    pub subscriptions: u64,
    /// Disk full: reading works, writing resumes by itself.
    pub read_only: bool,
}

impl Engine {
    /// Counters now.
    pub fn stats(&self) -> Stats {
        todo!("engine")
    }

    /// Moves what only time moves (silent and lost attempts). Called about once a second by the daemon.
    pub async fn tick(&self, _now: Micros) -> Result<(), Refused> {
        todo!("engine")
    }

    /// Commits what is pending and refuses further writes; the store may be closed after it.
    pub async fn stop(&self) {
        todo!("engine")
    }
}
