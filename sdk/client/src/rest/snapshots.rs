//! Snapshots: only blobs the project does not have travel.

use futures::{StreamExt, TryStreamExt, stream};
use neptune_wire::snapshot::{Manifest, Snapshot, SnapshotDiff, SnapshotReceipt};
use neptune_wire::{Digest, JobRef, ProjectKey};
use reqwest::Method;

use super::{BlobSource, Download, Rest, RestError};

/// Blobs on their way at once.
const UPLOADS: usize = 4;
/// Rounds of "post, upload what is missing": the second finds everything, a third heals a race with a collector.
const ROUNDS: usize = 3;

/// What an upload of a snapshot came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// The snapshot, to be named in a job.
    pub snapshot: Digest,
    /// Blobs that had to travel.
    pub blobs: usize,
}

impl Rest {
    /// Posts a manifest; the answer names the blobs that are missing.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `invalid-field` naming the file.
    pub async fn create_snapshot(
        &self,
        project: &ProjectKey,
        manifest: &Manifest,
    ) -> Result<SnapshotReceipt, RestError> {
        let segments = ["projects", project.as_str(), "snapshots"];
        self.answer(self.request_json(Method::POST, &segments, manifest)?).await
    }

    /// Posts a manifest, uploads missing blobs from where `find` says they are, and posts again until none is missing.
    ///
    /// # Errors
    ///
    /// [`RestError`]; [`RestError::Protocol`] when the server asks for a blob that `find` does not know.
    pub async fn upload_snapshot(
        &self,
        project: &ProjectKey,
        manifest: &Manifest,
        find: impl Fn(Digest) -> Option<BlobSource>,
    ) -> Result<Uploaded, RestError> {
        let mut blobs = 0;
        for _ in 0..ROUNDS {
            let receipt = self.create_snapshot(project, manifest).await?;
            if receipt.missing.is_empty() {
                return Ok(Uploaded { snapshot: receipt.snapshot, blobs });
            }
            let mut uploads = vec![];
            for digest in receipt.missing {
                let source = find(digest).ok_or_else(|| {
                    self.protocol(format!("it asks for a blob {digest} that is not in the snapshot"))
                })?;
                uploads.push(async move { self.put_blob(project, digest, &source).await });
            }
            blobs += uploads.len();
            stream::iter(uploads).buffer_unordered(UPLOADS).try_collect::<Vec<()>>().await?;
        }
        Err(self.protocol(format!("blobs are still missing after {ROUNDS} uploads")))
    }

    /// What a job's snapshot is.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-snapshot`.
    pub async fn read_snapshot(&self, job: &JobRef) -> Result<Snapshot, RestError> {
        self.answer(self.request(Method::GET, &["jobs", &job.to_string(), "snapshot"])?).await
    }

    /// The files of a job's snapshot.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-snapshot`.
    pub async fn read_snapshot_tree(&self, job: &JobRef) -> Result<Manifest, RestError> {
        self.answer(self.request(Method::GET, &["jobs", &job.to_string(), "snapshot", "tree"])?).await
    }

    /// One file of a job's snapshot.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-file`.
    pub async fn download_snapshot_file(&self, job: &JobRef, path: &str) -> Result<Download, RestError> {
        let job = job.to_string();
        let mut segments = vec!["jobs", &job, "snapshot", "file"];
        segments.extend(path.split('/'));
        self.download(self.request(Method::GET, &segments)?).await
    }

    /// A job's snapshot as a tar archive.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-snapshot`.
    pub async fn download_snapshot_archive(&self, job: &JobRef) -> Result<Download, RestError> {
        self.download(self.request(Method::GET, &["jobs", &job.to_string(), "snapshot", "archive"])?).await
    }

    /// What changed from this job's snapshot to another's.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-snapshot`.
    pub async fn diff_snapshots(&self, job: &JobRef, other: &JobRef) -> Result<SnapshotDiff, RestError> {
        let (job, other) = (job.to_string(), other.to_string());
        self.answer(self.request(Method::GET, &["jobs", &job, "snapshot", "diff", &other])?).await
    }
}
