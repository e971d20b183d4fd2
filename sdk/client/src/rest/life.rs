//! Deleting and restoring jobs, rules of retention, importing.

use bytes::Bytes;
use neptune_wire::life::{
    Collected, DeleteQuery, DeleteReceipt, ImportFramesQuery, ImportJob, ImportProject,
};
use neptune_wire::project::{Retention, RetentionPreview};
use neptune_wire::query::Appended;
use neptune_wire::{Job, JobRef, Project, ProjectKey};
use reqwest::{Method, header};

use super::{Rest, RestError};

impl Rest {
    /// Deletes a job: restorable for a time, or for good.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `state-refused` for a job that runs.
    pub async fn delete_job(&self, job: &JobRef, delete: &DeleteQuery) -> Result<DeleteReceipt, RestError> {
        self.answer(self.request(Method::DELETE, &["jobs", &job.to_string()])?.query(delete)).await
    }

    /// Brings a deleted job back.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `job-deleted` for a job that was removed for good.
    pub async fn restore_job(&self, job: &JobRef) -> Result<Job, RestError> {
        self.answer(self.request(Method::POST, &["jobs", &job.to_string(), "restore"])?).await
    }

    /// A project's rules of retention.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-project`.
    pub async fn read_retention(&self, project: &ProjectKey) -> Result<Retention, RestError> {
        self.answer(self.request(Method::GET, &["projects", project.as_str(), "retention"])?).await
    }

    /// Replaces them.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `invalid-field` for a rule that cannot be meant.
    pub async fn replace_retention(
        &self,
        project: &ProjectKey,
        retention: &Retention,
    ) -> Result<Retention, RestError> {
        let segments = ["projects", project.as_str(), "retention"];
        self.answer(self.request_json(Method::PUT, &segments, retention)?).await
    }

    /// What a project's rules, or others instead, would delete now.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_retention`].
    pub async fn preview_retention(
        &self,
        project: &ProjectKey,
        instead: Option<&Retention>,
    ) -> Result<RetentionPreview, RestError> {
        let segments = ["projects", project.as_str(), "retention", "preview"];
        self.answer(self.request_json(Method::POST, &segments, &instead)?).await
    }

    /// Lets the collector make a pass.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`]
    pub async fn collect(&self) -> Result<Collected, RestError> {
        self.answer(self.request(Method::POST, &["collector"])?).await
    }

    /// Takes in a project as it was exported.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `taken` when the key belongs to a project of another name.
    pub async fn import_project(&self, import: &ImportProject) -> Result<Project, RestError> {
        self.answer(self.request_json(Method::POST, &["imports", "projects"], import)?).await
    }

    /// Takes in a job as it was exported, or more of one that was begun.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `made-here` when a job that was made on the server has its uid, with `taken` when another
    /// imported one has.
    pub async fn import_job(&self, import: &ImportJob) -> Result<Job, RestError> {
        self.answer(self.request_json(Method::POST, &["imports", "jobs"], import)?).await
    }

    /// Stores frames of an imported job, once per `key`; each is a u32 little-endian length and the frame.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`], with `count-differs` when the job's points do not end where these go on, with `unknown-blob`
    /// when an image is not there; then none of them is stored.
    pub async fn import_frames(
        &self,
        job: &JobRef,
        key: &str,
        place: &ImportFramesQuery,
        frames: &Bytes,
    ) -> Result<Appended, RestError> {
        let request = self.request(Method::POST, &["imports", "jobs", &job.to_string(), "frames"])?;
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        self.answer(request.query(place).header("Idempotency-Key", key).body(frames.clone())).await
    }
}
