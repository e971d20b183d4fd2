//! `neptune checkout`: a job's source snapshot as a folder.

use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use clap::Args;
use neptune_client::rest::{Blocking, digest_bytes};
use neptune_wire::snapshot::{File, Mode};
use neptune_wire::{JobRef, ProjectKey};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct CheckoutArgs {
    /// Its id, such as TRIG-12
    job: JobRef,
    /// Where to; it must not exist or be empty [default: a folder called like the job]
    folder: Option<PathBuf>,
}

/// Writes every file, each checked against its digest.
pub(crate) fn run(args: &CheckoutArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let job = server.wait(server.rest().read_job(&args.job))?;
    let manifest = server.wait(server.rest().read_snapshot_tree(&args.job))?;
    // A manifest of the wrong server cannot make us write elsewhere.
    manifest.check().map_err(CliError::refused)?;
    let folder = args.folder.clone().unwrap_or_else(|| job.id.to_string().into());
    make_empty(&folder).map_err(|error| CliError::file(&folder, &error))?;
    // Links last: nothing is ever written through one.
    let (links, files): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|file| file.mode == Mode::Link);
    for file in files.iter().chain(&links) {
        let bytes = read_checked(&server, &job.project, file)?;
        let path = folder.join(&file.path);
        write(&path, file.mode, &bytes).map_err(|error| CliError::file(&path, &error))?;
    }
    say(format_args!("{} files of {}", manifest.files.len(), job.id));
    if out.json { out.json(&folder) } else { out.line(&folder.display().to_string()) }
}

fn make_empty(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    match std::fs::read_dir(folder)?.next() {
        Some(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "is not empty; name another folder")),
        None => Ok(()),
    }
}

fn read_checked(server: &Blocking, project: &ProjectKey, file: &File) -> Result<Vec<u8>, CliError> {
    let bytes = server.wait(async {
        let download = server.rest().download_blob(project, file.digest).await?;
        download.bytes().await
    })?;
    if digest_bytes(&bytes) != file.digest {
        return Err(CliError::refused(format!("{}: the server's bytes have another digest", file.path)));
    }
    Ok(bytes.to_vec())
}

fn write(path: &Path, mode: Mode, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if mode == Mode::Link {
        use std::os::unix::ffi::OsStrExt;
        return symlink(std::ffi::OsStr::from_bytes(bytes), path);
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    if mode == Mode::Executable {
        let readable = file.metadata()?.permissions().mode();
        // Whoever may read it may run it.
        file.set_permissions(std::fs::Permissions::from_mode(readable | (readable & 0o444) >> 2))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_their_modes_and_are_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/run.sh");
        write(&path, Mode::Executable, b"#!/bin/sh").unwrap();
        assert_ne!(path.metadata().unwrap().permissions().mode() & 0o100, 0);
        assert!(write(&path, Mode::File, b"").is_err());
        assert!(make_empty(folder.path()).unwrap_err().to_string().contains("not empty"));
    }
}
