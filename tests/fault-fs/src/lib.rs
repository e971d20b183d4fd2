//! A disk that loses what was not synced, for crash tests: SIGKILL alone leaves the page cache, so proves little.
//!
//! ```no_run
//! # use std::{path::Path, process::Command};
//! # fn test(folder: &Path) -> std::io::Result<()> {
//! let disk = neptune_fault_fs::FaultFs::new(folder.join("data"))?;
//! let mut server = Command::new("neptune-server").envs(disk.command_env()).spawn()?;
//! // … let it work, then:
//! server.kill()?;
//! server.wait()?;
//! disk.materialise(&folder.join("after"))?; // the data folder as power loss leaves it
//! # Ok(()) }
//! ```
//!
//! **The model**, stricter than common file systems, so what survives it survives them:
//! bytes and size of a file become durable by `fsync` or `fdatasync` of it, by `sync`, or by writes under `O_SYNC`
//! or `O_DSYNC`; `sync_file_range`, `msync` and time do nothing.
//! Names (create, rename, link, unlink) become durable by `fsync` of their *folder*, all of it in one step; ext4 would
//! keep a new file's name with the file. A synced file without a synced name is lost, a synced name without a
//! synced file is an empty file, and what was unlinked without a sync of the folder is back.
//!
//! **Bounds.** Linux, programs that link the C library dynamically. One process at a time writes a file. Writes by
//! io_uring pass unseen. Other than files and folders (links, sockets) are not kept.
//! `preload.c` does the work inside the process; here are its set-up and the assembly of the image.

#![cfg(target_os = "linux")]

mod image;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The library, compiled by `build.rs`.
const PRELOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload.so"));

/// One folder on the forgetful disk, and the image of what is durable of it. Dropping it removes the image.
#[derive(Debug)]
pub struct FaultFs {
    data: PathBuf,
    shadow: TempDir,
}

impl FaultFs {
    /// Watches `data_dir`, which is created if absent. What is in it now counts as durable.
    ///
    /// The name of `data_dir` itself is always durable; to test that a program syncs the folder it creates, let it
    /// create one inside.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created or read, or there is no room for its copy in the temporary folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> io::Result<FaultFs> {
        let data = data_dir.into();
        fs::create_dir_all(&data)?;
        let data = data.canonicalize()?;
        let shadow = tempfile::Builder::new().prefix("neptune-fault-fs-").tempdir()?;
        fs::write(shadow.path().join("preload.so"), PRELOAD)?;
        image::record(shadow.path(), &data)?;
        Ok(FaultFs { data, shadow })
    }

    /// The environment of a program whose writes below the folder are watched: for `Command::envs`.
    ///
    /// Programs it starts are watched too, but no two may write the same file.
    pub fn command_env(&self) -> [(&'static str, OsString); 3] {
        let shadow = self.shadow.path();
        [
            ("LD_PRELOAD", shadow.join("preload.so").into()),
            ("NEPTUNE_FAULT_FS_ROOT", self.data.clone().into()),
            ("NEPTUNE_FAULT_FS_SHADOW", shadow.into()),
        ]
    }

    /// The same, of a program that is killed at its `steps`-th step: behind a write, before or behind a sync.
    pub fn command_env_for(&self, steps: u64) -> impl Iterator<Item = (&'static str, OsString)> {
        let steps = ("NEPTUNE_FAULT_FS_STEPS", steps.to_string().into());
        self.command_env().into_iter().chain([steps])
    }

    /// Writes the folder as it is after the loss of power, with every unsynced change dropped, to `to`.
    ///
    /// The program must have ended, by SIGKILL for example.
    ///
    /// # Errors
    ///
    /// If `to` exists, or if no program ran under [`FaultFs::command_env`], in which case nothing was tested.
    pub fn materialise(&self, to: &Path) -> io::Result<()> {
        self.assemble(to).map(drop)
    }

    /// Like [`FaultFs::materialise`], but of the unsynced bytes of files some pages reached the disk, by `seed`.
    ///
    /// A disk writes pages in any order, so the end of a file can be a mix of new pages, old ones and zeros. Names
    /// are those synced, as in a journal.
    ///
    /// # Errors
    ///
    /// As [`FaultFs::materialise`].
    pub fn materialise_torn(&self, to: &Path, seed: u64) -> io::Result<()> {
        image::tear(&self.data, self.assemble(to)?, seed)
    }

    fn assemble(&self, to: &Path) -> io::Result<Vec<image::Assembled>> {
        if !self.shadow.path().join("active").exists() {
            let reason = "no program touched a file under this layer; was command_env() passed on?";
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        image::assemble(self.shadow.path(), &self.data, to)
    }
}
