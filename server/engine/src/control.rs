//! Runners: beats in, wishes and abort hints out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_wire::control::{Abort, AttemptRef, Beat, Holding, Phase, StopMode, Wish};
use neptune_wire::{AttemptNumber, JobRef, JobState, Micros};
use tokio::sync::watch;

use crate::engine::Core;
use crate::jobs::REASON_BYTES;
use crate::registry::JobCell;
use crate::step::Event;
use crate::{Engine, Grant, Refused};

/// Attempts one beat may name.
const HOLDING: usize = 1_000;

/// A runner's control connection: beats go in by [`Control::beat`], hints come out of [`Control::next_abort`].
pub struct Control {
    engine: Engine,
    grant: Grant,
    cell: Arc<JobCell>,
    attempt: AttemptNumber,
    /// Which of the attempt's connections this is; a newer one has a higher number.
    number: u32,
    changed: watch::Receiver<u64>,
    hinted: bool,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, number, .. } = self;
        f.debug_struct("Control").field("attempt", attempt).field("number", number).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the control connection of an attempt; a newer connection of the same attempt replaces the older.
    ///
    /// # Errors
    ///
    /// [`Refused::Superseded`] for an attempt that is not the last, [`Refused::UnknownAttempt`].
    pub async fn open_control(
        &self,
        grant: &Grant,
        job: &JobRef,
        attempt: AttemptNumber,
        _now: Micros,
    ) -> Result<Control, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_speaks_for(&cell, attempt)?;
        cell.check_attempt(attempt)?;
        cell.unheard.store(0, Ordering::Relaxed);
        let number = cell.controls.fetch_add(1, Ordering::AcqRel) + 1;
        let changed = cell.follow();
        cell.note_change();
        let (engine, grant) = (self.clone(), grant.clone());
        Ok(Control { engine, grant, cell, attempt, number, changed, hinted: false })
    }
}

impl Control {
    /// Takes a beat (states, ends) and answers what the server wants; ends are durable before `forget` names them.
    ///
    /// An end that could not be stored (the disk is full) is not in `forget`, so the runner names it again.
    ///
    /// # Errors
    ///
    /// [`Refused::TooLarge`] for more attempts than anybody holds.
    pub async fn beat(&mut self, beat: Beat, now: Micros) -> Result<Wish, Refused> {
        if beat.holding.len() > HOLDING {
            return Err(Refused::TooLarge { what: "number of attempts in a beat", limit: HOLDING as u64 });
        }
        let mut wish = Wish { ack: beat.seq, ..Wish::default() };
        for holding in beat.holding {
            let Some(cell) = self.engine.core.registry.find_uid(&holding.job) else { continue };
            if self.grant.check_speaks_for(&cell, holding.attempt).is_ok() {
                self.engine.core.take_holding(&cell, holding, now, &mut wish).await;
            }
        }
        Ok(wish)
    }

    /// Waits for a wish to end the attempt; cancel-safe. `None` when a newer connection replaced this one.
    pub async fn next_abort(&mut self) -> Option<Abort> {
        loop {
            self.changed.mark_unchanged();
            if self.cell.controls.load(Ordering::Acquire) != self.number {
                return None;
            }
            if !self.hinted
                && let Some(abort) = outstanding_abort(&self.cell, self.attempt)
            {
                self.hinted = true;
                return Some(abort);
            }
            self.changed.changed().await.ok()?;
        }
    }
}

impl Core {
    /// Takes what a runner says of one attempt and adds what is wanted of it to the wish.
    async fn take_holding(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        holding: Holding,
        now: Micros,
        wish: &mut Wish,
    ) {
        let Holding { job, attempt, phase, exit, .. } = holding;
        let this = AttemptRef { job, attempt };
        match (cell.check_attempt(attempt), phase) {
            // Whatever it says of its end, a newer attempt has the job.
            (Err(Refused::Superseded { .. }), Phase::Ended) => return wish.forget.push(this),
            (Err(Refused::Superseded { .. }), _) => return wish.stop.push(kill(this)),
            // A job that was taken for lost, and deleted, lives after all. Its program runs on, as the job can be restored;
            // only its end is taken down.
            (Err(Refused::JobDeleted { .. }), Phase::Preparing | Phase::Running | Phase::Ending) => return,
            (Err(Refused::JobDeleted { .. }), Phase::Ended) if exit.is_none() => {
                return wish.forget.push(this);
            }
            _ => {}
        }
        cell.unheard.store(0, Ordering::Relaxed);
        let event = match (phase, exit) {
            (Phase::Ended, Some(mut exit)) => {
                // Nobody is there to shorten it, and an end is recorded whatever is said of it.
                if let Some(reason) = &mut exit.reason {
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
                }
                Event::Exit { attempt, exit }
            }
            _ => Event::Heard { attempt },
        };
        let ended = matches!(event, Event::Exit { .. });
        let (core, held) = (self.clone(), cell.clone());
        let told = self.finish(async move {
            let _one = held.writing.lock().await;
            core.apply_event(&held, event, None, now).await
        });
        match told.await {
            Ok(()) | Err(Refused::Superseded { .. }) if ended => wish.forget.push(this),
            Ok(()) => {}
            Err(error) => tracing::warn!(job = %cell.id, %attempt, %error, "a beat could not be recorded"),
        }
        if ended {
            return;
        }
        if let Some(abort) = outstanding_abort(cell, attempt) {
            wish.stop.push(abort);
        } else if cell.state().is_live() {
            wish.hold.push(this);
        }
    }
}

/// The abort that the attempt has not obeyed yet.
fn outstanding_abort(cell: &JobCell, attempt: AttemptNumber) -> Option<Abort> {
    let status = cell.record().status;
    let wish =
        status.abort.filter(|_| status.state == JobState::Aborting && status.attempt == Some(attempt))?;
    Some(Abort {
        job: cell.uid,
        attempt,
        mode: StopMode::Graceful,
        grace_millis: wish.grace_millis,
        reason: wish.reason,
    })
}

/// Ends a process tree that has no business any more.
fn kill(attempt: AttemptRef) -> Abort {
    Abort {
        job: attempt.job,
        attempt: attempt.attempt,
        mode: StopMode::Kill,
        grace_millis: 0,
        reason: "superseded by a newer attempt".into(),
    }
}

#[cfg(test)]
mod tests;
