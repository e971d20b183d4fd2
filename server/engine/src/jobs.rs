//! Jobs: create, list, change, claim, abort, end. What a state may become is decided by [`step`](crate::step) alone.

pub(crate) mod checks;
pub(crate) mod create;
pub(crate) mod transition;

use neptune_store::{AttemptRecord, JobRecord, Writes};
use neptune_wire::control::GRACE_MILLIS;
use neptune_wire::job::{AbortJob, Attempt, ClaimJob, ClaimedAttempt, CreateJob, Exit, Job, PatchJob};
use neptune_wire::{AttemptNumber, JobRef, JobUid, Micros};

use crate::access::attempt_token;
use crate::step::{AbortWish, Event};
use crate::{Engine, Grant, Refused};

/// Longest time between SIGTERM and SIGKILL that an abort may ask for.
const GRACE_MILLIS_MAX: u64 = 600_000;
/// Longest reason of an abort or an end, in bytes.
pub(crate) const REASON_BYTES: usize = 4 << 10;

impl Engine {
    /// Creates a job; the same uid again answers the first result. `fresh` is used when the request brings no uid.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] or [`Refused::TooLarge`] for what cannot be right, [`Refused::UnknownProject`],
    /// [`Refused::UnknownSnapshot`] for a snapshot that the project has not, or not completely.
    pub async fn create_job(
        &self,
        grant: &Grant,
        create: CreateJob,
        fresh: JobUid,
        now: Micros,
    ) -> Result<Job, Refused> {
        grant.check_everything("creating jobs")?;
        let uid = create.uid.unwrap_or(fresh);
        if let Some(first) = self.core.registry.find_uid(&uid) {
            return Ok(Job::clone(&first.job()));
        }
        let core = self.core.clone();
        self.core.finish(async move { core.create_job(uid, create, now).await }).await
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownJob`], [`Refused::Forbidden`].
    pub async fn read_job(&self, grant: &Grant, job: &JobRef) -> Result<Job, Refused> {
        Ok(Job::clone(&*self.find_job(grant, job)?.job()))
    }

    /// Changes name, description, tags or properties.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] or [`Refused::TooLarge`] for what cannot be right; nothing is changed then.
    pub async fn patch_job(
        &self,
        grant: &Grant,
        job: &JobRef,
        patch: PatchJob,
        _now: Micros,
    ) -> Result<Job, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_write(&cell)?;
        checks::patch(&patch)?;
        let core = self.core.clone();
        let patched = async move {
            let _one = cell.writing.lock().await;
            cell.check_kept()?;
            let (old, job) = (cell.record(), cell.job());
            let mut new = JobRecord { revision: old.revision + 1, ..old.clone() };
            new.name = patch.name.unwrap_or(new.name);
            new.description = patch.description.unwrap_or(new.description);
            new.tags = checks::tags(patch.tags.unwrap_or(new.tags), patch.add_tags, &patch.remove_tags)?;
            let mut properties = job.properties.clone();
            let mut writes = Writes::new();
            writes.replace_job(&cell.uid, &old, &new);
            for (name, text) in patch.properties {
                match text {
                    Some(text) if properties.get(&name) == Some(&text) => {}
                    Some(text) => {
                        writes.put_property(&cell.uid, &name, &text);
                        properties.insert(name, text);
                    }
                    None if properties.remove(&name).is_some() => writes.delete_property(&cell.uid, &name),
                    None => {}
                }
            }
            checks::properties(&properties)?;
            let same =
                JobRecord { revision: old.revision, ..new.clone() } == old && properties == job.properties;
            if !same {
                core.store.commit(writes).await?;
                core.registry.publish(&cell, |record, _, known| {
                    *record = new;
                    *known = properties;
                });
            }
            Ok(Job::clone(&cell.job()))
        };
        self.core.finish(patched).await
    }

    /// A client process takes the job to run it by hand; with `history` the job goes straight to its end.
    ///
    /// # Errors
    ///
    /// [`Refused::State`] unless the job was only created, or this very claim took it.
    pub async fn claim_job(
        &self,
        grant: &Grant,
        job: &JobRef,
        claim: ClaimJob,
        now: Micros,
    ) -> Result<ClaimedAttempt, Refused> {
        grant.check_everything("claiming jobs")?;
        let cell = self.find_job(grant, job)?;
        checks::claim(&claim)?;
        let core = self.core.clone();
        let claimed = async move {
            let _one = cell.writing.lock().await;
            let made_before = cell.attempts().iter().position(|attempt| attempt.claim == claim.claim);
            if let Some(at) = made_before {
                let attempt = AttemptNumber(at as u32 + 1);
                let (token, _) = attempt_token(&core.store, &cell.uid, attempt, &claim.claim);
                return Ok(ClaimedAttempt { attempt, token });
            }
            let event = match claim.history {
                None => Event::Claim { now },
                Some(history) => Event::Import { started: history.started_micros, exit: history.exit },
            };
            let record = AttemptRecord {
                claim: claim.claim,
                executor: "self".into(),
                host: claim.host,
                claimed: now,
                exit: None,
            };
            core.apply_event(&cell, event, Some(record), now).await?;
            let attempt = cell.record().status.attempt.unwrap_or(AttemptNumber(1));
            let (token, _) = attempt_token(&core.store, &cell.uid, attempt, &claim.claim);
            Ok(ClaimedAttempt { attempt, token })
        };
        self.core.finish(claimed).await
    }

    /// Asks for a job's end: a created job is aborted at once, a live one goes to aborting and its runner is told.
    ///
    /// # Errors
    ///
    /// [`Refused::Field`] for a grace or reason that is too long.
    pub async fn abort_job(
        &self,
        grant: &Grant,
        job: &JobRef,
        abort: AbortJob,
        now: Micros,
    ) -> Result<Job, Refused> {
        grant.check_everything("aborting jobs")?;
        let cell = self.find_job(grant, job)?;
        let grace_millis = abort.grace_millis.unwrap_or(GRACE_MILLIS);
        if grace_millis > GRACE_MILLIS_MAX {
            return Err(Refused::field("grace_millis", "must be at most 600000 (10 minutes)"));
        }
        checks::text_bytes("reason", abort.reason.as_deref(), REASON_BYTES)?;
        let reason = abort.reason.unwrap_or_else(|| "aborted on request".into());
        let core = self.core.clone();
        let aborted = async move {
            let _one = cell.writing.lock().await;
            let wish = AbortWish { reason, grace_millis };
            core.apply_event(&cell, Event::Abort { wish, now }, None, now).await?;
            Ok(Job::clone(&cell.job()))
        };
        self.core.finish(aborted).await
    }

    /// One attempt.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownAttempt`].
    pub async fn read_attempt(
        &self,
        grant: &Grant,
        job: &JobRef,
        attempt: AttemptNumber,
    ) -> Result<Attempt, Refused> {
        self.find_job(grant, job)?.find_attempt(attempt)
    }

    /// Records how an attempt ended; the first end wins, repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refused::Superseded`] for an attempt that is not the last, [`Refused::UnknownAttempt`].
    pub async fn end_attempt(
        &self,
        grant: &Grant,
        job: &JobRef,
        attempt: AttemptNumber,
        exit: Exit,
        now: Micros,
    ) -> Result<Job, Refused> {
        let cell = self.find_job(grant, job)?;
        grant.check_speaks_for(&cell, attempt)?;
        checks::text_bytes("reason", exit.reason.as_deref(), REASON_BYTES)?;
        let core = self.core.clone();
        let ended = async move {
            let _one = cell.writing.lock().await;
            cell.check_kept()?;
            core.apply_event(&cell, Event::Exit { attempt, exit }, None, now).await?;
            Ok(Job::clone(&cell.job()))
        };
        self.core.finish(ended).await
    }
}

#[cfg(test)]
mod tests;
