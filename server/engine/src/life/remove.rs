//! Removing a job for good. Restartable at any instruction:
//!
//! 1. its deletion says that it is being removed; from then on nobody finds it, and a start goes on from here;
//! 2. whoever wrote to it is waited for, the sealer among them, and whoever would is refused;
//! 3. all it produced is cleared; 4. its own records go, and its deletion with the last of them.
//!
//! Blobs that nobody else needs go afterwards when somebody waits for a receipt, record before bytes; else, and whatever a
//! crash leaves, the collector finds them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_store::{AttemptRecord, DeletedRecord, Store, StoreError, Writes};
use neptune_wire::life::{DeleteReceipt, Kept, KeptWhy};
use neptune_wire::{AttemptNumber, Digest, Job, JobUid, Micros};

use tokio::sync::MutexGuard;

use super::delete::check_ended;
use crate::Refused;
use crate::access::attempt_token;
use crate::engine::Core;
use crate::registry::{JobCell, LOCK};

/// Blobs a project lets go of in one commit: each is a condition and a change of at most a thousand.
const LET_GO: usize = 400;

/// A job whose removal has begun.
#[derive(Clone)]
pub(super) struct Removal {
    job: JobUid,
    attempts: Vec<AttemptRecord>,
    /// Through which some may still be writing; none after a start.
    cell: Option<Arc<JobCell>>,
}

impl Removal {
    /// Those that a process before this one left undone.
    pub(super) async fn read_all(store: &Store) -> Result<Vec<Removal>, StoreError> {
        let begun = store.read_deleted().await?.into_iter().filter(|(_, deleted)| deleted.removing);
        let begun: HashSet<JobUid> = begun.map(|(job, _)| job).collect();
        if begun.is_empty() {
            return Ok(vec![]);
        }
        let jobs = store.read_jobs().await?.into_iter().filter(|job| begun.contains(&job.uid));
        Ok(jobs.map(|job| Removal { job: job.uid, attempts: job.attempts, cell: None }).collect())
    }
}

impl Core {
    /// Removes a job at once, with the blobs that nobody else needs, and says what that did.
    pub(super) async fn remove_now(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        reason: String,
        now: Micros,
    ) -> Result<DeleteReceipt, Refused> {
        let mut receipt = self.begin_receipt(cell).await?;
        let images = self.read_images_of(cell).await?;
        let job = cell.job();
        let one = self.life.removing.lock().await;
        self.begin_removal(cell, reason, now).await?;
        self.wait_for_writers(cell).await?;
        let measured = self.store.measure_job(&cell.uid).await?;
        self.finish_removals(&one).await?;
        drop(one);
        receipt.removed.records = measured.records;
        receipt.removed.record_bytes = measured.bytes;
        self.remove_blobs_of(&job, images, &mut receipt).await?;
        receipt.freed_bytes = receipt.removed.record_bytes + receipt.removed.blob_bytes;
        Ok(receipt)
    }

    /// Removes a job whose time to be restored has passed.
    pub(super) async fn remove_expired(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        now: Micros,
    ) -> Result<(), Refused> {
        let reason = match &cell.job().deleted {
            Some(deleted) if deleted.until_micros <= now => deleted.reason.clone(),
            // Restored meanwhile.
            _ => return Ok(()),
        };
        self.begin_removal(cell, reason, now).await?;
        self.go_on_removing().await
    }

    /// Makes sure that the job goes, and that nobody finds it any more.
    async fn begin_removal(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        reason: String,
        now: Micros,
    ) -> Result<(), Refused> {
        let _one = cell.writing.lock().await;
        cell.check_here()?;
        check_ended(cell)?;
        let job = cell.job();
        let since = job.deleted.as_ref().map_or(now, |deleted| deleted.since_micros);
        let removing = DeletedRecord { since, until: now, reason, removing: true };
        self.write_deleted(cell, Some(removing)).await?;
        cell.make_gone();
        self.registry.remove_job(cell);
        let removal = Removal { job: cell.uid, attempts: cell.attempts(), cell: Some(cell.clone()) };
        self.life.removals.lock().expect(LOCK).push(removal);
        Ok(())
    }

    /// Waits for all that is under way to a job that is gone; what comes later is refused.
    async fn wait_for_writers(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        let Some(heads) = cell.find_last_heads().await else {
            // A round may be on its way with heads that were let go of.
            self.sealer.round_ended().await;
            return Ok(());
        };
        // In the order in which a request takes them.
        let _no_request = heads.appending.lock().await;
        let _no_channel = heads.writing.lock().await;
        heads.make_stale();
        self.sealer.drop_stale(&heads);
        let sessions: Vec<_> = heads.lock().sessions.values().cloned().collect();
        for session in sessions {
            self.settled(&session).await?;
        }
        // Heads from before these, if there were any, are stale too, so no later round writes to the job.
        self.sealer.round_ended().await;
        cell.forget_heads(&heads);
        Ok(())
    }

    /// Does what is left of all removals that have begun.
    pub(super) async fn go_on_removing(&self) -> Result<(), Refused> {
        let one = self.life.removing.lock().await;
        self.finish_removals(&one).await
    }

    async fn finish_removals(&self, _one: &MutexGuard<'_, ()>) -> Result<(), Refused> {
        loop {
            let Some(removal) = self.life.removals.lock().expect(LOCK).first().cloned() else {
                return Ok(());
            };
            self.check_running()?;
            if let Some(cell) = &removal.cell {
                self.wait_for_writers(cell).await?;
            }
            self.store.clear_job(&removal.job).await?;
            let attempts: Vec<(AttemptNumber, Digest)> = (1..)
                .zip(&removal.attempts)
                .map(|(number, record)| {
                    let attempt = AttemptNumber(number);
                    (attempt, attempt_token(&self.store, &removal.job, attempt, &record.claim).1)
                })
                .collect();
            self.store.finish_removal(&removal.job, &attempts).await?;
            self.sealed_cache.forget(&removal.job);
            self.life.removals.lock().expect(LOCK).retain(|left| left.job != removal.job);
            self.counters.removed_jobs.fetch_add(1, Ordering::Relaxed);
            tracing::info!(job = %removal.job, "removed a deleted job");
        }
    }

    /// Removes what only a removed job named, and says what stays and why.
    async fn remove_blobs_of(
        &self,
        job: &Job,
        mut mine: HashSet<Digest>,
        receipt: &mut DeleteReceipt,
    ) -> Result<(), Refused> {
        let project = &job.project;
        // The collector looks at the same records.
        let _one = self.life.collecting.lock().await;
        let ended = job.ended_micros.unwrap_or(job.created_micros);
        let used_later =
            |digest: &Digest| self.life.uses.lock().expect(LOCK).is_later_than(project, digest, ended);
        let named = self.read_named(project).await?;
        let mut manifest = None;
        if let Some(snapshot) = job.snapshot {
            mine.extend(self.read_files_of(&[snapshot]).await?);
            let held = self.store.find_snapshot(project, &snapshot).await?;
            if let Some(held) =
                held.filter(|_| !named.snapshots.contains(&snapshot) && !used_later(&snapshot))
            {
                let mut writes = Writes::new();
                writes.delete_snapshot(project, &held);
                self.store.commit(writes).await?;
                manifest = Some(snapshot);
            }
        }
        let mut needed = self.read_files_held(project).await?;
        needed.extend(&named.images);

        let mut kept = BTreeMap::<KeptWhy, Vec<Digest>>::new();
        let mut gone = Vec::new();
        for digest in mine {
            if needed.contains(&digest) {
                kept.entry(KeptWhy::OtherJob).or_default().push(digest);
            } else if used_later(&digest) {
                kept.entry(KeptWhy::Upload).or_default().push(digest);
            } else {
                gone.push(digest);
            }
        }
        for part in gone.chunks(LET_GO) {
            let mut writes = Writes::new();
            for held in self.store.find_project_blobs(project, part).await?.iter().flatten() {
                writes.delete_project_blob(project, held);
            }
            if !writes.is_empty() {
                self.store.commit(writes).await?;
            }
        }
        for digest in gone.into_iter().chain(manifest) {
            match self.remove_bytes(&digest).await? {
                BytesRemoved::Removed(size_bytes) => {
                    receipt.removed.blobs += 1;
                    receipt.removed.blob_bytes += size_bytes;
                }
                BytesRemoved::Absent => {}
                BytesRemoved::Held => kept.entry(KeptWhy::OtherProject).or_default().push(digest),
                BytesRemoved::Copied => kept.entry(KeptWhy::Backup).or_default().push(digest),
            }
        }
        for (why, digests) in kept {
            let mut sum = Kept { why, blobs: digests.len() as u64, blob_bytes: 0 };
            for digest in &digests {
                sum.blob_bytes += self.blobs.find_size(digest).await?.unwrap_or(0);
            }
            receipt.kept.push(sum);
        }
        Ok(())
    }

    /// Removes the bytes of a digest that no project holds any more.
    pub(super) async fn remove_bytes(&self, digest: &Digest) -> Result<BytesRemoved, Refused> {
        let Ok(_not_copied) = self.life.copying.try_write() else { return Ok(BytesRemoved::Copied) };
        let _kept = self.life.keep_bytes(digest).await;
        let projects: Vec<_> = self.registry.list_projects().iter().map(|cell| cell.key.clone()).collect();
        if self.store.is_held(&projects, digest).await? {
            return Ok(BytesRemoved::Held);
        }
        let Some(size_bytes) = self.blobs.find_size(digest).await? else { return Ok(BytesRemoved::Absent) };
        self.blobs.delete(digest).await?;
        self.counters.removed_blobs.fetch_add(1, Ordering::Relaxed);
        self.counters.freed_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        Ok(BytesRemoved::Removed(size_bytes))
    }
}

/// What became of a blob's bytes.
pub(super) enum BytesRemoved {
    /// They are gone; so many.
    Removed(u64),
    /// There were none.
    Absent,
    /// Some project holds them.
    Held,
    /// Somebody copies all blobs now.
    Copied,
}
