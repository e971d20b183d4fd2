//! Uses of blobs by those who may be about to name them: whoever uploads a blob, or is told that it is there.
//!
//! Durably, a use takes back that a blob is unneeded. In memory, the latest uses are remembered, so that a job that is
//! removed at once does not take along what somebody else counts on.

use std::collections::HashMap;

use neptune_store::{Held, Writes};
use neptune_wire::{Digest, Micros, ProjectKey};

use crate::Refused;
use crate::engine::Core;
use crate::registry::LOCK;

/// Uses that are remembered one by one, at some hundred bytes each.
const REMEMBERED: usize = 100_000;
/// Blobs that are taken back in one commit: each is a condition and a change of at most a thousand.
const TAKEN_BACK: usize = 400;

/// The latest uses.
#[derive(Default)]
pub(super) struct Uses {
    latest: HashMap<(ProjectKey, Digest), Micros>,
    /// Every blob counts as used then: the memory for single ones was full.
    all: Option<Micros>,
}

impl Uses {
    fn remember(&mut self, project: &ProjectKey, digests: &[Digest], now: Micros) {
        if self.latest.len() + digests.len() > REMEMBERED {
            self.latest.clear();
            self.all = Some(now);
            return;
        }
        for digest in digests {
            self.latest.insert((project.clone(), *digest), now);
        }
    }

    /// Whether it was used after a time.
    pub(super) fn is_later_than(&self, project: &ProjectKey, digest: &Digest, time: Micros) -> bool {
        self.all.is_some_and(|all| all > time)
            || self.latest.get(&(project.clone(), *digest)).is_some_and(|latest| *latest > time)
    }

    /// Forgets what is older.
    pub(super) fn forget_before(&mut self, time: Micros) {
        self.latest.retain(|_, latest| *latest >= time);
        self.all = self.all.filter(|all| *all >= time);
    }
}

impl Core {
    /// Which of the blobs the project holds; the collector leaves those alone for its whole grace from now on.
    pub(crate) async fn use_blobs(
        &self,
        project: &ProjectKey,
        digests: &[Digest],
        now: Micros,
    ) -> Result<Vec<bool>, Refused> {
        self.life.uses.lock().expect(LOCK).remember(project, digests, now);
        let mut there = Vec::with_capacity(digests.len());
        for part in digests.chunks(TAKEN_BACK) {
            let held = self.store.find_project_blobs(project, part).await?;
            let mut writes = Writes::new();
            for blob in held.iter().flatten().filter(|blob| blob.unneeded.is_some()) {
                writes.replace_project_blob(project, blob, None);
            }
            if !writes.is_empty() {
                // A conflict is the collector, which let go of one of them, or another use.
                self.store.commit(writes).await?;
            }
            there.extend(held.iter().map(Option::is_some));
        }
        Ok(there)
    }

    /// Whether the project holds the snapshot; used from now on, as a blob is.
    pub(crate) async fn use_snapshot(
        &self,
        project: &ProjectKey,
        snapshot: &Digest,
        now: Micros,
    ) -> Result<bool, Refused> {
        self.life.uses.lock().expect(LOCK).remember(project, &[*snapshot], now);
        let held = self.store.find_snapshot(project, snapshot).await?;
        if let Some(held @ Held { unneeded: Some(_), .. }) = &held {
            let mut writes = Writes::new();
            writes.replace_snapshot(project, held, None);
            self.store.commit(writes).await?;
        }
        Ok(held.is_some())
    }
}
