//! Projects and jobs in memory: found by key, id and uid, changed one at a time, watched by whoever follows them.
//!
//! Each job is a cell with locks of its own, so that work on one job never waits for another. Every published change gets
//! a number of the registry; a follower asks for "what changed after number n" and gets each changed job once, in its
//! latest form, so followers need no queues.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use neptune_store::{
    AttemptRecord, DeletedRecord, JobRecord, JobSpec, ProjectRecord, Record as _, Store, StoreError,
    StoredJob, params_from_spec,
};
use neptune_wire::job::Attempt;
use neptune_wire::{
    AttemptNumber, Deleted, Job, JobId, JobRef, JobState, JobUid, Micros, Project, ProjectKey,
};
use tokio::sync::watch;

use crate::engine::Core;
use crate::heads::JobHeads;
use crate::table::{Marks, Table};
use crate::{Engine, Refused};

/// Memory of a job's points is given back when nobody asked for them for so long and no session holds them.
const IDLE_MICROS: i64 = 10 * 60 * 1_000_000;
/// Locks that keep two creates of one uid apart.
const CREATING: usize = 64;
/// Removed jobs of which a follower that lags behind is still told.
const REMOVED_TOLD: usize = 1_000;

/// All projects and jobs.
pub(crate) struct Registry {
    projects: RwLock<BTreeMap<ProjectKey, Arc<ProjectCell>>>,
    jobs: RwLock<HashMap<JobUid, Arc<JobCell>>>,
    live: Mutex<HashMap<JobUid, Arc<JobCell>>>,
    /// Those that are deleted and can be restored.
    deleted: Mutex<HashMap<JobUid, Arc<JobCell>>>,
    changes: Mutex<Changes>,
    /// The number of the newest change.
    changed: watch::Sender<u64>,
    /// One project is created at a time.
    pub(crate) creating_project: tokio::sync::Mutex<()>,
    creating_job: [tokio::sync::Mutex<()>; CREATING],
    /// All jobs as columns.
    pub(crate) table: Table,
}

#[derive(Default)]
struct Changes {
    last: u64,
    /// Of jobs that were removed since, oldest first.
    removed: VecDeque<u64>,
    /// Every changed job under the number of its latest change.
    latest: BTreeMap<u64, Arc<JobCell>>,
}

/// One project.
pub(crate) struct ProjectCell {
    pub(crate) key: ProjectKey,
    pub(crate) record: Mutex<ProjectRecord>,
    /// One job is numbered at a time.
    pub(crate) writing: tokio::sync::Mutex<()>,
    jobs: RwLock<BTreeMap<u64, Arc<JobCell>>>,
}

/// One job.
pub(crate) struct JobCell {
    pub(crate) uid: JobUid,
    pub(crate) id: JobId,
    /// One change at a time; held over the commit.
    pub(crate) writing: tokio::sync::Mutex<()>,
    now: RwLock<JobNow>,
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
    /// Its heads were in memory since the start: what is stored may be older than what the table has.
    pub(crate) was_loaded: AtomicBool,
    /// It is being removed: nothing is read or written any more.
    gone: AtomicBool,
}

struct JobNow {
    record: JobRecord,
    attempts: Vec<AttemptRecord>,
    /// The spec as it is stored: a few hundred bytes, where its fields take kilobytes.
    spec: Box<[u8]>,
    properties: BTreeMap<String, String>,
    /// Few jobs are.
    deleted: Option<Box<Deleted>>,
    /// The job as it is answered, while somebody holds it.
    job: Weak<Job>,
    /// Number of its latest change in the registry.
    change: u64,
}

impl Registry {
    pub(crate) async fn open(store: &Store) -> Result<Registry, StoreError> {
        let registry = Registry {
            projects: RwLock::default(),
            jobs: RwLock::default(),
            live: Mutex::default(),
            deleted: Mutex::default(),
            changes: Mutex::default(),
            changed: watch::Sender::new(0),
            creating_project: tokio::sync::Mutex::default(),
            creating_job: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            table: Table::new(),
        };
        for (key, record) in store.read_projects().await? {
            registry.add_project(key, record);
        }
        let mut dropped: HashMap<JobUid, u64> =
            store.read_dropped().await?.into_iter().map(|(job, record)| (job, record.points)).collect();
        for job in store.read_jobs().await? {
            if job.deleted.as_ref().is_some_and(|deleted| deleted.removing) {
                continue;
            }
            let dropped = dropped.remove(&job.uid).unwrap_or(0);
            registry.add_job(job, dropped);
        }
        Ok(registry)
    }

    pub(crate) fn add_project(&self, key: ProjectKey, record: ProjectRecord) {
        let cell = ProjectCell {
            key: key.clone(),
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::default(),
            jobs: RwLock::default(),
        };
        self.projects.write().expect(LOCK).insert(key, Arc::new(cell));
    }

    /// Takes in a job that is stored; answers its cell.
    pub(crate) fn add_job(&self, stored: StoredJob, dropped: u64) -> Arc<JobCell> {
        let cell = Arc::new(JobCell::new(stored, dropped, self.table.marks().clone()));
        let project = self.projects.read().expect(LOCK).get(&cell.id.project).cloned();
        if let Some(project) = project {
            project.jobs.write().expect(LOCK).insert(cell.id.number, cell.clone());
        }
        self.jobs.write().expect(LOCK).insert(cell.uid, cell.clone());
        self.watch_if_live(&cell);
        cell.mark();
        cell
    }

    pub(crate) fn list_projects(&self) -> Vec<Arc<ProjectCell>> {
        self.projects.read().expect(LOCK).values().cloned().collect()
    }

    pub(crate) fn find_project(&self, key: &ProjectKey) -> Result<Arc<ProjectCell>, Refused> {
        let found = self.projects.read().expect(LOCK).get(key).cloned();
        found.ok_or_else(|| Refused::UnknownProject { project: key.clone() })
    }

    pub(crate) fn find_uid(&self, uid: &JobUid) -> Option<Arc<JobCell>> {
        self.jobs.read().expect(LOCK).get(uid).cloned()
    }

    pub(crate) fn find_job(&self, job: &JobRef) -> Result<Arc<JobCell>, Refused> {
        let found = match job {
            JobRef::Uid(uid) => self.find_uid(uid),
            JobRef::Id(id) => {
                let project = self.projects.read().expect(LOCK).get(&id.project).cloned();
                project.and_then(|project| project.jobs.read().expect(LOCK).get(&id.number).cloned())
            }
        };
        found.ok_or_else(|| match job {
            JobRef::Id(id) if self.gave_number(id) => Refused::JobGone { job: job.clone() },
            _ => Refused::UnknownJob { job: job.clone() },
        })
    }

    /// Whether the project's counter has passed the number.
    fn gave_number(&self, id: &JobId) -> bool {
        let Ok(project) = self.find_project(&id.project) else { return false };
        let last = project.record.lock().expect(LOCK).last_number;
        (1..=last).contains(&id.number)
    }

    /// Jobs that are deleted and can be restored.
    pub(crate) fn list_deleted(&self) -> Vec<Arc<JobCell>> {
        self.deleted.lock().expect(LOCK).values().cloned().collect()
    }

    /// Every job of a project, deleted ones among them.
    pub(crate) fn list_cells(&self, project: &ProjectKey) -> Vec<Arc<JobCell>> {
        let Ok(project) = self.find_project(project) else { return vec![] };
        project.jobs.read().expect(LOCK).values().cloned().collect()
    }

    /// Lets go of a job that is being removed: nobody finds it any more.
    pub(crate) fn remove_job(&self, cell: &Arc<JobCell>) {
        let project = self.projects.read().expect(LOCK).get(&cell.id.project).cloned();
        if let Some(project) = project {
            project.jobs.write().expect(LOCK).remove(&cell.id.number);
        }
        self.jobs.write().expect(LOCK).remove(&cell.uid);
        self.deleted.lock().expect(LOCK).remove(&cell.uid);
        let change = cell.now.read().expect(LOCK).change;
        let mut changes = self.changes.lock().expect(LOCK);
        changes.removed.push_back(change);
        if changes.removed.len() > REMOVED_TOLD
            && let Some(oldest) = changes.removed.pop_front()
        {
            changes.latest.remove(&oldest);
        }
        drop(changes);
        // The table lets go of it.
        cell.mark();
        cell.note_change();
    }

    /// Jobs whose attempt is live.
    pub(crate) fn list_live(&self) -> Vec<Arc<JobCell>> {
        self.live.lock().expect(LOCK).values().cloned().collect()
    }

    /// Jobs, live jobs, channels in memory.
    pub(crate) fn count(&self) -> (u64, u64, u64) {
        let jobs = self.jobs.read().expect(LOCK);
        let channels = jobs.values().filter_map(|cell| cell.find_heads()).map(|heads| heads.channel_count());
        (jobs.len() as u64, self.live.lock().expect(LOCK).len() as u64, channels.sum())
    }

    /// Keeps two creates of one uid apart.
    pub(crate) async fn creating(&self, uid: &JobUid) -> tokio::sync::MutexGuard<'_, ()> {
        let fold = uid.as_bytes().iter().fold(0_usize, |fold, byte| fold ^ usize::from(*byte));
        self.creating_job[fold % CREATING].lock().await
    }

    /// Makes a stored change of a job visible and wakes its followers.
    pub(crate) fn publish(
        &self,
        cell: &Arc<JobCell>,
        change: impl FnOnce(&mut JobRecord, &mut Vec<AttemptRecord>, &mut BTreeMap<String, String>),
    ) {
        self.publish_now(cell, |now| change(&mut now.record, &mut now.attempts, &mut now.properties));
    }

    /// The same of what became of its deletion.
    pub(crate) fn publish_deleted(&self, cell: &Arc<JobCell>, record: JobRecord, deleted: Option<Deleted>) {
        self.publish_now(cell, |now| {
            now.record = record;
            now.deleted = deleted.map(Box::new);
        });
    }

    fn publish_now(&self, cell: &Arc<JobCell>, change: impl FnOnce(&mut JobNow)) {
        {
            let mut now = cell.now.write().expect(LOCK);
            let now = &mut *now;
            change(now);
            // Whoever asks next gets the new one.
            now.job = Weak::new();
            let mut changes = self.changes.lock().expect(LOCK);
            changes.latest.remove(&now.change);
            changes.last += 1;
            now.change = changes.last;
            let last = changes.last;
            changes.latest.insert(last, cell.clone());
        }
        self.watch_if_live(cell);
        cell.mark();
        cell.note_change();
        self.changed.send_modify(|last| *last = self.changes.lock().expect(LOCK).last);
    }

    fn watch_if_live(&self, cell: &Arc<JobCell>) {
        let mut live = self.live.lock().expect(LOCK);
        if cell.state().is_live() {
            live.insert(cell.uid, cell.clone());
        } else {
            live.remove(&cell.uid);
        }
        drop(live);
        let mut deleted = self.deleted.lock().expect(LOCK);
        if cell.is_deleted() {
            deleted.insert(cell.uid, cell.clone());
        } else {
            deleted.remove(&cell.uid);
        }
    }

    /// Follows all jobs: the number of the newest change, and a way to wait for the next.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// At most `limit` jobs changed after `change`, each in its latest form, and the number to go on from.
    pub(crate) fn changed_after(&self, change: u64, limit: usize) -> (Vec<Arc<Job>>, u64) {
        let changes = self.changes.lock().expect(LOCK);
        let later: Vec<(u64, Arc<JobCell>)> =
            changes.latest.range(change + 1..).take(limit).map(|(at, cell)| (*at, cell.clone())).collect();
        drop(changes);
        let last = later.last().map_or(change, |(at, _)| *at);
        (later.iter().map(|(_, cell)| cell.job()).collect(), last)
    }

    /// Gives back the memory of points that nobody asked for in a while.
    pub(crate) fn forget_idle(&self, now: Micros) {
        for cell in self.jobs.read().expect(LOCK).values() {
            cell.forget_if_idle(now);
        }
    }
}

/// Of no change.
const UNTABLED: u64 = u64::MAX;
pub(crate) const OUT_OF_TABLE: u64 = u64::MAX - 1;

/// A spec in memory is what this process made of one that it read or checked.
const ENCODED_HERE: &str = "the spec was encoded by this process";

/// A poisoned lock means that a change stopped half-way; going on would answer from it.
pub(crate) const LOCK: &str = "no panic happens under this lock";

impl ProjectCell {
    pub(crate) fn project(&self) -> Project {
        let record = self.record.lock().expect(LOCK);
        Project {
            key: self.key.clone(),
            name: record.name.clone(),
            created_micros: record.created,
            jobs: record.jobs,
        }
    }
}

impl JobCell {
    fn new(stored: StoredJob, dropped: u64, marks: Arc<Marks>) -> JobCell {
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

    /// Gives back the memory of points that nobody but the caller uses.
    pub(crate) fn forget_unused(&self, heads: Arc<JobHeads>) {
        let mut held = self.heads.write().expect(LOCK);
        drop(heads);
        if held.as_ref().is_some_and(|held| Arc::strong_count(held) == 1) {
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

    fn forget_if_idle(&self, now: Micros) {
        let mut held = self.heads.write().expect(LOCK);
        let idle = |heads: &Arc<JobHeads>| {
            // Only this lock hands out further references, so a count of one stays one.
            Arc::strong_count(heads) == 1 && heads.idle_since(now).is_some_and(|idle| idle > IDLE_MICROS)
        };
        if held.as_ref().is_some_and(idle) {
            *held = None;
        }
    }
}

/// The deletion as it is answered.
pub(crate) fn deleted_from_record(record: &DeletedRecord) -> Deleted {
    Deleted { since_micros: record.since, until_micros: record.until, reason: record.reason.clone() }
}

impl Engine {
    /// A job that the grant may read.
    pub(crate) fn find_job(&self, grant: &crate::Grant, job: &JobRef) -> Result<Arc<JobCell>, Refused> {
        let cell = self.core.registry.find_job(job)?;
        grant.check_job(&cell)?;
        Ok(cell)
    }
}
