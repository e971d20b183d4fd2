//! Jobs: create, list, change, claim, abort, end. What a state may become is decided by `step` alone.

use neptune_wire::job::{
    AbortJob, Attempt, ClaimJob, ClaimedAttempt, CreateJob, Exit, Job, JobsQuery, Page, PatchJob,
};
use neptune_wire::{AttemptNumber, JobRef, JobUid, Micros};

use crate::{Engine, Grant, Refused};

impl Engine {
    /// Creates a job; the same uid again answers the first result. `fresh` is used when the request brings no uid.
    pub async fn create_job(
        &self,
        _grant: &Grant,
        _create: CreateJob,
        _fresh: JobUid,
        _now: Micros,
    ) -> Result<Job, Refused> {
        todo!("jobs")
    }

    /// One page of jobs.
    pub async fn list_jobs(&self, _grant: &Grant, _query: &JobsQuery) -> Result<Page<Job>, Refused> {
        todo!("jobs")
    }

    /// One job.
    pub async fn read_job(&self, _grant: &Grant, _job: &JobRef) -> Result<Job, Refused> {
        todo!("jobs")
    }

    /// Changes name, description, tags or properties.
    pub async fn patch_job(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _patch: PatchJob,
        _now: Micros,
    ) -> Result<Job, Refused> {
        todo!("jobs")
    }

    /// A client process takes the job to run it by hand; with `history` the job goes straight to its end.
    pub async fn claim_job(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _claim: ClaimJob,
        _now: Micros,
    ) -> Result<ClaimedAttempt, Refused> {
        todo!("jobs")
    }

    /// Asks for a job's end: a created job is aborted at once, a live one goes to aborting and its runner is told.
    pub async fn abort_job(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _abort: AbortJob,
        _now: Micros,
    ) -> Result<Job, Refused> {
        todo!("jobs")
    }

    /// One attempt.
    pub async fn read_attempt(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _attempt: AttemptNumber,
    ) -> Result<Attempt, Refused> {
        todo!("jobs")
    }

    /// Records how an attempt ended; the first end wins, repeating it changes nothing.
    pub async fn end_attempt(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _attempt: AttemptNumber,
        _exit: Exit,
        _now: Micros,
    ) -> Result<Job, Refused> {
        todo!("jobs")
    }
}
