//! A job that was made without a server becomes one that the server knows.
//!
//! Each step may be repeated: the project by its key or name, the snapshot by its digest, the job by its uid, the claim by
//! its id.
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

/// Finds the job's project or makes it, as the runner does when the server is there: by its key, or, when only its name was
/// given, by that. Without a name the key must be there.
async fn ensure_project(rest: &Rest, folder: &mut JobFolder) -> Result<(), SyncError> {
    let file = folder.file();
    let Some(name) = file.project_name.clone() else { return Ok(()) };
    let wanted = CreateProject { key: file.create.project.clone(), name };
    if file.project_by_name {
        let key = rest.find_or_create_project_by_name(wanted).await?;
        return Ok(folder.record_project(key)?);
    }
    match rest.read_project(&wanted.key).await {
        Err(error) if error.code() == Some(Code::UnknownProject) => {
            rest.create_project(&wanted).await?;
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use neptune_wire::{Problem, Project};

    use super::*;
    use crate::folder::JobFile;
    use crate::rest::Access;
    use crate::{new_claim_id, new_job_uid};

    /// A server that knows projects only, each `KEY name`; answers its URL. It lives as long as the test's process.
    fn serve(projects: &[&str]) -> String {
        let project = |text: &&str| {
            let (key, name) = text.split_once(' ').unwrap();
            Project { key: key.parse().unwrap(), name: name.into(), created_micros: Micros(1), jobs: 0 }
        };
        let mut projects: Vec<_> = projects.iter().map(project).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_until(b'\n', &mut head).unwrap() > 0 {}
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                let (status, answer) = answer(&mut projects, head.split(' ').nth(1).unwrap(), &body);
                let length = answer.len();
                let kind = if status == 200 { "application/json" } else { "application/problem+json" };
                let text = format!(
                    "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}"
                );
                stream.get_mut().write_all(text.as_bytes()).unwrap();
            }
        });
        url
    }

    fn answer(projects: &mut Vec<Project>, path: &str, body: &[u8]) -> (u16, String) {
        let refused = |code| {
            let problem = Problem { status: 409, ..Problem::new(code, "because") };
            (409, serde_json::to_string(&problem).unwrap())
        };
        let found = |projects: &[Project], key: &str| {
            projects.iter().find(|project| project.key.as_str().eq_ignore_ascii_case(key)).cloned()
        };
        if let Some(key) = path.strip_prefix("/api/v1/projects/") {
            return match found(projects, key) {
                Some(project) => (200, serde_json::to_string(&project).unwrap()),
                None => refused(Code::UnknownProject),
            };
        }
        if body.is_empty() {
            return (200, serde_json::to_string(projects).unwrap());
        }
        let wanted: CreateProject = serde_json::from_slice(body).unwrap();
        match found(projects, wanted.key.as_str()) {
            Some(project) if project.name != wanted.name => refused(Code::Taken),
            Some(project) => (200, serde_json::to_string(&project).unwrap()),
            None => {
                let CreateProject { key, name } = wanted;
                projects.push(Project { key, name, created_micros: Micros(2), jobs: 0 });
                (200, serde_json::to_string(projects.last().unwrap()).unwrap())
            }
        }
    }

    /// The key of the project in which a waiting job lands, and is said to be in.
    fn landed(url: &str, more: &serde_json::Value) -> String {
        let root = tempfile::tempdir().unwrap();
        let mut file = serde_json::json!({
            "url": url,
            "create": {"uid": new_job_uid(), "project": "HANDWRIT", "name": "n"},
            "claim": new_claim_id(),
        });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file: JobFile = serde_json::from_value(file).unwrap();
        let mut folder = JobFolder::create(root.path(), file).unwrap();
        let rest = Rest::new(Access { url: url.into(), token: None }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let done = runtime.block_on(ensure_project(&rest, &mut folder));
        let path = folder.path().to_owned();
        drop(folder);
        match done {
            Ok(()) => JobFolder::open(&path).unwrap().file().create.project.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_project_without_a_given_key_is_found_by_its_name() {
        let letters = serde_json::json!({"project_name": "Handwritten letters", "project_by_name": true});
        let url = serve(&["HANDWRIT Handwritten digits", "LETTERS Handwritten letters"]);
        assert_eq!(landed(&url, &letters), "LETTERS");
        let url = serve(&["HANDWRIT Handwritten digits"]);
        assert_eq!(landed(&url, &letters), "HANDWRIT2");
        assert_eq!(landed(&url, &letters), "HANDWRIT2", "the second job is of the same project");
        assert_eq!(landed(&serve(&[]), &letters), "HANDWRIT");
    }

    #[test]
    fn a_given_key_decides_alone() {
        // As every version before wrote it, too.
        let letters = serde_json::json!({"project_name": "Handwritten letters"});
        let url = serve(&["HANDWRIT Handwritten digits", "LETTERS Handwritten letters"]);
        assert_eq!(landed(&url, &letters), "HANDWRIT");
        assert_eq!(landed(&serve(&[]), &letters), "HANDWRIT");
        assert_eq!(landed("http://127.0.0.1:9", &serde_json::json!({})), "HANDWRIT");
    }
}
