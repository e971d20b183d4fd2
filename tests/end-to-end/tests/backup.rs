//! Backups that are killed at every step of theirs: what was whole before stays whole, and the next one mends the rest.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use neptune_client::rest::{BlobSource, digest_bytes};
use neptune_client::{Access, Blocking, Rest, new_job_uid};
use neptune_end_to_end::{Server, ServerOptions, binary};
use neptune_fault_fs::FaultFs;
use neptune_wire::snapshot::{File, Manifest};
use neptune_wire::{CreateJob, CreateProject};

/// More steps than any backup of these tests takes.
const STEPS: u64 = 5_000;

fn neptune_server(arguments: &[&str], folder: &Path, environment: &[(OsString, OsString)]) -> Result<Output> {
    let mut command = Command::new(binary("neptune-server")?);
    Ok(command.args(arguments).current_dir(folder).envs(environment.iter().cloned()).output()?)
}

fn environment(disk: &FaultFs, steps: u64) -> Vec<(OsString, OsString)> {
    disk.command_env_for(steps).map(|(name, value)| (name.into(), value)).collect()
}

fn succeeds(arguments: &[&str], folder: &Path) -> Result<()> {
    let output = neptune_server(arguments, folder, &[])?;
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{arguments:?}: {told}{errors}");
    Ok(())
}

/// A job with a source file, added to what the server keeps.
fn add_job(server: &Server, name: &str) -> Result<()> {
    let rest = Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?;
    let project = CreateProject { key: "KEPT".parse()?, name: "kept".into() };
    rest.wait(rest.rest().create_project(&project))?;
    let code = format!("print('{name}')").into_bytes();
    let digest = digest_bytes(&code);
    let size_bytes = code.len() as u64;
    let files = vec![File { path: "main.py".into(), digest, size_bytes, mode: Default::default() }];
    let find = |asked| (asked == digest).then(|| BlobSource::Bytes(code.clone().into()));
    let uploaded = rest.wait(rest.rest().upload_snapshot(&project.key, &Manifest { files }, find))?;
    let create: CreateJob = serde_json::from_value(serde_json::json!({
        "uid": new_job_uid(), "project": "KEPT", "name": name, "snapshot": uploaded.snapshot,
    }))?;
    rest.wait(rest.rest().create_job(&create))?;
    Ok(())
}

/// What a restore of the backup says: `Ok` for a whole one, the refusal of one that was cut off.
fn restores(folder: &Path, from: &str) -> Result<bool> {
    let output = neptune_server(&["restore", "--from", from, "--data", "restored"], folder, &[])?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        ensure!(
            errors.contains("was cut off before it was whole") || errors.contains("there is no backup"),
            "{errors}"
        );
        ensure!(!folder.join("restored").exists(), "a part of a backup became a data folder");
        return Ok(false);
    }
    succeeds(&["check", "--data", "restored"], folder)?;
    fs::remove_dir_all(folder.join("restored"))?;
    Ok(true)
}

/// Every backup begins where a killed one ended, and is killed a little later; then one is not.
#[test]
fn a_backup_killed_at_any_step_is_mended_by_the_next() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let mut server = Server::start(folder, ServerOptions::default())?;
    add_job(&server, "first")?;
    server.stop()?;
    let disk = FaultFs::new(folder.join("disk"))?;
    let arguments = ["backup", "--data", "data", "--to", "disk/anew"];
    for steps in 1..STEPS {
        // Nothing is there that a backup before this one could have left.
        let _ = fs::remove_dir_all(folder.join("disk/anew"));
        let output = neptune_server(&arguments, folder, &environment(&disk, steps))?;
        let whole = restores(folder, "disk/anew")?;
        if output.status.success() {
            ensure!(whole && steps > 10, "it was killed less than {steps} times");
            break;
        }
        if steps % 7 == 0 {
            succeeds(&arguments, folder)?;
            ensure!(restores(folder, "disk/anew")?, "a whole backup is refused");
        }
    }
    // The one before stays whole while the next is killed.
    let arguments = ["backup", "--data", "data", "--to", "disk/kept"];
    succeeds(&arguments, folder)?;
    server.start_again()?;
    add_job(&server, "second")?;
    server.stop()?;
    for steps in 1..STEPS {
        let output = neptune_server(&arguments, folder, &environment(&disk, steps))?;
        ensure!(restores(folder, "disk/kept")?, "after {steps} steps the backup before is lost");
        if output.status.success() {
            return Ok(());
        }
    }
    anyhow::bail!("no backup of {STEPS} steps was whole")
}

/// What a backup says is safe survives the loss of power, also where one before it lost its names.
#[test]
fn a_whole_backup_survives_the_loss_of_power() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    // The data lies on the same disk, as a backup shares its tables.
    let disk = FaultFs::new(folder.join("disk"))?;
    let environment = disk.command_env().map(|(name, value)| (name.into(), value)).into();
    let options = ServerOptions { environment, ..ServerOptions::default() };
    let mut server = Server::start(&folder.join("disk"), options)?;
    add_job(&server, "first")?;
    server.stop()?;
    let arguments = ["backup", "--data", "disk/data", "--to", "disk/to"];
    let mut steps = 1;
    // Each is killed a little later in one folder, the last one is whole.
    while !neptune_server(&arguments, folder, &self::environment(&disk, steps))?.status.success() {
        ensure!(steps < STEPS, "no backup of {STEPS} steps was whole");
        steps += 3;
    }
    disk.materialise(&folder.join("after"))?;
    ensure!(restores(folder, "after/to")?, "a backup that was said to be whole is not");
    Ok(())
}

#[test]
fn a_server_killed_in_a_backup_leaves_nothing_in_the_way() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let mut server = Server::start(folder, ServerOptions::default())?;
    add_job(&server, "first")?;
    server.stop()?;
    let disk = FaultFs::new(folder.join("disk"))?;
    let arguments = ["backup", "--data", "data", "--to", "disk/to"];
    let mut killed = 0;
    for steps in [1, 2, 5, 9, 14] {
        server.start_again_with(ServerOptions {
            environment: environment(&disk, steps),
            ..ServerOptions::default()
        })?;
        let output = neptune_server(&arguments, folder, &[])?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(errors.contains("the server stopped before the backup was made"), "{errors}");
            killed += 1;
        }
        server.kill()?;
        restores(folder, "disk/to")?;
    }
    ensure!(killed > 0, "no server was killed");
    server.start_again_with(ServerOptions::default())?;
    ensure!(!server.data().join("backup-draft").exists(), "the copy of the database pins the disk");
    succeeds(&arguments, folder)?;
    server.stop()?;
    ensure!(restores(folder, "disk/to")?, "a whole backup is refused");
    Ok(())
}
