//! The job table: every job's fields, params, properties and metric summaries as columns in memory, found by filter,
//! ordered by any of them, grouped, and followed as they change.
//!
//! Whoever changes a job marks its cell ([`Marks`]), which costs a lock held for an instant; marked jobs are taken in
//! together, by whoever asks next or by a task in the background ([`TAKE_IN_EVERY`]). So an answer knows everything
//! that was acknowledged before it was asked for, and the lanes of ingest never wait for the table.
//!
//! [`rows`] holds the columns ([`paged`], [`coded`]), [`filter`] reads the language, [`plan`] selects rows by what
//! [`condition`] asks of their values, [`order`] takes the first of them, [`group`] sums them up, [`answer`] and
//! [`question`] are the two ends of a request. A start takes metrics from what was saved ([`saved`]) and reads the rest
//! ([`source`]).

pub(crate) mod answer;
pub(crate) mod coded;
pub(crate) mod column;
pub(crate) mod condition;
pub(crate) mod filter;
pub(crate) mod follow;
pub(crate) mod group;
pub(crate) mod order;
pub(crate) mod paged;
pub(crate) mod plan;
pub(crate) mod question;
pub(crate) mod rows;
pub(crate) mod saved;
pub(crate) mod source;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use self::rows::{MetricCells, Rows};
use self::saved::Saved;
use crate::Refused;
use crate::engine::Core;
use crate::registry::{JobCell, LOCK, OUT_OF_TABLE};

/// Marked jobs are taken in at most so often in the background while somebody follows the table.
const TAKE_IN_EVERY: Duration = Duration::from_millis(50);
/// And so often while nobody does: it keeps what is marked from adding up.
const TAKE_IN_UNFOLLOWED: Duration = Duration::from_secs(1);

/// The table.
pub(crate) struct Table {
    rows: RwLock<Rows>,
    marks: Arc<Marks>,
    /// Held while marked jobs are taken in, so that whoever asks meanwhile waits for them.
    taking: Mutex<()>,
    /// The number of the newest change of a row.
    changed: watch::Sender<u64>,
    /// Whether the summaries of all stored jobs are in, as far as they could be read.
    filled: watch::Sender<bool>,
    /// There is a job that the table lacks something of.
    lacks: Notify,
    /// Whether all jobs that had frames at the start were in memory, once they were gone through.
    pub(crate) leftovers: watch::Sender<Option<bool>>,
    /// What is saved; held over a save.
    saved: tokio::sync::Mutex<Saved>,
}

/// Jobs that changed since they were last taken in.
#[derive(Default)]
pub(crate) struct Marks {
    cells: Mutex<Vec<Arc<JobCell>>>,
    /// There is one, after there was none.
    any: Notify,
    /// Somebody began to follow.
    followed: Notify,
}

impl Marks {
    /// Notes that a job, or something it produced, has changed.
    pub(crate) fn mark(&self, cell: &Arc<JobCell>) {
        // Decided under the lock: who finds it marked knows that it is in the list, or on its way into the table.
        let mut cells = self.cells.lock().expect(LOCK);
        if !cell.marked.swap(true, Ordering::AcqRel) {
            cells.push(cell.clone());
            if cells.len() == 1 {
                self.any.notify_one();
            }
        }
    }
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            rows: RwLock::default(),
            marks: Arc::default(),
            taking: Mutex::new(()),
            changed: watch::Sender::new(0),
            filled: watch::Sender::new(false),
            lacks: Notify::new(),
            leftovers: watch::Sender::new(None),
            saved: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// The rows with everything that was marked before.
    pub(crate) fn current(&self) -> RwLockReadGuard<'_, Rows> {
        self.take_in();
        self.rows.read().expect(LOCK)
    }

    /// The rows as they were last taken in.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().expect(LOCK)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().expect(LOCK)
    }

    /// Whether a change of it stopped half-way, so that nothing can be known from it any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.rows.is_poisoned() || self.taking.is_poisoned()
    }

    /// Jobs that the table lacks metrics of.
    pub(crate) fn count_unread(&self) -> u64 {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).unread().len() as u64
    }

    /// Takes in marked jobs.
    pub(crate) fn take_in(&self) {
        let _one = self.taking.lock().expect(LOCK);
        let marked = std::mem::take(&mut *self.marks.cells.lock().expect(LOCK));
        if marked.is_empty() {
            return;
        }
        let mut rows = self.rows.write().expect(LOCK);
        for cell in &marked {
            // Before it is looked at: what changes from here on marks it again. An exchange, so that what was changed
            // before the mark is seen here.
            cell.marked.swap(false, Ordering::AcqRel);
            take_cell(&mut rows, cell);
        }
        self.tell(rows);
    }

    /// Takes in one job, marked or not.
    pub(crate) fn take_in_job(&self, cell: &JobCell) {
        if self.has_failed() {
            return;
        }
        let _one = self.taking.lock().expect(LOCK);
        let mut rows = self.rows.write().expect(LOCK);
        take_cell(&mut rows, cell);
        self.tell(rows);
    }

    /// Wakes followers if there is anything new.
    fn tell(&self, rows: RwLockWriteGuard<'_, Rows>) {
        let last = rows.last_change();
        drop(rows);
        self.changed.send_if_modified(|change| std::mem::replace(change, last) != last);
    }

    /// Notes that the table lacks something of a job, which what it has in memory will tell once it is read again.
    pub(crate) fn note_unread(&self, cell: &JobCell) {
        // A table that has failed stays out of the way of whoever stores points.
        if self.has_failed() {
            return;
        }
        cell.was_loaded.store(true, Ordering::Release);
        self.write().note_unread(&cell.uid);
        self.lacks.notify_one();
    }

    /// Takes in what is stored of a job's metrics, unless it was in memory and speaks for itself. Answers whether the
    /// table has all of them.
    pub(crate) fn take_stored(&self, cell: &JobCell, metrics: &[(Box<str>, MetricCells)]) -> bool {
        let _one = self.taking.lock().expect(LOCK);
        let mut rows = self.rows.write().expect(LOCK);
        if !rows.is_unread(&cell.uid) {
            return true;
        }
        if cell.was_loaded.load(Ordering::Acquire) || cell.is_gone() {
            return false;
        }
        let (row, _) = rows.row_of(&cell.uid);
        let mut changed = false;
        for (name, cells) in metrics {
            changed |= rows.take_metric(row, name, cells);
        }
        if changed {
            rows.note_change(row);
        }
        rows.note_read(&cell.uid);
        self.tell(rows);
        true
    }

    /// Follows the table: the number of the newest change, and a way to wait for the next.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        // The task in the background may be in its longer pause.
        self.marks.followed.notify_one();
        self.changed.subscribe()
    }

    /// All stored jobs are in, or were found to be unreadable.
    pub(crate) fn fill(&self) {
        self.filled.send_replace(true);
    }
}

fn take_cell(rows: &mut Rows, cell: &JobCell) {
    if cell.is_gone() {
        // Once: another job may have come to have its uid since.
        if cell.tabled.swap(OUT_OF_TABLE, Ordering::AcqRel) != OUT_OF_TABLE {
            rows.remove(&cell.uid);
        }
        return;
    }
    let change = cell.change();
    if cell.tabled.swap(change, Ordering::AcqRel) != change {
        rows.take_job(&cell.job_for_table());
    }
    let Some(heads) = cell.find_heads() else { return };
    let fresh = heads.lock().take_fresh();
    // What heads hold is fresh at first, so what is not was taken in before.
    rows.note_read(&cell.uid);
    if fresh.is_empty() {
        return;
    }
    let (row, _) = rows.row_of(&cell.uid);
    let mut changed = false;
    for (name, summary) in &fresh {
        changed |= rows.take_metric(row, name.as_str(), &MetricCells::from(summary));
    }
    if changed {
        rows.note_change(row);
    }
}

impl Core {
    /// Waits until every stored job was read, or could not be.
    ///
    /// # Errors
    ///
    /// [`Refused::Busy`] when the engine stops.
    pub(crate) async fn table_filled(&self) -> Result<(), Refused> {
        let (mut filled, mut stopping) = (self.registry.table.filled.subscribe(), self.stopping.subscribe());
        tokio::select! {
            biased;
            // The senders live as long as the engine.
            _ = filled.wait_for(|filled| *filled) => Ok(()),
            _ = stopping.wait_for(|stopping| *stopping) => Err(Refused::Busy),
        }
    }

    /// Takes in marked jobs until the engine stops.
    pub(crate) async fn keep_table(self: Arc<Self>) {
        let mut stopping = self.stopping.subscribe();
        let table = &self.registry.table;
        let work = async {
            loop {
                table.marks.any.notified().await;
                let core = self.clone();
                // A thousand jobs that changed all their channels are tens of milliseconds.
                let taken = tokio::task::spawn_blocking(move || core.registry.table.take_in());
                if let Err(error) = taken.await {
                    if error.is_panic() {
                        tracing::error!(
                            "the job table has failed, which is a fault of the server; lists of jobs are refused \
                             until the next start, everything else goes on"
                        );
                    }
                    return;
                }
                if table.changed.receiver_count() > 0 {
                    tokio::time::sleep(TAKE_IN_EVERY).await;
                } else {
                    // A follower that comes meanwhile does not wait for the end of it.
                    let _ = tokio::time::timeout(TAKE_IN_UNFOLLOWED, table.marks.followed.notified()).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

#[cfg(test)]
mod tests;
