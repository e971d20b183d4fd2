//! The end of life: jobs that are deleted, what is removed with them, rules of retention, and the collector of blobs.
//!
//! A delete hides a job ([`delete`]); when its time has passed, or at once if asked, it is removed ([`remove`]). Blobs belong
//! to projects, not to jobs: which of them a project still needs is found by looking ([`needed`]), and what nobody named for
//! a while is let go by the collector ([`collect`]). [`retention`] deletes by rules. All that time alone does is a chore,
//! begun by a tick and done beside it, one after the other.

mod collect;
mod delete;
mod let_go;
mod needed;
mod receipts;
mod remove;
mod retention;
mod uses;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use neptune_store::kv::CheckpointError;
use neptune_store::{Store, StoreError};
use neptune_wire::{Digest, Micros, ProjectKey, Retention};
use tokio::sync::{MutexGuard, OwnedRwLockReadGuard, RwLock};

use self::receipts::Receipts;
use self::remove::Removal;
pub(crate) use self::retention::check_stored as check_stored_retention;
use self::uses::Uses;
pub(crate) use self::uses::{User, Using};
use crate::engine::{Core, DAY_MICROS};
use crate::registry::LOCK;
use crate::{Engine, Refused, Times};

/// Between two looks at the rules of retention, which speak of days.
const RETENTION_EVERY_MICROS: i64 = 10 * 60 * 1_000_000;
/// Between two passes of the collector: it reads every snapshot's manifest and every list of images.
const COLLECT_EVERY_MICROS: i64 = 6 * 60 * 60 * 1_000_000;
/// From the start, or a pass that failed, to the next one: a start has other work, but some servers never live for hours.
const COLLECT_FIRST_MICROS: i64 = 10 * 60 * 1_000_000;
/// Locks that keep the end of an upload and the collector apart.
const KEEPING: usize = 64;

/// What the ends of life need to remember.
pub(crate) struct Life {
    pub(crate) times: Times,
    pub(crate) retentions: Mutex<BTreeMap<ProjectKey, Retention>>,
    uses: Mutex<Uses>,
    /// Shared by those who use blobs until these are named, held alone by whoever lets go of some at once.
    using: RwLock<()>,
    /// The first time this process was told; 0 until then.
    began: AtomicI64,
    /// When something was last imported into a project.
    imports: Mutex<BTreeMap<ProjectKey, Micros>>,
    receipts: Receipts,
    /// Jobs whose removal has begun and is not done.
    removals: Mutex<Vec<Removal>>,
    /// One removal at a time.
    removing: tokio::sync::Mutex<()>,
    /// One pass of the collector at a time.
    collecting: tokio::sync::Mutex<()>,
    keeping: [tokio::sync::Mutex<()>; KEEPING],
    /// Read by whoever copies blobs: no file of one is removed meanwhile.
    copying: Arc<RwLock<()>>,
    /// The chores are being done.
    busy: AtomicBool,
    last_retention: AtomicI64,
    last_collect: AtomicI64,
    /// Projects whose blobs all stayed in the last pass of the collector.
    pub(crate) passed_over: AtomicU64,
}

impl Life {
    pub(crate) async fn open(store: &Store, times: Times) -> Result<Life, StoreError> {
        let retentions = store.read_retentions().await?.into_iter().collect();
        Ok(Life {
            times,
            retentions: Mutex::new(retentions),
            uses: Mutex::default(),
            using: RwLock::default(),
            began: AtomicI64::new(0),
            imports: Mutex::default(),
            receipts: Receipts::default(),
            removals: Mutex::new(Removal::read_all(store).await?),
            removing: tokio::sync::Mutex::default(),
            collecting: tokio::sync::Mutex::default(),
            keeping: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            copying: Arc::default(),
            busy: AtomicBool::new(false),
            last_retention: AtomicI64::new(0),
            last_collect: AtomicI64::new(0),
            passed_over: AtomicU64::new(0),
        })
    }

    /// Notes the first time that this process is told; answers it.
    fn begin(&self, now: Micros) -> Micros {
        match self.began.compare_exchange(0, now.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => now,
            Err(began) => Micros(began),
        }
    }

    /// While it is held, the bytes of this digest are not removed by the collector, which asks for it too.
    pub(crate) async fn keep_bytes(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        self.keeping[usize::from(digest.as_bytes()[0]) % KEEPING].lock().await
    }
}

/// While it lives, no file of a blob is removed: somebody copies them.
#[derive(Debug)]
pub struct BlobsKept(#[expect(dead_code, reason = "it is held, not looked at")] OwnedRwLockReadGuard<()>);

impl Engine {
    /// Copies the ordered state as of now into a folder that is not there, while everything goes on, and keeps all blobs
    /// until the answer is dropped: those that the copy names are there to be copied.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub async fn checkpoint(&self, folder: &Path) -> Result<BlobsKept, CheckpointError> {
        let kept = self.core.life.copying.clone().read_owned().await;
        self.store().checkpoint(folder).await?;
        Ok(BlobsKept(kept))
    }
}

impl Core {
    /// Notes that something is being imported into a project: rules of retention leave it alone for a while.
    pub(crate) fn note_import(&self, project: &ProjectKey, now: Micros) -> Result<(), Refused> {
        let project = self.registry.find_project(project)?;
        self.life.imports.lock().expect(LOCK).insert(project.key.clone(), now);
        Ok(())
    }

    /// Does what is due by the time, beside whatever else goes on; does nothing while the last call's work goes on.
    pub(crate) fn begin_chores(self: &Arc<Self>, now: Micros) {
        if self.life.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = self.clone();
        tokio::spawn(async move {
            if let Err(error) = core.do_chores(now).await
                && core.check_running().is_ok()
            {
                tracing::warn!(%error, "deleted jobs and blobs could not be cleared away; trying again");
            }
            core.life.busy.store(false, Ordering::Release);
        });
    }

    /// Does every chore that is due, whatever became of the one before; answers the first failure.
    pub(crate) async fn do_chores(self: &Arc<Self>, now: Micros) -> Result<(), Refused> {
        if self.store.disk().has_failed() {
            return Ok(());
        }
        self.life.begin(now);
        let mut outcome = self.remove_all_expired(now).await;
        outcome = outcome.and(self.go_on_removing(now).await);
        if is_due(&self.life.last_retention, RETENTION_EVERY_MICROS, now, 0) {
            outcome = outcome.and(self.apply_retention(now).await);
        }
        if is_due(&self.life.last_collect, COLLECT_EVERY_MICROS, now, COLLECT_FIRST_MICROS) {
            let collected = self.collect(now).await;
            if collected.is_err() {
                let soon = now.0 - COLLECT_EVERY_MICROS + COLLECT_FIRST_MICROS;
                self.life.last_collect.store(soon, Ordering::Relaxed);
            }
            outcome = outcome.and(collected.map(drop));
        }
        outcome
    }
}

/// Whether so much time has passed since it was last so; in the beginning it is so after `first`.
fn is_due(last: &AtomicI64, every: i64, now: Micros, first: i64) -> bool {
    let before = last.load(Ordering::Relaxed);
    if before == 0 && first > 0 {
        last.store(now.0 - every + first, Ordering::Relaxed);
        return false;
    }
    // A clock that went back does not stop the work.
    let due = before == 0 || now.0 < before || now.0 - before >= every;
    if due {
        last.store(now.0, Ordering::Relaxed);
    }
    due
}

impl Life {
    /// The rules of a project; none when it has none.
    pub(crate) fn retention_of(&self, project: &ProjectKey) -> Retention {
        self.retentions.lock().expect(LOCK).get(project).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
