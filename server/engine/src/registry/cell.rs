//! One job in memory: its records, put together as it is answered when asked for, and what it produced while that is used.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock, Weak};

use neptune_store::{
    AttemptRecord, DeletedRecord, JobRecord, JobSpec, Record as _, StoredJob, params_from_spec,
};
use neptune_wire::job::Attempt;
use neptune_wire::{AttemptNumber, Deleted, Job, JobId, JobRef, JobState, JobUid, Micros};
use tokio::sync::watch;

use super::LOCK;
use crate::Refused;
use crate::engine::Core;
use crate::heads::JobHeads;
use crate::table::Marks;

/// Memory of a job's points is given back when nobody asked for them for so long and no session holds them.
const IDLE_MICROS: i64 = 10 * 60 * 1_000_000;
/// Of no change.
const UNTABLED: u64 = u64::MAX;
pub(crate) const OUT_OF_TABLE: u64 = u64::MAX - 1;

/// A spec in memory is what this process made of one that it read or checked.
const ENCODED_HERE: &str = "the spec was encoded by this process";

/// One job.
pub(crate) struct JobCell {
    pub(crate) uid: JobUid,
    pub(crate) id: JobId,
    /// One change at a time; held over the commit.
    pub(crate) writing: tokio::sync::Mutex<()>,
    pub(super) now: RwLock<JobNow>,
    /// Points dropped, ever; the frame log's lane alone changes it.
    pub(crate) dropped: AtomicU64,
    /// Micros of ticks since the runner was last heard of.
    pub(crate) unheard: AtomicU64,
    /// Number of the newest control connection.
    pub(crate) controls: AtomicU32,
    /// Counts changes of the record and of who controls it; made when somebody follows, as few jobs are.
    changed: OnceLock<watch::Sender<u64>>,
    heads: RwLock<Option<Arc<JobHeads>>>,
    loading: tokio::sync::Mutex<()>,
    marks: Arc<Marks>,
    /// It waits to be taken into the table.
    pub(crate) marked: AtomicBool,
    /// The change that the table has of it; [`UNTABLED`] at first, [`OUT_OF_TABLE`] once the job is gone.
    pub(crate) tabled: AtomicU64,
    /// Its heads were in memory since the start, or hold what is not sealed: what is stored of its channels may be older
    /// than what the table has, or is to have.
    pub(crate) was_loaded: AtomicBool,
    /// It is being removed: nothing is read or written any more.
    gone: AtomicBool,
    /// When it was made, if that was since the start of this process.
    made: OnceLock<Micros>,
}

pub(super) struct JobNow {
    pub(super) record: JobRecord,
    pub(super) attempts: Vec<AttemptRecord>,
    /// The spec as it is stored: a few hundred bytes, where its fields take kilobytes.
    spec: Box<[u8]>,
    pub(super) properties: BTreeMap<String, String>,
    /// Few jobs are.
    pub(super) deleted: Option<Box<Deleted>>,
    /// The job as it is answered, while somebody holds it.
    pub(super) job: Weak<Job>,
    /// Number of its latest change in the registry.
    pub(super) change: u64,
}

impl JobCell {
    pub(crate) fn new(stored: StoredJob, dropped: u64, marks: Arc<Marks>) -> JobCell {
        let StoredJob { uid, record, spec, properties, attempts, deleted } = stored;
        let id = JobId { project: record.project.clone(), number: record.number };
        let spec = spec.encode().as_ref().into();
        let deleted = deleted.as_ref().map(|deleted| Box::new(deleted_from_record(deleted)));
        let job = Weak::new();
        JobCell {
            uid,
            id,
            writing: tokio::sync::Mutex::default(),
            now: RwLock::new(JobNow { record, attempts, spec, properties, deleted, job, change: 0 }),
            dropped: AtomicU64::new(dropped),
            unheard: AtomicU64::new(0),
            controls: AtomicU32::new(0),
            changed: OnceLock::new(),
            heads: RwLock::default(),
            loading: tokio::sync::Mutex::default(),
            marks,
            marked: AtomicBool::new(false),
            tabled: AtomicU64::new(UNTABLED),
            was_loaded: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            made: OnceLock::new(),
        }
    }

    /// Notes for the table that the job, or something it produced, has changed.
    pub(crate) fn mark(self: &Arc<Self>) {
        self.marks.mark(self);
    }

    /// The number of its latest change.
    pub(crate) fn change(&self) -> u64 {
        self.now.read().expect(LOCK).change
    }

    /// The job as it is answered; the same one for all who hold it until it changes.
    pub(crate) fn job(&self) -> Arc<Job> {
        if let Some(job) = self.now.read().expect(LOCK).job.upgrade() {
            return job;
        }
        let mut now = self.now.write().expect(LOCK);
        if let Some(job) = now.job.upgrade() {
            return job;
        }
        let spec = JobSpec::decode(&now.spec).expect(ENCODED_HERE);
        let job = Arc::new(self.job_from_now(&now, spec));
        now.job = Arc::downgrade(&job);
        job
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> JobState {
        self.now.read().expect(LOCK).record.status.state
    }

    /// Whether it is deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.now.read().expect(LOCK).deleted.is_some()
    }

    /// Whether it is being removed, or is already.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// When it was made, if this process made it.
    pub(crate) fn made(&self) -> Option<Micros> {
        self.made.get().copied()
    }

    /// Notes that this process made it.
    pub(crate) fn made_now(&self, now: Micros) {
        self.made.get_or_init(|| now);
    }

    /// Whether its program may live and send what it has not sent: it is live, or was not heard of only since `time`.
    pub(crate) fn may_send(&self, time: Micros) -> bool {
        let now = self.now.read().expect(LOCK);
        let status = &now.record.status;
        status.state.is_live()
            || status.state == JobState::Lost && status.silent_since.is_some_and(|since| since >= time)
    }

    /// Whether it is marked as not heard of.
    pub(crate) fn is_silent(&self) -> bool {
        self.now.read().expect(LOCK).record.status.silent_since.is_some()
    }

    /// Follows changes of the record and of who controls it.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.changed.get_or_init(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those who follow.
    pub(crate) fn note_change(&self) {
        if let Some(changed) = self.changed.get() {
            changed.send_modify(|count| *count += 1);
        }
    }

    /// What the table takes in of a job: all of it but its command, environment, metric and snapshot.
    pub(crate) fn job_for_table(&self) -> Job {
        let now = self.now.read().expect(LOCK);
        let params = params_from_spec(&now.spec).expect(ENCODED_HERE);
        self.job_from_now(&now, JobSpec { params, ..JobSpec::default() })
    }

    fn job_from_now(&self, now: &JobNow, spec: JobSpec) -> Job {
        let JobNow { record, attempts, properties, deleted, .. } = now;
        let JobSpec { params, command, environment, metric, snapshot } = spec;
        let status = &record.status;
        Job {
            id: self.id.clone(),
            uid: self.uid,
            project: self.id.project.clone(),
            name: record.name.clone(),
            description: record.description.clone(),
            state: status.state,
            reason: status.reason.clone(),
            silent_since_micros: status.silent_since,
            exit_code: status.exit_code,
            attempt: status.attempt,
            created_micros: record.created,
            started_micros: status.started,
            ended_micros: status.ended,
            host: attempts.last().and_then(|attempt| attempt.host.clone()),
            command,
            params,
            tags: record.tags.clone(),
            properties: properties.clone(),
            environment,
            metric,
            snapshot,
            dropped_points: self.dropped.load(Ordering::Relaxed),
            deleted: deleted.as_deref().cloned(),
        }
    }

    /// The record that is stored.
    pub(crate) fn record(&self) -> JobRecord {
        self.now.read().expect(LOCK).record.clone()
    }

    pub(crate) fn attempts(&self) -> Vec<AttemptRecord> {
        self.now.read().expect(LOCK).attempts.clone()
    }

    pub(crate) fn reference(&self) -> JobRef {
        JobRef::Id(self.id.clone())
    }

    /// The attempt as it is answered.
    pub(crate) fn find_attempt(&self, attempt: AttemptNumber) -> Result<Attempt, Refused> {
        let now = self.now.read().expect(LOCK);
        let at = (attempt.0 as usize).checked_sub(1);
        let record = at.and_then(|at| now.attempts.get(at));
        let record = record.ok_or_else(|| Refused::UnknownAttempt { job: self.reference(), attempt })?;
        Ok(Attempt {
            job: self.id.clone(),
            attempt,
            executor: record.executor.clone(),
            host: record.host.clone(),
            claimed_micros: record.claimed,
            exit: record.exit.clone(),
        })
    }

    /// Refuses to write to a job that is deleted.
    pub(crate) fn check_kept(&self) -> Result<(), Refused> {
        self.check_here()?;
        match &self.now.read().expect(LOCK).deleted {
            None => Ok(()),
            Some(deleted) => {
                Err(Refused::JobDeleted { job: self.reference(), reason: deleted.reason.clone() })
            }
        }
    }

    /// Refuses to read a job that is being removed.
    pub(crate) fn check_here(&self) -> Result<(), Refused> {
        if self.is_gone() {
            return Err(Refused::JobGone { job: self.reference() });
        }
        Ok(())
    }

    /// What was read of the job, unless it was removed meanwhile: then some of it may have been gone, and what went wrong
    /// is only that.
    pub(crate) fn unless_gone<T>(&self, read: Result<T, Refused>) -> Result<T, Refused> {
        self.check_here()?;
        read
    }

    /// Refuses an attempt that was superseded or never was, or whose job is deleted.
    pub(crate) fn check_attempt(&self, attempt: AttemptNumber) -> Result<(), Refused> {
        self.check_kept()?;
        let current = self.now.read().expect(LOCK).record.status.attempt;
        match current {
            Some(current) if current == attempt => Ok(()),
            Some(current) if attempt < current && attempt.0 > 0 => {
                Err(Refused::Superseded { attempt, current })
            }
            _ => Err(Refused::UnknownAttempt { job: self.reference(), attempt }),
        }
    }

    /// What the job produced, if it is in memory.
    pub(crate) fn find_heads(&self) -> Option<Arc<JobHeads>> {
        self.heads.read().expect(LOCK).clone()
    }

    /// From now on nobody reads in or writes what the job produced.
    pub(crate) fn make_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// What is in memory of a job that is gone.
    pub(crate) async fn find_last_heads(&self) -> Option<Arc<JobHeads>> {
        // Whoever was reading it in has it in memory then; whoever comes sees that it is gone.
        let _one = self.loading.lock().await;
        self.find_heads()
    }

    /// Gives back the memory of points that nobody but the caller uses, unless the table has still to hear of them.
    pub(crate) fn forget_unused(&self, heads: Arc<JobHeads>) {
        let mut held = self.heads.write().expect(LOCK);
        drop(heads);
        if held.as_ref().is_some_and(|held| Arc::strong_count(held) == 1 && !held.lock().has_fresh()) {
            *held = None;
        }
    }

    /// What the job produced, read from the store unless it is in memory.
    pub(crate) async fn heads(self: &Arc<Self>, core: &Core) -> Result<Arc<JobHeads>, Refused> {
        self.check_here()?;
        if let Some(heads) = self.find_heads() {
            heads.touch();
            return Ok(heads);
        }
        let _one = self.loading.lock().await;
        self.check_here()?;
        if let Some(heads) = self.find_heads() {
            return Ok(heads);
        }
        let heads = JobHeads::load(&core.store, self.uid, &core.sealer).await?;
        self.was_loaded.store(true, Ordering::Release);
        *self.heads.write().expect(LOCK) = Some(heads.clone());
        core.registry.note_loaded(self);
        self.mark();
        Ok(heads)
    }

    /// Lets go of what is in memory, because it may differ from what is stored.
    pub(crate) fn forget_heads(&self, heads: &Arc<JobHeads>) {
        let mut held = self.heads.write().expect(LOCK);
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, heads)) {
            *held = None;
        }
    }

    /// Whether the job's products stay in memory, because somebody used them not long ago, or because the table has still to
    /// hear of them if it ever will (`is_told`).
    pub(super) fn keeps_heads(&self, now: Micros, is_told: bool) -> bool {
        let mut held = self.heads.write().expect(LOCK);
        let idle = |heads: &Arc<JobHeads>| {
            // Only this lock hands out further references, so a count of one stays one.
            Arc::strong_count(heads) == 1
                && heads.idle_since(now).is_some_and(|idle| idle > IDLE_MICROS)
                && !(is_told && heads.lock().has_fresh())
        };
        if held.as_ref().is_some_and(idle) {
            *held = None;
        }
        held.is_some()
    }
}

/// The deletion as it is answered.
pub(crate) fn deleted_from_record(record: &DeletedRecord) -> Deleted {
    Deleted { since_micros: record.since, until_micros: record.until, reason: record.reason.clone() }
}
