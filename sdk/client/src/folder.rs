//! A job's folder: everything of a job that the server does not have yet, under a spool root.
//!
//! ```text
//! <root>/<job uid>/
//!   lock               held by the runner while it lives
//!   writers            shared by every writer while it lives, whether or not it has spooled anything
//!   job.json           JobFile: the create, the claim, and after registration id, attempt and token (mode 0600)
//!   exit.json          Exit, once the program ended
//!   snapshot/          manifest.json, blobs/<digest>: what could not be uploaded
//!   sessions/<session>/ one writer's spool, owned by its process
//! ```
//!
//! Every file is written beside its place, synced and renamed, so a reader finds the old or the new one, never half.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use neptune_wire::id::ClaimId;
use neptune_wire::job::Exit;
use neptune_wire::snapshot::Manifest;
use neptune_wire::{AttemptNumber, CreateJob, Digest, JobId, Micros, Param, ProjectKey};
use serde::{Deserialize, Serialize};

use crate::rest::BlobSource;
use crate::spool::{FORMAT, Lock, LockError, check_format, replace_file, sync_tree};

const WRITERS: &str = "writers";

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
    /// Whether the project was named by its name alone: the first project of that name is it, and the key in `create` is
    /// what a new one gets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub project_by_name: bool,
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

/// `job.json` as it is written.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    /// [`FORMAT`] when it was written.
    format: u32,
    #[serde(flatten)]
    file: T,
}

/// One job's folder, owned by this process.
#[derive(Debug)]
pub struct JobFolder {
    path: PathBuf,
    file: JobFile,
    _lock: Lock,
}

impl JobFolder {
    /// Makes `<root>/<uid>` with its `job.json` and takes its lock.
    ///
    /// # Errors
    ///
    /// What the disk said; `AlreadyExists` when the folder has a `job.json`; `InvalidInput` when the create has no uid.
    pub fn create(root: &Path, file: JobFile) -> io::Result<Self> {
        let uid = file.create.uid;
        let uid = uid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the job has no uid"))?;
        let path = root.join(uid.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let lock = Lock::take(&path.join("lock"))?;
        if path.join("job.json").exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        drop(Lock::take(&path.join(WRITERS))?);
        let folder = Self { path, file, _lock: lock };
        folder.save()?;
        Ok(folder)
    }

    /// Takes over a folder whose owner is gone.
    ///
    /// # Errors
    ///
    /// What the disk said; `WouldBlock` when the owner lives; `NotFound` when there is no `job.json`; `InvalidData` when
    /// that is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let lock = Lock::take(&path.join("lock"))?;
        let stored: Stored<JobFile> = serde_json::from_slice(&fs::read(path.join("job.json"))?)?;
        check_format(stored.format)?;
        Ok(Self { path: path.into(), file: stored.file, _lock: lock })
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
        self.save()
    }

    /// Replaces the params, of a job that is not registered yet: a program without a runner learns them as it goes.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_params(&mut self, params: Vec<Param>) -> io::Result<()> {
        self.file.create.params = params;
        self.save()
    }

    /// Remembers when the program started.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_started(&mut self, started: Micros) -> io::Result<()> {
        self.file.started_micros = Some(started);
        self.save()
    }

    /// Remembers which project the job's turned out to be, of a job that is not registered yet.
    pub(crate) fn record_project(&mut self, project: ProjectKey) -> io::Result<()> {
        self.file.create.project = project;
        self.save()
    }

    /// Remembers which snapshot the job has, of a job that is not registered yet.
    pub(crate) fn record_snapshot(&mut self, snapshot: Digest) -> io::Result<()> {
        self.file.create.snapshot = Some(snapshot);
        self.save()
    }

    /// Remembers how the program ended.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn record_exit(&self, exit: &Exit) -> io::Result<()> {
        replace_file(&self.path.join("exit.json"), &serde_json::to_vec(exit)?, 0o600)
    }

    /// How the program ended, if that was recorded.
    pub(crate) fn read_exit(&self) -> io::Result<Option<Exit>> {
        read_json(&self.path.join("exit.json"))
    }

    /// Keeps a snapshot that could not be uploaded; blobs are copied from where `find` says they are.
    ///
    /// The manifest is written last: a snapshot that is half there is none.
    ///
    /// # Errors
    ///
    /// What the disk said; `NotFound` when `find` does not know a file of the manifest.
    pub fn store_snapshot(
        &self,
        manifest: &Manifest,
        find: impl Fn(Digest) -> Option<BlobSource>,
    ) -> io::Result<()> {
        let blobs = self.path.join("snapshot/blobs");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&blobs)?;
        for file in &manifest.files {
            let path = blobs.join(file.digest.to_string());
            match find(file.digest) {
                _ if path.exists() => {}
                Some(BlobSource::Bytes(bytes)) => fs::write(&path, bytes)?,
                Some(BlobSource::File(from)) => drop(fs::copy(from, &path)?),
                None => {
                    let text = format!("no bytes are known of {}", file.path);
                    return Err(io::Error::new(io::ErrorKind::NotFound, text));
                }
            }
        }
        sync_tree(&blobs)?;
        replace_file(&self.path.join("snapshot/manifest.json"), &manifest.canonical_json(), 0o600)
    }

    /// A snapshot that waits to be uploaded.
    pub(crate) fn read_snapshot(&self) -> io::Result<Option<Manifest>> {
        read_json(&self.path.join("snapshot/manifest.json"))
    }

    /// Where a blob of the snapshot lies.
    pub(crate) fn snapshot_blob(&self, digest: Digest) -> PathBuf {
        self.path.join("snapshot/blobs").join(digest.to_string())
    }

    /// The sessions that have something on disk.
    pub(crate) fn list_sessions(&self) -> io::Result<Vec<PathBuf>> {
        list_sessions(&self.path)
    }

    /// Gives the folder up: removes it when the exit is known to the server (`forgotten`), nothing waits in it and no
    /// writer lives that may still put something there, else leaves it to `neptune sync`. Answers whether it is gone.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn finish(self, forgotten: bool) -> io::Result<bool> {
        let waits = !forgotten || self.file.registered.is_none() || self.read_snapshot()?.is_some();
        if waits { Ok(false) } else { self.remove() }
    }

    /// Whether a writer lives that began when the folder was there.
    pub(crate) fn has_writers(&self) -> io::Result<bool> {
        Ok(self.lock_writers_out()?.is_none())
    }

    /// Deletes the folder, of which the server has everything, unless a writer lives or has just left something. Answers
    /// whether it is gone.
    pub(crate) fn remove(self) -> io::Result<bool> {
        let Some(_alone) = self.lock_writers_out()? else { return Ok(false) };
        if !self.list_sessions()?.is_empty() {
            return Ok(false);
        }
        // Without its `job.json` nobody takes a half-deleted folder for a job.
        fs::remove_file(self.job_file())?;
        fs::remove_dir_all(&self.path)?;
        Ok(true)
    }

    fn lock_writers_out(&self) -> io::Result<Option<Lock>> {
        match Lock::take(&self.path.join(WRITERS)) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held) => Ok(None),
            Err(LockError::Io(error)) => Err(error),
        }
    }

    fn save(&self) -> io::Result<()> {
        let stored = Stored { format: FORMAT, file: &self.file };
        replace_file(&self.job_file(), &serde_json::to_vec_pretty(&stored)?, 0o600)
    }
}

/// Keeps a job's folder from being removed while a writer lives. None where there is no such folder: a writer makes one
/// only when it must.
pub(crate) fn hold(job: &Path) -> Option<Lock> {
    // A folder that cannot be held is as good as none: the writer works all the same.
    Lock::share(&job.join(WRITERS)).ok()
}

/// Folders of sessions under a job's folder, oldest name first; those not wholly made yet are left out.
pub(crate) fn list_sessions(job: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(job.join("sessions")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.join("session.json").exists());
    paths.sort();
    Ok(paths)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use neptune_wire::job::ExitKind;
    use neptune_wire::snapshot::{File, Mode};

    use super::*;
    use crate::rest::digest_bytes;
    use crate::{new_claim_id, new_job_uid};

    fn job_file() -> JobFile {
        let create = serde_json::json!({"uid": new_job_uid(), "project": "TRIG", "name": "n"});
        JobFile {
            url: "http://127.0.0.1:1".into(),
            create: serde_json::from_value(create).unwrap(),
            project_name: None,
            project_by_name: false,
            claim: new_claim_id(),
            host: None,
            started_micros: None,
            registered: None,
        }
    }

    fn registered() -> Registered {
        Registered { id: "TRIG-1".parse().unwrap(), attempt: AttemptNumber(1), token: "secret".into() }
    }

    #[test]
    fn what_is_recorded_is_read_again_by_the_next_owner() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = JobFolder::create(root.path(), job_file()).unwrap();
        let exit =
            Exit { how: ExitKind::Code { code: 3 }, ended_micros: Micros(9), aborted: false, reason: None };
        folder.record_registered(registered()).unwrap();
        folder.record_started(Micros(7)).unwrap();
        folder.record_exit(&exit).unwrap();
        let (path, file) = (folder.path().to_owned(), folder.file().clone());
        assert_eq!(JobFolder::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!folder.finish(false).unwrap());
        let folder = JobFolder::open(&path).unwrap();
        assert_eq!((folder.file(), folder.read_exit().unwrap()), (&file, Some(exit)));
        let again = JobFolder::create(root.path(), file.clone());
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(folder);
        let again = JobFolder::create(root.path(), file);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_writer_that_lives_keeps_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = JobFolder::create(root.path(), job_file()).unwrap();
        folder.record_registered(registered()).unwrap();
        let path = folder.path().to_owned();
        let hold = hold(&path).unwrap();
        assert!(!folder.finish(true).unwrap() && path.exists());
        drop(hold);
        assert!(JobFolder::open(&path).unwrap().finish(true).unwrap() && !path.exists());
        assert!(super::hold(&path).is_none() && !path.exists());
    }

    #[test]
    fn secrets_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::create(root.path(), job_file()).unwrap();
        for (path, mode) in [(folder.job_file(), 0o600), (folder.path().to_owned(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_folder_goes_only_when_nothing_waits_in_it() {
        let root = tempfile::tempdir().unwrap();
        for (forgotten, known, snapshot, gone) in [
            (true, true, false, true),
            (false, true, false, false),
            (true, false, false, false),
            (true, true, true, false),
        ] {
            let mut folder = JobFolder::create(root.path(), job_file()).unwrap();
            if known {
                folder.record_registered(registered()).unwrap();
            }
            if snapshot {
                let digest = digest_bytes(b"x = 1");
                let file = File { path: "main.py".into(), digest, size_bytes: 5, mode: Mode::File };
                let find = |_| Some(BlobSource::Bytes(b"x = 1"[..].into()));
                folder.store_snapshot(&Manifest { files: vec![file] }, find).unwrap();
                assert_eq!(fs::read(folder.snapshot_blob(digest)).unwrap(), b"x = 1");
            }
            let path = folder.path().to_owned();
            assert_eq!(folder.finish(forgotten).unwrap(), gone, "{forgotten} {known} {snapshot}");
            assert_eq!(path.exists(), !gone);
        }
    }
}
