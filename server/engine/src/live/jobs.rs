//! Following all jobs, or those of a project: each changed job in its latest form.

use std::collections::VecDeque;
use std::sync::Arc;

use neptune_wire::{Job, ProjectKey};
use tokio::sync::watch;

use super::LiveEvent;
use crate::registry::Registry;

/// Changed jobs that are looked up at once.
const BATCH: usize = 256;

pub(super) struct FollowJobs {
    project: Option<ProjectKey>,
    /// Number of the last change that was looked at.
    seen: u64,
    changed: watch::Receiver<u64>,
    waiting: VecDeque<Arc<Job>>,
}

impl FollowJobs {
    pub(super) fn new(registry: &Registry, project: Option<ProjectKey>) -> FollowJobs {
        let mut changed = registry.follow();
        let seen = *changed.borrow_and_update();
        FollowJobs { project, seen, changed, waiting: VecDeque::new() }
    }

    pub(super) async fn next(&mut self, registry: &Registry) -> Option<LiveEvent> {
        loop {
            while let Some(job) = self.waiting.pop_front() {
                if self.project.as_ref().is_none_or(|project| *project == job.project) {
                    return Some(LiveEvent::Job(job));
                }
            }
            self.changed.mark_unchanged();
            let (jobs, seen) = registry.changed_after(self.seen, BATCH);
            self.seen = seen;
            self.waiting.extend(jobs);
            if self.waiting.is_empty() {
                self.changed.changed().await.ok()?;
            }
        }
    }
}
