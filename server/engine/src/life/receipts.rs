//! Receipts of jobs that were removed at once: whoever asks again, because the first answer took too long to arrive, gets
//! the same one. Kept in memory, for the latest removals.

use std::collections::VecDeque;
use std::sync::Mutex;

use neptune_wire::life::DeleteReceipt;
use neptune_wire::{JobId, JobRef, JobUid};
use tokio::sync::watch;

use crate::registry::{JobCell, LOCK};

/// Removals that are remembered, at some hundred bytes each.
const REMEMBERED: usize = 1_000;

/// The latest removals, oldest first.
#[derive(Default)]
pub(super) struct Receipts(Mutex<VecDeque<Entry>>);

struct Entry {
    job: JobUid,
    id: JobId,
    receipt: watch::Receiver<Option<DeleteReceipt>>,
}

impl Receipts {
    /// Remembers that a job is being removed: from now on [`Receipts::find`] waits for what is told. Nobody finds the job
    /// itself any more after that.
    pub(super) fn begin(&self, cell: &JobCell) -> watch::Sender<Option<DeleteReceipt>> {
        let (told, receipt) = watch::channel(None);
        let mut entries = self.0.lock().expect(LOCK);
        entries.push_back(Entry { job: cell.uid, id: cell.id.clone(), receipt });
        if entries.len() > REMEMBERED {
            entries.pop_front();
        }
        told
    }

    /// The receipt of a removal, once it is done; none of one that is not known, or that failed.
    pub(super) async fn find(&self, job: &JobRef) -> Option<DeleteReceipt> {
        let mut receipt = {
            let entries = self.0.lock().expect(LOCK);
            let is_this = |entry: &&Entry| match job {
                JobRef::Uid(uid) => entry.job == *uid,
                JobRef::Id(id) => entry.id == *id,
            };
            entries.iter().rfind(is_this)?.receipt.clone()
        };
        let told = receipt.wait_for(Option::is_some).await.ok()?;
        told.clone()
    }
}
