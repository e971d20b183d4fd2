//! Uses of blobs by those who may be about to name them: whoever uploads a blob, or is told that it is there.
//!
//! Durably, a use takes back that a blob is unneeded. In memory, the latest uses are remembered, so that a job that is
//! removed at once does not take along what somebody else counts on.
//!
//! Who names a snapshot or a file of one is told and names it under one [`Using`]. Who lets go of blobs at once waits for
//! those under way, then looks at what is named, and keeps what was used since ([`Leaver`]). An image is named long after
//! its file was used, by the same attempt: that use counts for the whole grace, whoever else is removed meanwhile.

use std::collections::HashMap;

use neptune_store::{Held, Writes};
use neptune_wire::{Digest, JobUid, Micros, ProjectKey};
use tokio::sync::RwLockReadGuard;

use super::Life;
use crate::Refused;
use crate::engine::Core;
use crate::registry::LOCK;

/// Blobs whose uses are remembered one by one, at some two hundred bytes each.
const REMEMBERED: usize = 100_000;
/// Blobs that are taken back in one commit: each is a condition and a change of at most a thousand.
const TAKEN_BACK: usize = 400;

/// While it lives, what somebody is told to be there is not let go of at once.
pub(crate) struct Using<'a>(
    #[expect(dead_code, reason = "it is held, not looked at")] RwLockReadGuard<'a, ()>,
);

/// Who uses a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// An attempt of this job, or an import of it.
    Job(JobUid),
    /// Whoever may do everything: a runner before its job is there, or an import.
    Operator,
}

/// The latest uses.
#[derive(Default)]
pub(super) struct Uses {
    projects: HashMap<ProjectKey, UsesOfProject>,
    /// Blobs in all of them.
    count: usize,
    /// Counts uses.
    last: u64,
}

#[derive(Default)]
struct UsesOfProject {
    latest: HashMap<Digest, UsesOfBlob>,
    /// Every blob of the project counts as used then: the memory for single ones was full.
    all: Option<Use>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    at: Micros,
    number: u64,
}

/// Of two jobs, as one of them may be the one that is removed.
#[derive(Default)]
struct UsesOfBlob {
    operator: Option<Use>,
    /// The latest first.
    jobs: [Option<(JobUid, Use)>; 2],
}

/// A job that is removed, to those who used what it named.
pub(super) struct Leaver {
    pub(super) job: JobUid,
    /// When it was made, if this process made it: what was used before was used to make it.
    pub(super) made: Option<Micros>,
    /// A use by others from then on counts.
    pub(super) grace_begins: Micros,
    /// So many uses were there before the look at what is named: what came later is not in it.
    pub(super) looked_after: u64,
}

impl Uses {
    fn remember(&mut self, project: &ProjectKey, digests: &[Digest], user: User, now: Micros) {
        self.last += 1;
        let this = Use { at: now, number: self.last };
        if !self.make_room(project, digests, this) {
            return;
        }
        let of_project = self.projects.entry(project.clone()).or_default();
        let before = of_project.latest.len();
        for digest in digests {
            let uses = of_project.latest.entry(*digest).or_default();
            match user {
                User::Operator => uses.operator = Some(this),
                User::Job(job) => {
                    if uses.jobs[0].is_some_and(|(first, _)| first != job) {
                        uses.jobs.swap(0, 1);
                    }
                    uses.jobs[0] = Some((job, this));
                }
            }
        }
        self.count += of_project.latest.len() - before;
    }

    /// Whether there is room for these. For lack of it, projects are forgotten blob by blob, the one with the most first:
    /// all of it counts as used then.
    fn make_room(&mut self, project: &ProjectKey, digests: &[Digest], this: Use) -> bool {
        loop {
            let known = self.projects.get(project).map(|uses| &uses.latest);
            let is_new = |digest: &&Digest| known.is_none_or(|known| !known.contains_key(*digest));
            let new = digests.iter().filter(is_new).count();
            if self.count + new <= REMEMBERED {
                return true;
            }
            let wanted = known.map_or(0, HashMap::len) + new;
            let others = self.projects.iter().filter(|(key, _)| *key != project);
            let most = others.max_by_key(|(_, uses)| uses.latest.len());
            let most = most.filter(|(_, uses)| uses.latest.len() > wanted).map(|(key, _)| key.clone());
            let is_other = most.is_some();
            let forgotten = self.projects.entry(most.unwrap_or_else(|| project.clone())).or_default();
            self.count -= forgotten.latest.len();
            forgotten.latest = HashMap::new();
            forgotten.all = Some(this);
            if !is_other {
                return false;
            }
        }
    }

    /// Whether somebody else may count on it.
    pub(super) fn outlasts(&self, project: &ProjectKey, digest: &Digest, leaver: &Leaver) -> bool {
        let counts = |one: &Use| one.number > leaver.looked_after || one.at >= leaver.grace_begins;
        let Some(of_project) = self.projects.get(project) else { return false };
        if of_project.all.as_ref().is_some_and(counts) {
            return true;
        }
        let Some(uses) = of_project.latest.get(digest) else { return false };
        let to_make_it =
            |one: &Use| one.number <= leaver.looked_after && leaver.made.is_some_and(|made| one.at <= made);
        uses.operator.as_ref().is_some_and(|one| counts(one) && !to_make_it(one))
            || uses.jobs.iter().flatten().any(|(job, one)| *job != leaver.job && counts(one))
    }

    /// Forgets what is older.
    pub(super) fn forget_before(&mut self, time: Micros) {
        let is_later = |one: &Use| one.at >= time;
        self.count = 0;
        self.projects.retain(|_, of_project| {
            of_project.latest.retain(|_, uses| {
                uses.operator.as_ref().is_some_and(is_later)
                    || uses.jobs.iter().flatten().any(|(_, one)| is_later(one))
            });
            of_project.all = of_project.all.filter(is_later);
            self.count += of_project.latest.len();
            !of_project.latest.is_empty() || of_project.all.is_some()
        });
    }
}

impl Life {
    /// To be told what is there. Until it is dropped, that is not let go of at once; then the use is remembered.
    pub(crate) async fn begin_use(&self) -> Using<'_> {
        Using(self.using.read().await)
    }

    /// Waits until all who were told what is there have named it; answers how many uses there were.
    pub(super) async fn uses_settled(&self) -> u64 {
        let _nobody = self.using.write().await;
        self.uses.lock().expect(LOCK).last
    }
}

impl Core {
    /// Which of the blobs the project has: it holds them, and their bytes are there, which a restore may have left out. The
    /// collector leaves those that it holds alone for its whole grace from now on.
    pub(crate) async fn use_blobs(
        &self,
        _using: &Using<'_>,
        project: &ProjectKey,
        digests: &[Digest],
        user: User,
        now: Micros,
    ) -> Result<Vec<bool>, Refused> {
        self.life.uses.lock().expect(LOCK).remember(project, digests, user, now);
        let mut there = Vec::with_capacity(digests.len());
        for part in digests.chunks(TAKEN_BACK) {
            let held = self.store.find_project_blobs(project, part).await?;
            let mut writes = Writes::new();
            for blob in held.iter().flatten().filter(|blob| blob.unneeded.is_some()) {
                writes.replace_project_blob(project, blob, None);
            }
            if !writes.is_empty() {
                // A conflict is the collector, which let go of one of them, or another use.
                self.store.commit(writes).await?;
            }
            let named: Vec<Digest> = held.iter().flatten().map(|blob| blob.digest).collect();
            let mut stored = self.blobs.are_there(&named).await?.into_iter();
            there.extend(held.iter().map(|held| held.is_some() && stored.next() == Some(true)));
        }
        Ok(there)
    }

    /// Whether the project has the snapshot, its manifest's bytes too; used from now on, as a blob is.
    pub(crate) async fn use_snapshot(
        &self,
        _using: &Using<'_>,
        project: &ProjectKey,
        snapshot: &Digest,
        now: Micros,
    ) -> Result<bool, Refused> {
        self.life.uses.lock().expect(LOCK).remember(project, &[*snapshot], User::Operator, now);
        let held = self.store.find_snapshot(project, snapshot).await?;
        if let Some(held @ Held { unneeded: Some(_), .. }) = &held {
            let mut writes = Writes::new();
            writes.replace_snapshot(project, held, None);
            self.store.commit(writes).await?;
        }
        Ok(held.is_some() && self.blobs.find_size(snapshot).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JobUid = JobUid::from_bytes([1; 16]);
    const B: JobUid = JobUid::from_bytes([2; 16]);
    const C: JobUid = JobUid::from_bytes([3; 16]);

    fn leaver(job: JobUid, made: i64) -> Leaver {
        Leaver { job, made: Some(Micros(made)), grace_begins: Micros(10), looked_after: 100 }
    }

    #[track_caller]
    fn check(uses: &[(User, i64)], leaver: Leaver, outlasts: bool) {
        let project = ProjectKey::new("TRIG").unwrap();
        let digest = Digest::from_bytes([7; 32]);
        let mut all = Uses::default();
        for (user, at) in uses {
            all.remember(&project, &[digest], *user, Micros(*at));
        }
        assert_eq!(all.outlasts(&project, &digest, &leaver), outlasts);
        let other = ProjectKey::new("OTHER").unwrap();
        assert!(!all.outlasts(&other, &digest, &leaver));
    }

    #[test]
    fn a_use_by_others_counts_for_the_grace_however_many_there_were() {
        let job = User::Job;
        check(&[], leaver(A, 50), false);
        check(&[(job(A), 60)], leaver(A, 50), false);
        // Before the end of the job that goes, or whenever: as long as the grace lasts.
        check(&[(job(B), 10), (job(A), 60)], leaver(A, 50), true);
        check(&[(job(B), 9), (job(A), 60)], leaver(A, 50), false);
        check(&[(job(B), 20), (job(C), 30), (job(A), 40)], leaver(A, 50), true);
        check(&[(job(B), 20), (job(A), 30), (job(B), 40)], leaver(B, 50), true);
        // Before the job was made, it was used to make it; a later look is somebody else's.
        check(&[(User::Operator, 50)], leaver(A, 50), false);
        check(&[(User::Operator, 51)], leaver(A, 50), true);
        check(&[(job(B), 20), (User::Operator, 30), (job(A), 60)], leaver(A, 50), true);
    }

    #[test]
    fn what_is_used_after_the_look_counts_whatever_the_clock_says() {
        let leaver = |job| Leaver { looked_after: 1, ..leaver(job, 50) };
        check(&[(User::Operator, 1)], leaver(A), false);
        check(&[(User::Operator, 1), (User::Operator, 1)], leaver(A), true);
        check(&[(User::Operator, 1), (User::Job(B), 1)], leaver(A), true);
    }

    fn digest(at: usize) -> Digest {
        Digest::from_bytes(*blake3::hash(&at.to_le_bytes()).as_bytes())
    }

    #[test]
    fn a_full_memory_counts_as_use_of_everything_in_the_project_that_filled_it() {
        let (project, other) = (ProjectKey::new("TRIG").unwrap(), ProjectKey::new("OTHER").unwrap());
        let digests: Vec<Digest> = (0..REMEMBERED - 1).map(digest).collect();
        let mut uses = Uses::default();
        uses.remember(&other, &[digest(0)], User::Job(A), Micros(20));
        // What is remembered takes no more room when it is used again.
        for _ in 0..3 {
            uses.remember(&project, &digests, User::Job(A), Micros(20));
            assert!(!uses.outlasts(&project, &digest(0), &leaver(A, 50)));
        }
        uses.remember(&project, &[digest(REMEMBERED)], User::Job(A), Micros(20));
        assert!(uses.outlasts(&project, &digest(0), &leaver(A, 50)));
        assert!(!uses.outlasts(&other, &digest(0), &leaver(A, 50)));
        assert!(uses.outlasts(&other, &digest(0), &leaver(B, 50)), "it is still remembered");
        uses.forget_before(Micros(21));
        assert!(!uses.outlasts(&project, &digest(0), &leaver(A, 50)));
        assert!(uses.projects.is_empty() && uses.count == 0);
    }

    #[test]
    fn a_small_project_finds_room_where_a_large_one_took_it() {
        let (large, small) = (ProjectKey::new("TRIG").unwrap(), ProjectKey::new("OTHER").unwrap());
        let digests: Vec<Digest> = (0..REMEMBERED).map(digest).collect();
        let mut uses = Uses::default();
        uses.remember(&large, &digests, User::Job(A), Micros(20));
        uses.remember(&small, &digests[..10], User::Job(A), Micros(20));
        assert!(uses.outlasts(&large, &digest(20), &leaver(A, 50)));
        assert!(!uses.outlasts(&small, &digest(0), &leaver(A, 50)));
        assert!(uses.outlasts(&small, &digest(0), &leaver(B, 50)));
        assert_eq!(uses.count, 10);
    }
}
