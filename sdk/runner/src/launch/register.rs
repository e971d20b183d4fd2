//! From a plan to a job: on the server, or in a folder for later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use neptune_client::folder::{JobFile, JobFolder, Registered};
use neptune_client::new_claim_id;
use neptune_client::rest::{Rest, RestError};
use neptune_client::writer::now;
use neptune_wire::id::ClaimId;
use neptune_wire::job::{AbortJob, ClaimJob};
use neptune_wire::{CreateJob, Digest, JobUid, ProjectKey};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use super::{FIRST_ANSWER_WITHIN, LaunchError, LaunchSettings, News};
use crate::plan::Plan;
use crate::program::host_name;
use crate::snapshot::{Tree, UploadError};

/// How long an interrupted start waits to take its job back.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(1);

/// How often sources that change while they are kept are hashed again.
const STORE_TRIES: usize = 3;

/// A job that may run now.
pub(super) struct Registration {
    pub(super) uid: JobUid,
    /// What the server said; nothing when the job waits for a server.
    pub(super) registered: Option<Registered>,
    /// Absent when no disk takes it.
    pub(super) folder: Option<JobFolder>,
    /// Where the program runs.
    pub(super) place: PathBuf,
    /// Whether that is a copy.
    pub(super) in_copy: bool,
}

/// Registers a job; without a server, puts it aside.
pub(super) async fn register(
    plan: &mut Plan,
    settings: &LaunchSettings,
    signals: &mut mpsc::Receiver<Signal>,
    tell: &mut dyn FnMut(News),
) -> Result<Registration, LaunchError> {
    let mut create = plan.create_job(plan.project.key.clone());
    let uid = create.uid.expect("a plan gives its job a uid");
    let copy = make_copy(plan, uid, signals)?;
    let claim = new_claim_id();
    let attempt = async {
        match settings.offline {
            true => Ok(Err("--offline".to_string())),
            false => online(plan, settings, &mut create, claim, tell).await,
        }
    };
    let outcome = tokio::select! {
        outcome = attempt => outcome,
        signal = signals.recv() => Err(LaunchError::Interrupted(signal.unwrap_or(Signal::SIGTERM))),
    };
    if let Err(LaunchError::Interrupted(_)) = outcome {
        give_up_created(settings, uid).await;
    }
    let outcome = outcome.inspect_err(|_| {
        if let Some(copy) = &copy {
            // The copy of a job that does not exist is of no use; what cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(copy.parent().unwrap_or(copy));
        }
    })?;
    let registered = outcome.as_ref().ok().cloned();
    let folder = make_folder(plan, settings, create, claim, registered.clone(), tell);
    match outcome {
        Ok(Registered { id, .. }) => {
            let page = format!("{}/jobs/{id}", settings.access.url.trim_end_matches('/'));
            tell(News::Registered { id, page });
        }
        Err(why) => {
            tell(News::Offline { why, folder: folder.as_ref().map(|folder| folder.path().into()) });
        }
    }
    let in_copy = copy.is_some();
    let place = match (copy, &registered) {
        (Some(copy), Some(registered)) => rename_copy(plan, copy, &registered.id.to_string()),
        (Some(copy), None) => copy,
        (None, _) => plan.folder.clone(),
    };
    Ok(Registration { uid, registered, folder, place, in_copy })
}

/// A job that may have been created a moment ago shall not wait for ever.
async fn give_up_created(settings: &LaunchSettings, uid: JobUid) {
    let Ok(rest) = Rest::new(settings.access.clone()) else { return };
    let abort =
        AbortJob { reason: Some("interrupted before the program was started".into()), grace_millis: None };
    // There is mostly no such job, and nobody waits for the answer.
    let _ = tokio::time::timeout(GIVE_UP_WITHIN, rest.abort_job(&uid.into(), &abort)).await;
}

/// Makes `<storage>/jobs/<uid>/src`, when the job runs in a copy.
fn make_copy(
    plan: &mut Plan,
    uid: JobUid,
    signals: &mut mpsc::Receiver<Signal>,
) -> Result<Option<PathBuf>, LaunchError> {
    let Some(storage) = &plan.storage else { return Ok(None) };
    let folder = storage.join("jobs").join(uid.to_string());
    let copy = folder.join("src");
    let mut signal = None;
    let copied = plan.tree.copy_to(&copy, &mut || {
        signal = signals.try_recv().ok();
        signal.is_some()
    });
    if copied.is_err() {
        // Empty, or somebody else's.
        let _ = std::fs::remove_dir(folder);
    }
    match signal {
        Some(signal) => Err(LaunchError::Interrupted(signal)),
        None => copied.map(|()| Some(copy)).map_err(Into::into),
    }
}

/// Gives the copy the job's id for a name, unless another server's job of that id has it.
fn rename_copy(plan: &mut Plan, copy: PathBuf, id: &str) -> PathBuf {
    let job = copy.parent().map(Path::to_path_buf).unwrap_or_default();
    let named = job.with_file_name(id);
    if named.exists() || std::fs::rename(&job, &named).is_err() {
        return copy;
    }
    let copy = named.join("src");
    plan.tree.moved_to(&copy);
    copy
}

/// Everything the server must say before the program may run. `Ok(Err(why))`: the server is away or full.
async fn online(
    plan: &mut Plan,
    settings: &LaunchSettings,
    create: &mut CreateJob,
    claim: ClaimId,
    tell: &mut dyn FnMut(News),
) -> Result<Result<Registered, String>, LaunchError> {
    match try_online(plan, settings, create, claim, tell).await {
        Ok(registered) => Ok(Ok(registered)),
        Err(UploadError::Rest(error)) if error.is_temporary() => Ok(Err(error.to_string())),
        Err(UploadError::Rest(error)) => Err(error.into()),
        Err(error @ UploadError::Changing(_)) => Err(LaunchError::Upload(error)),
    }
}

async fn try_online(
    plan: &mut Plan,
    settings: &LaunchSettings,
    create: &mut CreateJob,
    claim: ClaimId,
    tell: &mut dyn FnMut(News),
) -> Result<Registered, UploadError> {
    let rest = Rest::new(settings.access.clone())?;
    let first = tokio::time::timeout(FIRST_ANSWER_WITHIN, rest.read_server()).await;
    first.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", FIRST_ANSWER_WITHIN.as_secs());
        Err(RestError::Unreachable { url: settings.access.url.clone(), why })
    })?;
    create.project = plan.project.find_or_create(&rest).await?;
    create.snapshot = Some(upload(&mut plan.tree, &rest, &create.project, tell).await?);
    let job = rest.create_job(create).await?;
    let claimed =
        rest.claim_job(&job.uid.into(), &ClaimJob { claim, host: host_name(), history: None }).await?;
    Ok(Registered { id: job.id, attempt: claimed.attempt, token: claimed.token })
}

async fn upload(
    tree: &mut Tree,
    rest: &Rest,
    project: &ProjectKey,
    tell: &mut dyn FnMut(News),
) -> Result<Digest, UploadError> {
    tree.upload(rest, project, &mut |progress| tell(News::Uploading(progress))).await
}

/// Makes the job's folder; a disk that does not take it is no reason not to run.
fn make_folder(
    plan: &mut Plan,
    settings: &LaunchSettings,
    create: CreateJob,
    claim: ClaimId,
    registered: Option<Registered>,
    tell: &mut dyn FnMut(News),
) -> Option<JobFolder> {
    let waits = registered.is_none();
    let file = JobFile {
        url: settings.access.url.clone(),
        create: CreateJob { created_micros: waits.then(now), ..create },
        project_name: Some(plan.project.name.clone()),
        project_by_name: !plan.project.key_given,
        claim,
        host: host_name(),
        started_micros: None,
        registered,
    };
    let root = settings.spool_root.display();
    let folder = JobFolder::create(&settings.spool_root, file).inspect_err(|error| {
        tell(News::Note(format!("{root}: {error}; nothing of this job can be kept on this machine")));
    });
    let folder = folder.ok()?;
    if waits && let Err(error) = store_snapshot(&mut plan.tree, &folder) {
        tell(News::Note(format!("{}: {error}; the job has no source snapshot", folder.path().display())));
    }
    Some(folder)
}

/// Keeps the sources in the job's folder, every file with the bytes that its digest says.
fn store_snapshot(tree: &mut Tree, folder: &JobFolder) -> std::io::Result<()> {
    let mut stored = Ok(());
    for _ in 0..STORE_TRIES {
        stored = folder.store_snapshot(tree.manifest(), |digest| tree.read_checked(digest));
        match &stored {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => tree.scan_again(),
            _ => break,
        }
    }
    stored
}
