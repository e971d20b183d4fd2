//! Jobs and their attempts.

use neptune_wire::job::{AbortJob, Attempt, ClaimJob, ClaimedAttempt, Exit, JobsQuery, Page, PatchJob};
use neptune_wire::table::{ColumnInfo, ColumnsQuery, GroupPage, RowPage};
use neptune_wire::{AttemptNumber, CreateJob, Job, JobRef};
use reqwest::Method;

use super::{Rest, RestError};

impl Rest {
    /// Creates a job; repeating it with the same uid answers the first result.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`]: `unknown-project`, `unknown-snapshot`, `invalid-field`, `taken` (the uid, by another job).
    pub async fn create_job(&self, job: &CreateJob) -> Result<Job, RestError> {
        self.answer(self.request_json(Method::POST, &["jobs"], job)?).await
    }

    /// One page of jobs; the query names neither `columns` nor `group`.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `invalid-field` naming the parameter.
    pub async fn list_jobs(&self, query: &JobsQuery) -> Result<Page<Job>, RestError> {
        self.answer(self.request(Method::GET, &["jobs"])?.query(query)).await
    }

    /// One page of rows; the query names `columns` and no `group`.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `invalid-field` naming the parameter and, of a filter, the column.
    pub async fn list_rows(&self, query: &JobsQuery) -> Result<RowPage, RestError> {
        self.answer(self.request(Method::GET, &["jobs"])?.query(query)).await
    }

    /// One page of groups; the query names `group`.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `invalid-field` naming the parameter and, of a filter, the column.
    pub async fn list_groups(&self, query: &JobsQuery) -> Result<GroupPage, RestError> {
        self.answer(self.request(Method::GET, &["jobs"])?.query(query)).await
    }

    /// One page of the columns that metrics, params and properties make.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-project`.
    pub async fn list_columns(&self, query: &ColumnsQuery) -> Result<Page<ColumnInfo>, RestError> {
        self.answer(self.request(Method::GET, &["jobs", "columns"])?.query(query)).await
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-job`.
    pub async fn read_job(&self, job: &JobRef) -> Result<Job, RestError> {
        self.answer(self.request(Method::GET, &["jobs", &job.to_string()])?).await
    }

    /// Changes name, description, tags or properties; answers the job after it.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`].
    pub async fn patch_job(&self, job: &JobRef, patch: &PatchJob) -> Result<Job, RestError> {
        self.answer(self.request_json(Method::PATCH, &["jobs", &job.to_string()], patch)?).await
    }

    /// Asks for the end of a job; answers the job after it.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`].
    pub async fn abort_job(&self, job: &JobRef, abort: &AbortJob) -> Result<Job, RestError> {
        self.answer(self.request_json(Method::POST, &["jobs", &job.to_string(), "abort"], abort)?).await
    }

    /// Takes a created job to run it here; repeating it with the same claim answers the same attempt and token.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `state-refused` when somebody else has it.
    pub async fn claim_job(&self, job: &JobRef, claim: &ClaimJob) -> Result<ClaimedAttempt, RestError> {
        self.answer(self.request_json(Method::POST, &["jobs", &job.to_string(), "attempts"], claim)?).await
    }

    /// One attempt.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-attempt`.
    pub async fn read_attempt(&self, job: &JobRef, attempt: AttemptNumber) -> Result<Attempt, RestError> {
        let (job, attempt) = (job.to_string(), attempt.to_string());
        self.answer(self.request(Method::GET, &["attempts", &job, &attempt])?).await
    }

    /// Reports how an attempt ended; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `superseded` when a newer attempt exists.
    pub async fn end_attempt(
        &self,
        job: &JobRef,
        attempt: AttemptNumber,
        exit: &Exit,
    ) -> Result<(), RestError> {
        let (job, attempt) = (job.to_string(), attempt.to_string());
        self.send(self.request_json(Method::PUT, &["attempts", &job, &attempt, "exit"], exit)?).await?;
        Ok(())
    }
}
