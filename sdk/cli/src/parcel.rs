//! The folder that `export` writes and `import` reads, for whoever comes long after both.
//!
//! ```text
//! DIR/
//!   manifest.json                    format, and length and BLAKE3 of every other file; written last
//!   project.json                     the project and its rules of retention
//!   jobs/TRIG-12/job.json            the job, its attempts, channels (in order) and charts, as the REST API names them
//!   jobs/TRIG-12/channels/3.parquet  points of channel 3, in the order they arrived: x, time and
//!                                    numeric: y · text: text, continues · image: name, description, width, height,
//!                                    size_bytes, digest · log: bytes of the line in the file beside it, bytes lost before it
//!   jobs/TRIG-12/channels/4.log      the bytes of a log
//!   snapshots/abcd….json             manifests of sources, by digest
//!   blobs/ab/abcd…                   files of sources, and images, by BLAKE3
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use neptune_client::rest::digest_file;
use neptune_wire::life::ImportJob;
use neptune_wire::{Digest, Micros};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::time;

/// The layout this program writes; others are refused.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
pub(crate) const PROJECT: &str = "project.json";
pub(crate) const JOBS: &str = "jobs";

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    written_by: String,
    exported_micros: Micros,
    files: BTreeMap<String, Listed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    size_bytes: u64,
    blake3: Digest,
}

/// A parcel that is being written or read.
#[derive(Debug)]
pub(crate) struct Parcel {
    root: PathBuf,
    files: BTreeMap<String, Listed>,
}

impl Parcel {
    /// Begins a parcel in an empty folder or a new one.
    pub(crate) fn create(root: &Path) -> Result<Parcel, CliError> {
        fs::create_dir_all(root).map_err(|error| CliError::file(root, &error))?;
        let mut entries = fs::read_dir(root).map_err(|error| CliError::file(root, &error))?;
        if entries.next().is_some() {
            return Err(CliError::usage(format_args!("{} is not empty; name a new folder", root.display())));
        }
        Ok(Parcel { root: root.into(), files: BTreeMap::new() })
    }

    /// Opens a parcel that was finished, and compares every file with what the manifest says; `seen` hears of their bytes.
    pub(crate) fn open(root: &Path, mut seen: impl FnMut(u64)) -> Result<Parcel, CliError> {
        let path = root.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CliError::refused(format_args!(
                "{} holds no export, or one that was cut off: {MANIFEST} is missing",
                root.display()
            )),
            _ => CliError::file(&path, &error),
        })?;
        let manifest: Manifest = read_json(&path, &bytes)?;
        if manifest.format != FORMAT {
            let (found, known) = (manifest.format, FORMAT);
            let path = root.display();
            return Err(CliError::refused(format_args!(
                "{path} is of format {found}, this version reads {known}"
            )));
        }
        for (name, listed) in &manifest.files {
            let path = root.join(inside(name)?);
            let (found, size_bytes) = digest_file(&path).map_err(|error| CliError::file(&path, &error))?;
            if (found, size_bytes) != (listed.blake3, listed.size_bytes) {
                return Err(CliError::refused(format_args!("{} is not as it was exported", path.display())));
            }
            seen(size_bytes);
        }
        Ok(Parcel { root: root.into(), files: manifest.files })
    }

    /// Where a file lies, its folder made.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf, CliError> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|error| CliError::file(folder, &error))?;
        Ok(path)
    }

    /// Takes in a file that was written; it is safe from now on.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), CliError> {
        let path = self.root.join(name);
        let failed = |error| CliError::file(&path, &error);
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed)?;
        let (blake3, size_bytes) = digest_file(&path).map_err(failed)?;
        self.files.insert(name.into(), Listed { size_bytes, blake3 });
        Ok(())
    }

    /// Leaves out a job again, with all that was written of it.
    pub(crate) fn leave_out(&mut self, folder: &str) -> Result<(), CliError> {
        let name = format!("{JOBS}/{folder}");
        self.files.retain(|file, _| !file.strip_prefix(&name).is_some_and(|rest| rest.starts_with('/')));
        let path = self.root.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::file(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Whether a file is in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Writes a value as JSON.
    pub(crate) fn write_json(&mut self, name: &str, value: &impl Serialize) -> Result<(), CliError> {
        let json = serde_json::to_vec_pretty(value).expect("what the wire crate names always serialises");
        let path = self.place(name)?;
        let written = File::create(&path).and_then(|mut file| file.write_all(&json));
        written.map_err(|error| CliError::file(&path, &error))?;
        self.add(name)
    }

    /// Reads a value back.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, CliError> {
        let path = self.path(name)?;
        let bytes = fs::read(&path).map_err(|error| CliError::file(&path, &error))?;
        read_json(&path, &bytes)
    }

    /// Where a file of a parcel that was opened lies.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, CliError> {
        match self.has(name) {
            true => Ok(self.root.join(name)),
            false => {
                Err(CliError::refused(format_args!("the export in {} lacks {name}", self.root.display())))
            }
        }
    }

    /// Its jobs, by the names of their folders.
    pub(crate) fn jobs(&self) -> Result<Vec<(String, ImportJob)>, CliError> {
        let names = self.files.keys().filter_map(|name| {
            name.strip_prefix("jobs/")?.strip_suffix("/job.json").map(|folder| folder.to_owned())
        });
        let read =
            |folder: String| Ok((folder.clone(), self.read_json(&format!("{JOBS}/{folder}/job.json"))?));
        let mut jobs: Vec<(String, ImportJob)> = names.map(read).collect::<Result<_, CliError>>()?;
        jobs.sort_by_key(|(_, import)| import.job.id.number);
        Ok(jobs)
    }

    /// Writes the manifest: from now on it is whole. Answers how many files and bytes it has.
    pub(crate) fn finish(self) -> Result<(u64, u64), CliError> {
        let files = self.files.len() as u64;
        let bytes = self.files.values().map(|listed| listed.size_bytes).sum();
        let (written_by, exported_micros) = (env!("CARGO_PKG_VERSION").into(), time::now());
        let manifest = Manifest { format: FORMAT, written_by, exported_micros, files: self.files };
        let json = serde_json::to_vec_pretty(&manifest).expect("it is plain data");
        let (path, draft) = (self.root.join(MANIFEST), self.root.join("manifest.draft"));
        let written = || {
            let mut file = File::create(&draft)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.root)?.sync_all()
        };
        written().map_err(|error| CliError::file(&path, &error))?;
        Ok((files, bytes))
    }
}

/// The name of a blob's file.
pub(crate) fn blob(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("blobs/{}/{hex}", &hex[..2])
}

/// The name of a snapshot's manifest.
pub(crate) fn snapshot(digest: &Digest) -> String {
    format!("snapshots/{digest}.json")
}

/// The name of a channel's file.
pub(crate) fn channel(folder: &str, number: usize, extension: &str) -> String {
    format!("{JOBS}/{folder}/channels/{number}.{extension}")
}

fn read_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(bytes)
        .map_err(|error| CliError::refused(format_args!("{}: {error}", path.display())))
}

/// A path that stays in the folder it is joined to.
fn inside(name: &str) -> Result<PathBuf, CliError> {
    let path = PathBuf::from(name);
    match path.components().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(path),
        false => Err(CliError::refused(format_args!("the manifest names {name:?}, which lies elsewhere"))),
    }
}
