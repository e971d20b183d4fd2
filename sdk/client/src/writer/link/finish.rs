//! Flushing and closing: until the server has everything, or the time is over and the disk has it.

use std::time::{Duration, Instant};

use super::Link;
use crate::notice::Notice;
use crate::session::Session;
use crate::writer::Flushed;

/// A server that was there and has not been for so long is not restarting; its callers are let go.
const RESTART_WITHIN: Duration = Duration::from_secs(15);
/// Between tries to reach a server again while a caller waits.
const RETRY_WITHIN: Duration = Duration::from_millis(250);
/// Closing the session is a courtesy; everything is on the server's disk by then.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// A flush that a caller waits for.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) id: u64,
    pub(super) by: Instant,
    /// What every session must have acknowledged.
    pub(super) frames: Vec<u64>,
    /// How many requests, ever, must be done.
    pub(super) requests: u64,
}

/// The end of a session.
#[derive(Debug)]
pub(super) enum Closing {
    /// The flush before it is not done.
    Flushing,
    /// Saying goodbye, until then.
    Goodbye(Instant),
    /// Nothing more to do.
    Finished,
}

impl Link {
    /// Takes up what callers asked for since the last turn.
    pub(super) fn take_flushes(&mut self, now: Instant) {
        let (mut wanted, close) = self.shared.take_wishes();
        if close && self.closing.is_none() {
            // The closer may not wait, but the data gets its time all the same.
            wanted.push((u64::MAX, now + self.shared.settings.drop_within));
            self.closing = Some(Closing::Flushing);
            self.shared.close_buffers();
        }
        if wanted.is_empty() {
            return;
        }
        // After the wishes: what a caller sent before its flush is part of it, also when it came during this turn.
        if self.take_points(now) {
            self.active = now;
        }
        self.settle_memory();
        // Requests pushed before the flush are part of it.
        let fresh = self.shared.take_requests();
        if self.requests.is_empty() && !fresh.is_empty() {
            self.requests_since = now;
        }
        self.requests.extend(fresh);
        let frames: Vec<_> = self.sessions.iter().map(Session::last).collect();
        let requests = self.requests_done + self.requests.len() as u64;
        self.flushes.extend(wanted.into_iter().map(|(id, by)| Flush {
            id,
            by,
            frames: frames.clone(),
            requests,
        }));
        if self.connection.is_waiting() {
            self.connect();
        }
    }

    /// A connection, or a try at one, ended while callers wait: one more try at once. Where there was no server
    /// for long they are let go then.
    pub(super) fn connection_failed(&mut self, now: Instant, was_try: bool) {
        if self.flushes.is_empty() {
            return;
        }
        if !was_try {
            return self.connect();
        }
        let away = self.away.as_ref().map_or(Duration::ZERO, |away| now.duration_since(away.since));
        if self.stats.connections > 0 && away < RESTART_WITHIN {
            // The caller's time is spent on quick tries.
            self.connection.hurry(now + RETRY_WITHIN);
            return;
        }
        let all: Vec<u64> = self.flushes.iter().map(|flush| flush.id).collect();
        self.let_go(&all, now);
    }

    /// Answers flushes that are done or out of time.
    pub(super) fn finish_flushes(&mut self, now: Instant) {
        let done = |flush: &Flush| {
            let frames = flush.frames.iter().zip(&self.sessions);
            frames.into_iter().all(|(last, session)| session.acked() >= *last)
                && self.requests_done >= flush.requests
        };
        let stopped = self.connection.is_stopped();
        let settled = self.flushes.iter().filter(|flush| !stopped && done(flush));
        let settled: Vec<u64> = settled.map(|flush| flush.id).collect();
        if !settled.is_empty() {
            self.answer(&settled, true);
        }
        let hopeless = self.rest.is_none() || stopped;
        let over = self.flushes.iter().filter(|flush| hopeless || now >= flush.by);
        let over: Vec<u64> = over.map(|flush| flush.id).collect();
        if !over.is_empty() {
            self.let_go(&over, now);
        }
        self.advance_closing(now);
    }

    /// Puts everything on disk that it takes, and answers.
    fn let_go(&mut self, ids: &[u64], now: Instant) {
        if !self.connection.is_stopped() {
            self.spill(now);
            self.sync_now();
        }
        self.answer(ids, false);
    }

    fn answer(&mut self, ids: &[u64], all_acked: bool) {
        self.publish();
        let spool = self.waits_on_disk().then(|| self.shared.settings.spool_dir.clone());
        let flushed = Flushed { all_acked, waiting_points: self.waiting_points(), spool };
        self.flushes.retain(|flush| !ids.contains(&flush.id));
        self.shared.answer(ids, &flushed);
    }

    fn waits_on_disk(&self) -> bool {
        let mut spools = self.sessions.iter().filter_map(Session::spool);
        spools.any(|spool| spool.frames().bytes() > 0) || self.requests_on_disk > 0
    }

    fn sync_now(&mut self) {
        for session in &mut self.sessions {
            let Some(spool) = session.spool_mut() else { continue };
            let outcome = spool.syncer().and_then(|sync| sync.map_or(Ok(()), |sync| sync()));
            if let Err(error) = outcome {
                let (spool, why) = (self.shared.settings.spool_dir.clone(), error.to_string());
                self.shared.settings.notices.say(Notice::SpoolFailed { spool, why });
            }
        }
    }

    /// Whether sessions are to be closed on the connection.
    pub(super) fn closes_session(&self) -> bool {
        matches!(self.closing, Some(Closing::Goodbye(_))) && self.connection.is_open()
    }

    pub(super) fn wants_to_close(&self) -> bool {
        self.closes_session() && self.sessions.iter().any(Session::can_close)
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(self.closing, Some(Closing::Finished))
    }

    fn advance_closing(&mut self, now: Instant) {
        let settled = self.sessions.iter().all(Session::is_settled) && self.requests.is_empty();
        match self.closing {
            Some(Closing::Flushing) if self.flushes.is_empty() => {
                self.closing = Some(match settled && self.connection.is_open() {
                    true => Closing::Goodbye(now + GOODBYE_WITHIN),
                    false => Closing::Finished,
                });
            }
            Some(Closing::Goodbye(by)) => {
                let over = now >= by || !self.connection.is_open();
                if over || self.sessions.iter().all(Session::is_ended) {
                    self.closing = Some(Closing::Finished);
                }
            }
            _ => {}
        }
    }

    /// Leaves a folder behind only when something waits in it.
    pub(super) fn leave(&mut self) {
        let settled = self.sessions.iter().all(Session::is_settled) && self.requests.is_empty();
        if settled {
            for session in &mut self.sessions {
                if let Some(spool) = session.take_spool() {
                    // A sync finds that the server has all of it.
                    let _ = spool.remove();
                }
            }
        } else if !self.connection.is_stopped() {
            self.say_what_is_left();
        }
        self.publish();
    }

    fn say_what_is_left(&self) {
        let notices = &self.shared.settings.notices;
        if let Some(rest) = &self.rest
            && self.waits_on_disk()
        {
            let (url, spool) = (rest.access().url.clone(), self.shared.settings.spool_dir.clone());
            let why = self.away.as_ref().map(|away| (away.why.clone(), away.told));
            match why {
                Some((_, true)) => {}
                Some((why, false)) => notices.say(Notice::Unreachable { url, why, spool }),
                None => notices.say(Notice::Unfinished { url, spool }),
            }
        }
        let points = self.sessions.iter().map(Session::memory_points).sum();
        let changes = self.requests.len() - self.requests_on_disk;
        if points > 0 || changes > 0 {
            let spool = self.shared.settings.spool_dir.clone();
            let why = self.drain.spool_trouble.clone().unwrap_or_else(|| "there was no time".into());
            notices.say(Notice::Lost { points, changes, spool, why });
        }
    }
}
