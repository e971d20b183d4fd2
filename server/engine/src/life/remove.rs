//! Removing a job for good. Restartable at any instruction:
//!
//! 1. its deletion says that it is being removed; from then on nobody finds it, and a start goes on from here;
//! 2. whoever wrote to it is waited for, the sealer among them, and whoever would is refused;
//! 3. all it produced is cleared; 4. its own records go, and its deletion with the last of them.
//!
//! Blobs that nobody else needs go afterwards when somebody waits for a receipt ([`super::let_go`]); else, and whatever a
//! crash leaves, the collector finds them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_store::{AttemptRecord, DeletedRecord, Store, StoreError};
use neptune_wire::life::DeleteReceipt;
use neptune_wire::{AttemptNumber, Digest, JobUid, Micros};
use tokio::sync::{MutexGuard, watch};

use super::delete::{check_ended, unless_damaged};
use crate::Refused;
use crate::access::attempt_token;
use crate::engine::Core;
use crate::registry::{JobCell, LOCK};

/// A removal that fails is tried again after this, then after twice as long, up to the longest.
const PAUSE_FIRST_MICROS: i64 = 1_000_000;
const PAUSE_LONGEST_MICROS: i64 = 10 * 60 * 1_000_000;

/// A job whose removal has begun.
#[derive(Clone)]
pub(super) struct Removal {
    job: JobUid,
    attempts: Vec<AttemptRecord>,
    /// Through which some may still be writing; none after a start.
    cell: Option<Arc<JobCell>>,
    /// Since the last try, which failed.
    pause: Option<Pause>,
}

#[derive(Clone, Copy)]
struct Pause {
    since: Micros,
    micros: i64,
}

/// Who wants a job removed.
enum Wish {
    /// Somebody who waits for the receipt.
    Now { reason: String },
    /// The time in which it could be restored has passed.
    Expired,
}

/// A removal that has begun now.
struct Begun {
    removal: Removal,
    /// Where the receipt goes, if there is to be one.
    told: Option<watch::Sender<Option<DeleteReceipt>>>,
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
        let removal = |job: neptune_store::StoredJob| Removal {
            job: job.uid,
            attempts: job.attempts,
            cell: None,
            pause: None,
        };
        Ok(jobs.map(removal).collect())
    }

    /// Whether it may be tried. A clock that went back does not keep it from that.
    fn is_due(&self, now: Micros) -> bool {
        self.pause.is_none_or(|pause| !(pause.since.0..pause.since.0 + pause.micros).contains(&now.0))
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
        let images = self.read_images_of(cell).await;
        let images = unless_damaged(cell, &mut receipt, images)?.unwrap_or_default();
        let job = cell.job();
        let one = self.life.removing.lock().await;
        let gone = || Refused::JobGone { job: cell.reference() };
        let begun = self.begin_removal(cell, Wish::Now { reason }, now).await?.ok_or_else(gone)?;
        self.wait_for_writers(cell).await?;
        let measured = self.store.measure_job(&cell.uid).await.map_err(Refused::from);
        let measured = unless_damaged(cell, &mut receipt, measured)?.unwrap_or_default();
        self.finish_removal(&one, &begun.removal).await?;
        drop(one);
        receipt.removed.records = measured.records;
        receipt.removed.record_bytes = measured.bytes;
        if let Err(error) = self.remove_blobs_of(cell, &job, images, now, &mut receipt).await {
            // The job is gone, and somebody waits to be told so.
            tracing::warn!(job = %cell.id, %error, "files of a removed job are left to the collector");
        }
        receipt.freed_bytes = receipt.removed.record_bytes + receipt.removed.blob_bytes;
        if let Some(told) = begun.told {
            told.send_replace(Some(receipt.clone()));
        }
        Ok(receipt)
    }

    /// Begins the removal of all jobs whose time to be restored has passed.
    pub(super) async fn remove_all_expired(self: &Arc<Self>, now: Micros) -> Result<(), Refused> {
        let mut outcome = Ok(());
        for cell in self.registry.list_deleted() {
            self.check_running()?;
            if is_expired(&cell, now) {
                outcome = outcome.and(self.begin_removal(&cell, Wish::Expired, now).await.map(drop));
            }
        }
        outcome
    }

    /// Makes sure that the job goes, and that nobody finds it any more; `None` if it need not go any more.
    async fn begin_removal(
        self: &Arc<Self>,
        cell: &Arc<JobCell>,
        wish: Wish,
        now: Micros,
    ) -> Result<Option<Begun>, Refused> {
        let _one = cell.writing.lock().await;
        let deleted = cell.job().deleted.clone();
        let (reason, told) = match (wish, &deleted) {
            // It may have been restored, or removed by somebody else, before it was this one's turn.
            (Wish::Expired, _) if cell.is_gone() || !is_expired(cell, now) => return Ok(None),
            (Wish::Expired, deleted) => (deleted.as_ref().map(|deleted| deleted.reason.clone()), None),
            (Wish::Now { reason }, _) => {
                cell.check_here()?;
                check_ended(cell)?;
                (Some(reason), Some(self.life.receipts.begin(cell)))
            }
        };
        let since = deleted.as_ref().map_or(now, |deleted| deleted.since_micros);
        let reason = reason.unwrap_or_default();
        let removing = DeletedRecord { since, until: now, reason, removing: true };
        self.write_deleted(cell, Some(removing)).await?;
        let removal =
            Removal { job: cell.uid, attempts: cell.attempts(), cell: Some(cell.clone()), pause: None };
        self.life.removals.lock().expect(LOCK).push(removal.clone());
        cell.make_gone();
        self.registry.remove_job(cell);
        Ok(Some(Begun { removal, told }))
    }

    /// Waits for all that is under way to a job that is gone; what comes later is refused.
    async fn wait_for_writers(&self, cell: &Arc<JobCell>) -> Result<(), Refused> {
        let Some(heads) = cell.find_last_heads().await else {
            // A round may be on its way with heads that were let go of.
            self.sealer.round_ended().await;
            return Ok(());
        };
        // First, as a request that waits for room holds what is asked for next, and finds it so.
        heads.make_stale();
        self.sealer.drop_stale(&heads);
        // In the order in which a request takes them.
        let _no_request = heads.appending.lock().await;
        let _no_channel = heads.writing.lock().await;
        let sessions: Vec<_> = heads.lock().sessions.values().cloned().collect();
        for session in sessions {
            self.settled(&session).await?;
        }
        // Heads from before these, if there were any, are stale too, so no later round writes to the job.
        self.sealer.round_ended().await;
        cell.forget_heads(&heads);
        Ok(())
    }

    /// Does what is left of all removals that have begun; one that fails keeps no other from its end. Answers the first
    /// failure.
    pub(super) async fn go_on_removing(&self, now: Micros) -> Result<(), Refused> {
        let one = self.life.removing.lock().await;
        let due: Vec<Removal> =
            self.life.removals.lock().expect(LOCK).iter().filter(|one| one.is_due(now)).cloned().collect();
        let mut outcome = Ok(());
        for removal in due {
            self.check_running()?;
            let finished = self.finish_removal(&one, &removal).await;
            if finished.is_err() {
                self.put_off(&removal, now);
            }
            outcome = outcome.and(finished);
        }
        outcome
    }

    fn put_off(&self, failed: &Removal, now: Micros) {
        let micros = failed.pause.map_or(PAUSE_FIRST_MICROS, |pause| 2 * pause.micros);
        let pause = Pause { since: now, micros: micros.min(PAUSE_LONGEST_MICROS) };
        let mut removals = self.life.removals.lock().expect(LOCK);
        removals.iter_mut().filter(|one| one.job == failed.job).for_each(|one| one.pause = Some(pause));
    }

    async fn finish_removal(&self, _one: &MutexGuard<'_, ()>, removal: &Removal) -> Result<(), Refused> {
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
        Ok(())
    }
}

/// Whether the time has passed in which a deleted job can be restored.
fn is_expired(cell: &JobCell, now: Micros) -> bool {
    cell.job().deleted.as_ref().is_some_and(|deleted| deleted.until_micros <= now)
}
