//! Following one job: its record at once, its new charts and channels, and its channels' summaries a few times a second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use neptune_wire::Job;
use tokio::sync::watch;
use tokio::time::Instant;

use super::LiveEvent;
use crate::heads::JobHeads;
use crate::registry::JobCell;

/// Summaries are told at most this often; what changed between is told at its end, so the last state always comes.
const SUMMARIES_EVERY: Duration = Duration::from_millis(250);
/// Summaries that are told at once; the rest waits its turn.
const SUMMARIES: usize = 1_000;

pub(super) struct FollowJob {
    cell: Arc<JobCell>,
    heads: Arc<JobHeads>,
    changed: watch::Receiver<u64>,
    grown: watch::Receiver<u64>,
    waiting: VecDeque<LiveEvent>,
    job: Arc<Job>,
    charts: usize,
    /// What was told of each channel.
    revisions: Vec<u64>,
    next_summaries: Instant,
    /// Something grew since the summaries were last told.
    behind: bool,
}

impl FollowJob {
    pub(super) fn new(cell: Arc<JobCell>, heads: Arc<JobHeads>) -> FollowJob {
        let (changed, grown) = (cell.follow(), heads.grown.subscribe());
        let job = cell.job();
        let (charts, revisions) = {
            let inner = heads.lock();
            (inner.charts.len(), inner.channels.iter().map(|channel| channel.revision()).collect())
        };
        FollowJob {
            cell,
            heads,
            changed,
            grown,
            waiting: VecDeque::new(),
            job,
            charts,
            revisions,
            next_summaries: Instant::now(),
            behind: false,
        }
    }

    pub(super) async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            self.heads.check_current().ok()?;
            self.changed.mark_unchanged();
            self.behind |= self.grown.has_changed().unwrap_or(false);
            self.grown.mark_unchanged();
            self.look();
            if !self.waiting.is_empty() {
                continue;
            }
            let due = self.next_summaries;
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                grown = self.grown.changed() => {
                    grown.ok()?;
                    self.behind = true;
                }
                () = tokio::time::sleep_until(due), if self.behind => {}
            }
        }
    }

    /// Gathers what is new.
    fn look(&mut self) {
        let job = self.cell.job();
        if !Arc::ptr_eq(&job, &self.job) {
            self.job = job.clone();
            self.waiting.push_back(LiveEvent::Job(job));
        }
        if !self.behind {
            return;
        }
        let inner = self.heads.lock();
        for chart in &inner.charts[self.charts..] {
            self.waiting.push_back(LiveEvent::Chart(chart.clone()));
        }
        self.charts = inner.charts.len();
        if Instant::now() < self.next_summaries {
            return;
        }
        self.behind = false;
        for (at, channel) in inner.channels.iter().enumerate() {
            let revision = channel.revision();
            match self.revisions.get_mut(at) {
                Some(told) if *told == revision => continue,
                Some(told) => *told = revision,
                None => self.revisions.push(revision),
            }
            self.waiting.push_back(LiveEvent::Channel(channel.channel()));
            if self.waiting.len() >= SUMMARIES {
                self.behind = true;
                break;
            }
        }
        self.next_summaries = Instant::now() + SUMMARIES_EVERY;
    }
}
