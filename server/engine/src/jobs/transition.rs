//! One event of a job's life: stepped, committed with its effects, then made visible.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_store::{AbortRecord, AttemptRecord, JobRecord, StatusRecord, Writes};
use neptune_wire::{AttemptNumber, Micros};

use crate::Refused;
use crate::access::attempt_token;
use crate::engine::Core;
use crate::registry::JobCell;
use crate::step::{AbortWish, Effect, Event, Mismatch, Status, step};

impl Core {
    /// Applies an event to a job; the caller holds its `writing`. `fresh` is the attempt's record for events that open one.
    pub(crate) async fn apply_event(
        &self,
        cell: &Arc<JobCell>,
        event: Event,
        fresh: Option<AttemptRecord>,
        now: Micros,
    ) -> Result<(), Refused> {
        match &event {
            // It is a fact, and a job that is restored should tell it.
            Event::Exit { .. } => cell.check_here()?,
            _ => cell.check_kept()?,
        }
        let old = cell.record();
        let status = status_from_record(&old.status);
        let attempt = named_attempt(&event);
        let (next, effects) =
            step(&status, event).map_err(|mismatch| refused(cell, &status, attempt, mismatch))?;
        if next == status && effects.is_empty() {
            return Ok(());
        }
        let has_ended = next.ended.is_some() && next.ended != status.ended;
        let new = JobRecord {
            revision: old.revision + 1,
            status: record_from_status(&next),
            // Its end may be told of long after it was.
            arrived: if has_ended && next.ended != Some(now) { Some(now) } else { old.arrived },
            ..old.clone()
        };
        let mut attempts = cell.attempts();
        let mut opened = None;
        let mut closed = None;
        for effect in effects {
            match effect {
                Effect::OpenAttempt(number) => {
                    attempts.extend(fresh.clone());
                    opened = Some(number);
                }
                Effect::CloseAttempt(number, exit) => {
                    // Only the last attempt can end.
                    if let Some(attempt) = attempts.last_mut() {
                        attempt.exit = Some(exit);
                    }
                    closed = Some(number);
                }
                // The runner is woken by the change of the record, and told again by every wish.
                Effect::StopAttempt(..) => {}
            }
        }
        let mut writes = Writes::new();
        writes.replace_job(&cell.uid, &old, &new);
        match (opened, closed, attempts.last()) {
            (Some(number), _, Some(record)) => {
                let (_, hash) = attempt_token(&self.store, &cell.uid, number, &record.claim);
                writes.create_attempt(&cell.uid, number, record, &hash);
            }
            (None, Some(number), Some(record)) => writes.put_attempt(&cell.uid, number, record),
            _ => {}
        }
        self.store.commit(writes).await?;
        if opened.is_some() {
            cell.unheard.store(0, Ordering::Relaxed);
        }
        self.registry.publish(cell, |record, known, _| {
            *record = new;
            *known = attempts;
        });
        Ok(())
    }
}

/// The attempt an event speaks of; 0, which no attempt has, when of none.
fn named_attempt(event: &Event) -> AttemptNumber {
    match event {
        Event::Heard { attempt } | Event::Exit { attempt, .. } => *attempt,
        Event::Claim { .. }
        | Event::Import { .. }
        | Event::Abort { .. }
        | Event::FellSilent { .. }
        | Event::GivenUp { .. } => AttemptNumber(0),
    }
}

fn refused(cell: &JobCell, status: &Status, attempt: AttemptNumber, mismatch: Mismatch) -> Refused {
    match mismatch {
        Mismatch::State { wanted } => Refused::State { job: cell.reference(), state: status.state, wanted },
        Mismatch::Superseded { current } => Refused::Superseded { attempt, current },
        Mismatch::UnknownAttempt => Refused::UnknownAttempt { job: cell.reference(), attempt },
    }
}

/// The status as it is stored.
pub(crate) fn record_from_status(status: &Status) -> StatusRecord {
    StatusRecord {
        state: status.state,
        attempt: status.attempt,
        silent_since: status.silent_since,
        reason: status.reason.clone(),
        exit_code: status.exit_code,
        started: status.started,
        ended: status.ended,
        abort: status
            .abort
            .as_ref()
            .map(|wish| AbortRecord { reason: wish.reason.clone(), grace_millis: wish.grace_millis }),
    }
}

/// The status as it is decided upon.
pub(crate) fn status_from_record(record: &StatusRecord) -> Status {
    Status {
        state: record.state,
        attempt: record.attempt,
        silent_since: record.silent_since,
        reason: record.reason.clone(),
        exit_code: record.exit_code,
        started: record.started,
        ended: record.ended,
        abort: record
            .abort
            .as_ref()
            .map(|wish| AbortWish { reason: wish.reason.clone(), grace_millis: wish.grace_millis }),
    }
}
