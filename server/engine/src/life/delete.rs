//! Deleting and restoring: a deleted job is out of the lists, takes no writes, and can be restored until its time has passed.

use std::sync::Arc;

use neptune_store::{DeletedRecord, JobRecord, ProjectRecord, Writes};
use neptune_wire::life::{DeleteQuery, DeleteReceipt, Removed, Unknown};
use neptune_wire::{Job, JobRef, JobState, Micros};

use crate::engine::Core;
use crate::jobs::{REASON_BYTES, checks};
use crate::registry::{JobCell, LOCK, deleted_from_record};
use crate::{Engine, Grant, Refused};

impl Engine {
    /// Deletes a job: restorable, or, with `now`, for good and at once. Deleting a deleted job changes nothing but that.
    ///
    /// # Errors
    ///
    /// [`Refused::State`] for a job that runs or waits to run, [`Refused::Field`] for a reason that is too long,
    /// [`Refused::JobGone`] for one that was removed, unless the receipt of that is still known.
    pub async fn delete_job(
        &self,
        grant: &Grant,
        job: &JobRef,
        delete: DeleteQuery,
        now: Micros,
    ) -> Result<DeleteReceipt, Refused> {
        grant.check_everything("deleting jobs")?;
        let cell = match self.find_job(grant, job) {
            Err(gone) if delete.now => return self.core.life.receipts.find(job).await.ok_or(gone),
            found => found?,
        };
        checks::text_bytes("reason", delete.reason.as_deref(), REASON_BYTES)?;
        let reason = delete.reason.unwrap_or_else(|| "on request".into());
        let core = self.core.clone();
        let deleted = async move {
            if !delete.now {
                let receipt = core.begin_receipt(&cell).await?;
                core.hide(&cell, reason, now).await?;
                let restorable_until_micros = cell.job().deleted.as_ref().map(|deleted| deleted.until_micros);
                return Ok(DeleteReceipt { restorable_until_micros, ..receipt });
            }
            match core.remove_now(&cell, reason, now).await {
                // Another request removes it, or a first one whose answer did not arrive: both have the one receipt.
                Err(gone @ Refused::JobGone { .. }) => {
                    core.life.receipts.find(&JobRef::Uid(cell.uid)).await.ok_or(gone)
                }
                outcome => outcome,
            }
        };
        self.core.finish(deleted).await
    }

    /// Brings a deleted job back. One that is not deleted stays as it is.
    ///
    /// # Errors
    ///
    /// [`Refused::JobGone`] for a job that was removed for good.
    pub async fn restore_job(&self, grant: &Grant, job: &JobRef, _now: Micros) -> Result<Job, Refused> {
        grant.check_everything("restoring jobs")?;
        let cell = self.find_job(grant, job)?;
        let core = self.core.clone();
        let restored = async move {
            let _one = cell.writing.lock().await;
            cell.check_here()?;
            if cell.is_deleted() {
                core.write_deleted(&cell, None).await?;
            }
            Ok(Job::clone(&cell.job()))
        };
        self.core.finish(restored).await
    }
}

impl Core {
    /// Deletes a job so that it can be restored.
    pub(super) async fn hide(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        reason: String,
        now: Micros,
    ) -> Result<(), Refused> {
        let _one = cell.writing.lock().await;
        cell.check_here()?;
        if cell.is_deleted() {
            return Ok(());
        }
        check_ended(cell)?;
        let until = Micros(now.0.saturating_add(self.life.times.restore_micros));
        let deleted = DeletedRecord { since: now, until, reason, removing: false };
        self.write_deleted(cell, Some(deleted)).await
    }

    /// What a receipt says of what the job has.
    pub(super) async fn begin_receipt(&self, cell: &Arc<JobCell>) -> Result<DeleteReceipt, Refused> {
        let mut receipt = DeleteReceipt {
            job: cell.id.clone(),
            restorable_until_micros: None,
            channels: 0,
            points: 0,
            charts: 0,
            removed: Removed::default(),
            freed_bytes: 0,
            kept: vec![],
            unknown: vec![],
        };
        if let Some(heads) = unless_damaged(cell, &mut receipt, cell.heads(self).await)? {
            let inner = heads.lock();
            receipt.channels = inner.channels.len() as u64;
            receipt.points = inner.channels.iter().map(|channel| channel.count()).sum();
            receipt.charts = inner.charts.len() as u64;
        }
        Ok(receipt)
    }

    /// Writes what became of a job's deletion, with the count of jobs that its project shows; the caller holds `writing`.
    pub(super) async fn write_deleted(
        &self,
        cell: &Arc<JobCell>,
        deleted: Option<DeletedRecord>,
    ) -> Result<(), Refused> {
        let old = cell.record();
        let new = JobRecord { revision: old.revision + 1, ..old.clone() };
        let project = self.registry.find_project(&cell.id.project)?;
        let _one_of_project = project.writing.lock().await;
        let before = project.record.lock().expect(LOCK).clone();
        let jobs = match (cell.is_deleted(), deleted.is_some()) {
            (false, true) => before.jobs.saturating_sub(1),
            (true, false) => before.jobs + 1,
            _ => before.jobs,
        };
        let after = ProjectRecord { jobs, ..before.clone() };
        let mut writes = Writes::new();
        writes.replace_job(&cell.uid, &old, &new);
        match &deleted {
            Some(deleted) => writes.put_deleted(&cell.uid, deleted),
            None => writes.delete_deleted(&cell.uid),
        }
        if after != before {
            writes.replace_project(&project.key, &before, &after);
        }
        self.store.commit(writes).await?;
        *project.record.lock().expect(LOCK) = after;
        self.registry.publish_deleted(cell, new, deleted.as_ref().map(deleted_from_record));
        Ok(())
    }
}

/// What was read of what a job produced. Where it cannot be read, the receipt says so, and the job can be deleted all the
/// same: that may be what it is deleted for.
pub(super) fn unless_damaged<T>(
    cell: &JobCell,
    receipt: &mut DeleteReceipt,
    read: Result<T, Refused>,
) -> Result<Option<T>, Refused> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(damage @ Refused::Storage(_)) => {
            let cause = damage.cause();
            tracing::warn!(job = %cell.id, cause, "not all of a job that is deleted can be read");
            if !receipt.unknown.contains(&Unknown::Produced) {
                receipt.unknown.push(Unknown::Produced);
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Refuses a job that somebody works on or will.
pub(super) fn check_ended(cell: &JobCell) -> Result<(), Refused> {
    let state = cell.job().state;
    if state.is_ended() || state == JobState::Created {
        return Ok(());
    }
    Err(Refused::State {
        job: cell.reference(),
        state,
        wanted: "abort it and wait for its end before deleting it",
    })
}
