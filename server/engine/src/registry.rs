//! Projects and jobs in memory: found by key, id and uid, changed one at a time, watched by whoever follows them.
//!
//! Each job is a cell with locks of its own, so that work on one job never waits for another. Every published change gets
//! a number of the registry; a follower asks for "what changed after number n" and gets each changed job once, in its
//! latest form, so followers need no queues.

mod cell;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, RwLock, Weak};

use neptune_store::{AttemptRecord, JobRecord, ProjectRecord, Store, StoreError, StoredJob};
use neptune_wire::{Deleted, Job, JobId, JobRef, JobUid, Micros, Project, ProjectKey};
use tokio::sync::watch;

use self::cell::JobNow;
pub(crate) use self::cell::{JobCell, OUT_OF_TABLE, deleted_from_record};
use crate::table::Table;
use crate::{Engine, Refused};

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
    /// Those whose products are in memory, or were a moment ago.
    loaded: Mutex<HashMap<JobUid, Arc<JobCell>>>,
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

impl Registry {
    pub(crate) async fn open(store: &Store) -> Result<Registry, StoreError> {
        let registry = Registry {
            projects: RwLock::default(),
            jobs: RwLock::default(),
            live: Mutex::default(),
            deleted: Mutex::default(),
            loaded: Mutex::default(),
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
        // A late commit may tell of a job whose removal has begun.
        if cell.is_deleted() && !cell.is_gone() {
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

    /// A job's products are in memory now.
    fn note_loaded(&self, cell: &Arc<JobCell>) {
        self.loaded.lock().expect(LOCK).insert(cell.uid, cell.clone());
    }

    /// Gives back the memory of points that nobody asked for in a while.
    pub(crate) fn forget_idle(&self, now: Micros) {
        let is_told = !self.table.has_failed();
        self.loaded.lock().expect(LOCK).retain(|_, cell| cell.keeps_heads(now, is_told));
    }
}

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

impl Engine {
    /// A job that the grant may read.
    pub(crate) fn find_job(&self, grant: &crate::Grant, job: &JobRef) -> Result<Arc<JobCell>, Refused> {
        let cell = self.core.registry.find_job(job)?;
        grant.check_job(&cell)?;
        Ok(cell)
    }
}
