//! A job that was made without a server becomes one that the server knows.
//!
//! Each step may be repeated: the project by its key, the snapshot by its digest, the job by its uid, the claim by its id.
//! What the server said is written down before the next step, so a killed sync goes on where it was.

use std::time::{SystemTime, UNIX_EPOCH};

use neptune_wire::job::{ClaimJob, Exit, ExitKind, History};
use neptune_wire::problem::Code;
use neptune_wire::{CreateProject, Micros};

use super::{SyncError, SyncSettings};
use crate::folder::{JobFolder, Registered};
use crate::rest::{BlobSource, Rest};

/// Registers the job unless it is registered; answers its id, attempt and token.
pub(super) async fn register(
    settings: &SyncSettings,
    folder: &mut JobFolder,
) -> Result<Registered, SyncError> {
    if let Some(registered) = folder.file().registered.clone() {
        return Ok(registered);
    }
    let rest = Rest::new(settings.access.clone())?;
    ensure_project(&rest, folder).await?;
    if let Some(manifest) = folder.read_snapshot()? {
        let find = |digest| Some(BlobSource::File(folder.snapshot_blob(digest)));
        let uploaded = rest.upload_snapshot(&folder.file().create.project, &manifest, find).await?;
        folder.record_snapshot(uploaded.snapshot)?;
    }
    let job = rest.create_job(&folder.file().create).await?;
    let history = Some(History { started_micros: started(folder), exit: exit(folder)? });
    let claim = ClaimJob { claim: folder.file().claim, host: folder.file().host.clone(), history };
    let claimed = rest.claim_job(&job.uid.into(), &claim).await?;
    let registered = Registered { id: job.id, attempt: claimed.attempt, token: claimed.token };
    folder.record_registered(registered.clone())?;
    Ok(registered)
}

/// A project that the server does not have is made when the folder knows its name.
async fn ensure_project(rest: &Rest, folder: &JobFolder) -> Result<(), SyncError> {
    let key = folder.file().create.project.clone();
    let Some(name) = folder.file().project_name.clone() else { return Ok(()) };
    match rest.read_project(&key).await {
        Err(error) if error.code() == Some(Code::UnknownProject) => {
            rest.create_project(&CreateProject { key, name }).await?;
            Ok(())
        }
        other => Ok(other.map(drop)?),
    }
}

fn started(folder: &JobFolder) -> Micros {
    let file = folder.file();
    file.started_micros.or(file.create.created_micros).unwrap_or_else(|| last_change(folder))
}

/// How the program ended. Nobody being left who could say, it was killed together with whoever watched it.
fn exit(folder: &JobFolder) -> Result<Exit, SyncError> {
    Ok(folder.read_exit()?.unwrap_or_else(|| Exit {
        how: ExitKind::Signal { signal: 9 },
        ended_micros: last_change(folder),
        aborted: false,
        reason: Some("no end was recorded: the program was killed, or its machine went down".into()),
    }))
}

/// When something was last written into the folder.
fn last_change(folder: &JobFolder) -> Micros {
    let mut last = SystemTime::UNIX_EPOCH;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(path) = folders.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            last = last.max(metadata.modified().unwrap_or(UNIX_EPOCH));
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Micros(last.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64))
}
