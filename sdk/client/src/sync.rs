//! Uploads what waits under a spool root: jobs that were never registered, and the rest of those that were.
//!
//! For each job folder whose owner is gone: snapshot blobs, the job (idempotent by uid), the claim (with its history when
//! it ran without a server), every session's frames from where the server's mark stands, its images and requests, the
//! exit. A folder is deleted only after all of it is acknowledged, so a sync may be killed anywhere and begun again, and
//! only when no writer lives that may spool something yet, such as a child's of a program that is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use neptune_wire::{JobId, JobUid};

use crate::folder::{self, JobFolder};
use crate::fork;
use crate::notice::Notices;
use crate::rest::{Access, Rest, RestError};
use crate::session::Session;
use crate::spool::{LockError, Spool};

mod register;
mod send;

/// A folder without `job.json` and without sessions is being made, or was being deleted when that was killed.
const HALF_DELETED_AFTER: Duration = Duration::from_secs(3600);

/// What to upload, and where to.
#[derive(Debug, Clone)]
pub struct SyncSettings {
    /// The spool root; see [`crate::environment::spool_root`].
    pub root: PathBuf,
    /// Only this job.
    pub only: Option<JobUid>,
    /// Where to. The token, when one is needed, is for creating jobs; points travel with the attempt's own.
    pub access: Access,
    /// Who hears of refused channels and the like.
    pub notices: Notices,
}

/// How far a sync is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SyncProgress {
    /// A folder is begun.
    Begun {
        /// The job.
        uid: JobUid,
        /// Its name.
        name: String,
        /// Bytes waiting in its sessions.
        bytes: u64,
    },
    /// The job is registered.
    Registered {
        /// The job.
        uid: JobUid,
        /// Its id.
        id: JobId,
    },
    /// More was acknowledged.
    Sent {
        /// The job.
        uid: JobUid,
        /// Bytes acknowledged so far; a long backlog counts in steps of 16 MiB.
        bytes: u64,
    },
    /// The folder is done and gone.
    Done {
        /// The job.
        uid: JobUid,
    },
}

/// What a sync came to.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// Uploaded wholly; their folders are gone.
    pub done: Vec<JobId>,
    /// Their owner lives; it sends by itself.
    pub in_use: Vec<PathBuf>,
    /// Not, or not wholly, uploaded.
    pub failed: Vec<(PathBuf, SyncError)>,
}

/// Why a folder is still there.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Its owner lives.
    #[error("in use by a running program, which sends by itself")]
    InUse,
    /// The server.
    #[error("{0}")]
    Rest(#[from] RestError),
    /// The folder cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file in it is none of ours.
    #[error("{path}: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Uploads everything under a root, one folder after another; waits for the end.
///
/// # Errors
///
/// When the root cannot be listed. Trouble with one folder is in the report and does not stop the others.
pub fn sync(settings: &SyncSettings, progress: &mut dyn FnMut(SyncProgress)) -> io::Result<SyncReport> {
    let mut report = SyncReport::default();
    let runtime = fork::undivided(|| tokio::runtime::Builder::new_current_thread().enable_all().build())?;
    for path in list_folders(settings)? {
        let outcome = runtime.block_on(upload_folder(settings, &path, progress));
        match outcome {
            Ok(Some(id)) => report.done.push(id),
            Ok(None) => {}
            Err(SyncError::InUse) => report.in_use.push(path),
            Err(error) => report.failed.push((path, error)),
        }
    }
    Ok(report)
}

/// Folders of jobs under the root, in order of their names. No root is no folders.
fn list_folders(settings: &SyncSettings) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(&settings.root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| {
        let uid = path.file_name().and_then(|name| name.to_str()?.parse::<JobUid>().ok());
        uid.is_some_and(|uid| settings.only.is_none_or(|only| only == uid))
    });
    paths.sort();
    Ok(paths)
}

async fn upload_folder(
    settings: &SyncSettings,
    path: &Path,
    progress: &mut dyn FnMut(SyncProgress),
) -> Result<Option<JobId>, SyncError> {
    let mut folder = match JobFolder::open(path) {
        Ok(folder) => folder,
        Err(error) => return without_job_file(path, error),
    };
    let uid = folder.file().create.uid.ok_or_else(|| damaged(folder.job_file(), "the job has no uid"))?;
    // Opened before anything is sent: the folder is done only when all of them are.
    let mut sessions = vec![];
    for path in folder.list_sessions()? {
        match Spool::open(&path) {
            Ok(spool) => sessions.push(Session::resume(spool)?),
            Err(LockError::Held) => return Err(SyncError::InUse),
            Err(LockError::Io(error)) => return Err(error.into()),
        }
    }
    // A claim says when and how the program ended, which nobody knows yet.
    if folder.file().registered.is_none() && folder.read_exit()?.is_none() && folder.has_writers()? {
        return Err(SyncError::InUse);
    }
    let bytes = sessions.iter().filter_map(Session::spool).map(Spool::bytes).sum();
    progress(SyncProgress::Begun { uid, name: folder.file().create.name.clone(), bytes });

    let registered = register::register(settings, &mut folder).await?;
    progress(SyncProgress::Registered { uid, id: registered.id.clone() });
    let access = Access { url: settings.access.url.clone(), token: Some(registered.token.clone()) };
    let rest = Rest::new(access)?;
    let project = folder.file().create.project.clone();
    let job = send::Job { rest: &rest, uid, attempt: registered.attempt, project: &project };
    let mut before = 0;
    for session in sessions {
        let mut sent = 0;
        let tell = &mut |bytes| {
            sent = bytes;
            progress(SyncProgress::Sent { uid, bytes: before + bytes });
        };
        send::send_session(&job, session, &settings.notices, tell).await?;
        before += sent;
    }
    if let Some(exit) = folder.read_exit()? {
        rest.end_attempt(&uid.into(), registered.attempt, &exit).await?;
    }
    if !folder.remove()? {
        return Err(SyncError::InUse);
    }
    progress(SyncProgress::Done { uid });
    Ok(Some(registered.id))
}

/// A folder that is no job's: in use, being made, or left half-deleted.
fn without_job_file(path: &Path, error: io::Error) -> Result<Option<JobId>, SyncError> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Err(SyncError::InUse),
        io::ErrorKind::NotFound => {
            let age = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|modified| modified.elapsed().ok());
            if folder::list_sessions(path)?.is_empty() {
                if age.is_some_and(|age| age > HALF_DELETED_AFTER) {
                    std::fs::remove_dir_all(path)?;
                }
                return Ok(None);
            }
            Err(damaged(path.join("job.json"), "it is missing, though sessions wait beside it"))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Err(damaged(path.join("job.json"), &error.to_string()))
        }
        _ => Err(error.into()),
    }
}

fn damaged(path: PathBuf, why: &str) -> SyncError {
    SyncError::Damaged { path, why: why.into() }
}
