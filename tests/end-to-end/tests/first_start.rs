//! A server that loses its power soon after its first start: even the folders that it made are there again.

use std::fs;

use anyhow::{Result, ensure};
use neptune_client::rest::{BlobSource, digest_bytes};
use neptune_client::{Access, Blocking, Rest, new_job_uid};
use neptune_end_to_end::{Server, ServerOptions};
use neptune_fault_fs::FaultFs;
use neptune_wire::snapshot::{File, Manifest};
use neptune_wire::{CreateJob, CreateProject, JobRef};

#[test]
fn a_snapshot_of_the_first_minute_survives_the_loss_of_power() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The data folder itself is made by the server, below the disk that forgets.
    let disk = FaultFs::new(folder.path().join("disk"))?;
    let environment = disk.command_env().map(|(name, value)| (name.into(), value)).into();
    let options = ServerOptions { environment, ..ServerOptions::default() };
    let mut server = Server::start(&folder.path().join("disk"), options)?;

    let code = b"print('what was run')".to_vec();
    let digest = digest_bytes(&code);
    let rest = rest(&server)?;
    let project = CreateProject { key: "POWER".parse()?, name: "power".into() };
    rest.wait(rest.rest().create_project(&project))?;
    let files = vec![File {
        path: "main.py".into(),
        digest,
        size_bytes: code.len() as u64,
        mode: Default::default(),
    }];
    let find = |asked| (asked == digest).then(|| BlobSource::Bytes(code.clone().into()));
    let uploaded = rest.wait(rest.rest().upload_snapshot(&project.key, &Manifest { files }, find))?;
    let create: CreateJob = serde_json::from_value(serde_json::json!({
        "uid": new_job_uid(), "project": "POWER", "name": "first", "snapshot": uploaded.snapshot,
    }))?;
    let job = JobRef::Id(rest.wait(rest.rest().create_job(&create))?.id);
    server.kill()?;

    disk.materialise(&folder.path().join("after"))?;
    // What is durable of the port file and the log is of no interest.
    fs::remove_file(folder.path().join("after/url")).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let mut server = Server::start(&folder.path().join("after"), ServerOptions::default())?;
    let rest = self::rest(&server)?;
    let read = async { rest.rest().download_snapshot_file(&job, "main.py").await?.bytes().await };
    ensure!(rest.wait(read)? == code, "the snapshot's file differs");
    server.stop()
}

fn rest(server: &Server) -> Result<Blocking> {
    Ok(Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?)
}
