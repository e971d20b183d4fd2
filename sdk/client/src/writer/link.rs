//! The background thread of a writer: takes points out of the buffers, and sees that they get to the server or to disk.
//!
//! One small runtime, one loop. Every *turn* (20 ms apart while points come) moves buffers into frames, frames that are
//! too old onto disk, and starts what is due; between turns the loop moves messages. Nothing here is waited for by a
//! caller, except for room (`buffer.rs`) and flushes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use neptune_wire::ingest::IngestUp;
use neptune_wire::{ProjectKey, SessionId};
use tokio::task::JoinSet;

use super::shared::{Request, Shared};
use super::{FRAME_EVERY, SPOOL_AFTER, SYNC_EVERY, Stats, now};
use crate::backoff::Backoff;
use crate::fork;
use crate::notice::Notice;
use crate::random::new_session_id;
use crate::rest::Rest;
use crate::session::{Blobs, Session};
use crate::spool::{Bounds, FORMAT, Lock, SessionFile, Spool};

mod connection;
mod drain;
mod errands;
mod finish;

use connection::Connection;
use errands::Done;
use finish::{Closing, Flush};

/// Between turns while nothing comes.
const IDLE_EVERY: Duration = Duration::from_millis(100);
/// So long after the last point turns stay quick.
const ACTIVE_FOR: Duration = Duration::from_secs(2);
/// A person hears of a missing server after this long; restarts are shorter.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);
/// Frames in memory beyond this share of the budget go to disk at once.
const SPILL_SHARE: usize = 2;
/// The session of points comes first, that of images follows once there is one.
const POINTS: usize = 0;

/// See the [module](self).
pub(super) struct Link {
    shared: Arc<Shared>,
    rest: Option<Rest>,
    project: Option<ProjectKey>,
    project_asked: bool,
    connection: Connection,
    backoff: Backoff,
    /// The server has said that its disk is full, and has acknowledged nothing since.
    server_full: bool,
    /// Since when there is no open session, and why.
    away: Option<Away>,
    sessions: Vec<Session>,
    blobs: Blobs,
    drain: drain::Drain,
    requests: VecDeque<Request>,
    requests_since: Instant,
    requests_on_disk: usize,
    /// Requests done, ever.
    requests_done: u64,
    request_runs: bool,
    tasks: JoinSet<Done>,
    errands_after: Instant,
    errands_backoff: Backoff,
    spill_after: Instant,
    synced: Instant,
    sync_runs: bool,
    active: Instant,
    flushes: Vec<Flush>,
    closing: Option<Closing>,
    stats: Stats,
    /// Bytes of frames and of images that the budgets hold.
    counted: (usize, usize),
}

/// There is no open session.
struct Away {
    since: Instant,
    why: String,
    /// A notice of its own has told why.
    told: bool,
}

/// Starts the thread, which holds the job's folder to its end.
///
/// # Errors
///
/// When the operating system has no more threads.
pub(super) fn spawn(shared: &Arc<Shared>, hold: Option<Lock>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("neptune-writer".into()).spawn(move || {
        // Signals belong to the program's own threads.
        let _ = nix::sys::signal::SigSet::all().thread_block();
        let _ended = Ended(Arc::clone(&shared));
        // Given up after the spools and before anybody hears of the end.
        let _hold = hold;
        let runtime = fork::undivided(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
        match runtime {
            Ok(runtime) => {
                runtime.block_on(Link::new(shared).run());
                // A name server or a disk that hangs must not hold the program.
                runtime.shutdown_background();
            }
            Err(error) => shared.settings.notices.say(Notice::NoThread { why: error.to_string() }),
        }
    })?;
    Ok(())
}

/// Tells waiting callers that the thread is gone, however it ended.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Link {
    fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let settings = &shared.settings;
        let rest = settings.access.clone().and_then(|access| match Rest::new(access) {
            Ok(rest) => Some(rest),
            Err(error) => {
                let url = settings.access.as_ref().map(|access| access.url.clone()).unwrap_or_default();
                settings.notices.say(Notice::NotNeptune {
                    url,
                    why: error.to_string(),
                    spool: settings.spool_dir.clone(),
                });
                None
            }
        });
        let project = match &settings.job {
            neptune_wire::JobRef::Id(id) => Some(id.project.clone()),
            neptune_wire::JobRef::Uid(_) => None,
        };
        let connection = match &rest {
            Some(rest) => Connection::begin(rest.access().clone()),
            None => Connection::Offline,
        };
        Self {
            rest,
            project,
            project_asked: false,
            connection,
            backoff: Backoff::new(),
            server_full: false,
            away: Some(Away { since: now, why: "no answer yet".into(), told: false }),
            sessions: vec![Session::new(new_session_id())],
            blobs: Blobs::default(),
            drain: drain::Drain::default(),
            requests: VecDeque::new(),
            requests_since: now,
            requests_on_disk: 0,
            requests_done: 0,
            request_runs: false,
            tasks: JoinSet::new(),
            errands_after: now,
            errands_backoff: Backoff::new(),
            spill_after: now,
            synced: now,
            sync_runs: false,
            active: now,
            flushes: vec![],
            closing: None,
            stats: Stats::default(),
            counted: (0, 0),
            shared,
        }
    }

    async fn run(mut self) {
        let mut next_turn = Instant::now();
        while !self.is_finished() {
            let shared = Arc::clone(&self.shared);
            let wants_room = self.sessions.iter().any(Session::wants_to_send) || self.wants_to_close();
            tokio::select! {
                event = self.connection.next(wants_room) => self.take_event(event),
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => self.take_done(done),
                () = shared.notify.notified() => next_turn = self.turn(),
                () = tokio::time::sleep_until(next_turn.into()) => next_turn = self.turn(),
            }
        }
        self.leave();
    }

    /// Everything that is done by the clock. Answers when the next turn is.
    fn turn(&mut self) -> Instant {
        let now = Instant::now();
        self.shared.begin_turn();
        if self.take_points(now) {
            self.active = now;
        }
        self.settle_memory();
        self.take_flushes(now);
        if self.spill_is_due(now) {
            self.spill(now);
        }
        self.run_errands(now);
        self.sync_if_due(now);
        self.say_if_away(now);
        self.finish_flushes(now);
        self.publish();
        now + if now.duration_since(self.active) < ACTIVE_FOR || self.closing.is_some() {
            FRAME_EVERY
        } else {
            IDLE_EVERY
        }
    }

    fn spill_is_due(&self, now: Instant) -> bool {
        if now < self.spill_after || self.connection.is_stopped() {
            return false;
        }
        let old = |made: Instant| now.duration_since(made) >= SPOOL_AFTER;
        let frames_old = self.sessions.iter().filter_map(Session::oldest_made).any(old);
        let requests_old = self.requests.len() > self.requests_on_disk && old(self.requests_since);
        let full = |counted: usize, limit: usize| counted > limit / SPILL_SHARE;
        frames_old
            || requests_old
            || full(self.counted.0, self.shared.settings.limits.memory_bytes)
            || full(self.counted.1, self.shared.settings.limits.image_memory_bytes)
    }

    /// Moves all that is in memory alone to disk. What fails is tried again a second later, but not once the writer
    /// closes: then the disk's reserve is used too, and what does not get there is lost.
    fn spill(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let last = self.closing.is_some();
        let create = |id| {
            let mut spool = create_spool(&shared, id)?;
            if last {
                spool.use_reserve();
            }
            Ok(spool)
        };
        if last {
            self.sessions.iter_mut().filter_map(Session::spool_mut).for_each(Spool::use_reserve);
        }
        let mut outcome = Ok(());
        for session in &mut self.sessions {
            outcome = outcome.and(session.spill(&mut self.blobs, create));
        }
        if self.requests.len() > self.requests_on_disk {
            let requests: Vec<_> = self.requests.range(self.requests_on_disk..).cloned().collect();
            let appended = self.sessions[POINTS]
                .spool_or_create(create)
                .and_then(|spool| spool.append_requests(&requests));
            if appended.is_ok() {
                self.requests_on_disk = self.requests.len();
            }
            outcome = outcome.and(appended);
        }
        self.settle_memory();
        let notices = &self.shared.settings.notices;
        match outcome {
            Ok(()) => {
                self.drain.spool_trouble = None;
                notices.disk_works();
            }
            Err(error) => {
                self.spill_after = now + SYNC_EVERY;
                self.shared.budget.give_up();
                self.shared.image_budget.give_up();
                let (spool, why) = (self.shared.settings.spool_dir.clone(), error.to_string());
                self.drain.spool_trouble = Some(why.clone());
                notices.say(Notice::SpoolFailed { spool, why });
            }
        }
    }

    fn sync_if_due(&mut self, now: Instant) {
        if self.sync_runs || now.duration_since(self.synced) < SYNC_EVERY {
            return;
        }
        for session in &mut self.sessions {
            let Some(spool) = session.spool_mut() else { continue };
            // A descriptor that cannot be cloned now is cloned a second later.
            if let Ok(Some(sync)) = spool.syncer() {
                self.sync_runs = true;
                self.synced = now;
                self.tasks.spawn_blocking(move || Done::Synced(sync()));
            }
        }
    }

    fn say_if_away(&mut self, now: Instant) {
        let Some(rest) = &self.rest else { return };
        if let Some(Away { since, why, told: false }) = &self.away
            && now.duration_since(*since) >= UNREACHABLE_AFTER
            && !self.connection.is_stopped()
        {
            let (url, spool) = (rest.access().url.clone(), self.shared.settings.spool_dir.clone());
            self.shared.settings.notices.say(Notice::Unreachable { url, why: why.clone(), spool });
        }
    }

    /// Makes the budgets hold exactly the frames and images in memory.
    fn settle_memory(&mut self) {
        let frames = self.sessions.iter().map(Session::memory_bytes).sum();
        let images = self.blobs.memory_bytes();
        self.shared.budget.settle(self.counted.0, frames);
        self.shared.image_budget.settle(self.counted.1, images);
        self.counted = (frames, images);
    }

    /// Books what sessions have learnt.
    fn settle_outcomes(&mut self) {
        for session in &mut self.sessions {
            let outcome = session.take_outcome();
            if !outcome.acked.is_empty() && std::mem::take(&mut self.server_full) {
                self.shared.settings.notices.server_takes();
            }
            for (number, count) in outcome.acked {
                self.stats.acked_points += u64::from(count);
                self.drain.acked(&self.shared, number, count);
            }
            self.stats.refused_points += outcome.refused_points;
            for digest in outcome.images {
                if self.blobs.release(digest)
                    && let Some(spool) = session.spool_mut()
                {
                    spool.release_blob(digest);
                }
            }
        }
        self.settle_memory();
        self.publish();
    }

    fn publish(&mut self) {
        self.stats.memory_bytes = self.shared.budget.used() + self.shared.image_budget.used();
        self.stats.spool_bytes = self.sessions.iter().filter_map(Session::spool).map(Spool::bytes).sum();
        self.stats.connected = self.away.is_none();
        self.stats.superseded = self.connection.is_stopped();
        self.shared.publish(&self.stats);
    }

    /// Points taken into frames that neither the server has nor refused.
    fn waiting_points(&self) -> u64 {
        let done = self.stats.acked_points + self.stats.refused_points;
        self.drain.framed_points.saturating_sub(done)
    }

    fn open_session(&self) -> impl Fn(SessionId) -> IngestUp + use<> {
        let (job, attempt) = (self.shared.settings.job.clone(), self.shared.settings.attempt);
        move |session| IngestUp::OpenSession { session, job: job.clone(), attempt }
    }
}

fn create_spool(shared: &Shared, session: SessionId) -> std::io::Result<Spool> {
    let settings = &shared.settings;
    let file = SessionFile {
        format: FORMAT,
        session,
        job: settings.job.clone(),
        attempt: settings.attempt,
        url: settings.access.as_ref().map(|access| access.url.clone()),
        token: settings.access.as_ref().and_then(|access| access.token.clone()),
        made_micros: now(),
    };
    let bounds =
        Bounds { bytes: settings.limits.spool_bytes, disk_free_bytes: settings.limits.disk_free_bytes };
    Spool::create(&settings.spool_dir, file, bounds)
}

#[cfg(test)]
mod tests;
