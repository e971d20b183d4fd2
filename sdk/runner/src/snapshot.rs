//! The source tree of a job: which files, their digests, a copy to run in, the way to the server.
//!
//! [`Tree::scan`] walks the job's folder and hashes what it finds; [`Tree::copy_to`] makes the copy of `--dump-dir-url`;
//! [`Tree::upload`] sends what the server does not have. A file that changes in between is hashed again, so the manifest
//! always names bytes that exist.
//!
//! What is left out: [`NEVER_IN`], Python environments, a server's data, the lines of [`IGNORE_FILE`] and `exclude`, each in the syntax of
//! `.gitignore`, the later ones over the earlier, so `!data/small.csv` takes back in.

mod copy;
mod scan;
mod upload;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use neptune_wire::snapshot::{Manifest, Mode};

pub use upload::{UploadError, UploadProgress};

/// Rules of the job's folder, beside the main file.
pub const IGNORE_FILE: &str = ".neptuneignore";

/// Never source code, or written by Neptune itself.
pub const NEVER_IN: [&str; 18] = [
    ".git",
    ".hg",
    ".svn",
    ".DS_Store",
    "__pycache__",
    "*.py[co]",
    ".ipynb_checkpoints",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    "node_modules",
    ".RData",
    "neptune-data/",
    "neptune.log",
    "offline_job.log",
    ".neptune/",
];

/// Files in one snapshot; its manifest stays a few megabytes.
pub const FILES_LIMIT: usize = 20_000;
/// Bytes in one snapshot unless `--snapshot-limit` says otherwise: source code is small, data sets are not.
pub const SIZE_LIMIT_BYTES: u64 = 512 << 20;

/// What belongs to a snapshot.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Left out, in the syntax of `.gitignore`.
    pub exclude: Vec<String>,
    /// Only these files and folders, relative to the root; everything when empty.
    pub only: Vec<PathBuf>,
    /// Absolute folders that are left out, such as the dump folder.
    pub outside: Vec<PathBuf>,
    /// Most bytes together.
    pub size_limit_bytes: u64,
}

/// A hashed source tree on this machine.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
    manifest: Manifest,
    /// Folders, relative, parents first: an empty one is in the copy, though not in the manifest.
    folders: Vec<PathBuf>,
    notes: Vec<String>,
}

/// Why there is no snapshot. The text says how to go on.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A pattern of `exclude` or of the ignore file.
    #[error("{place}: {text}")]
    Pattern {
        /// Where the pattern stands.
        place: String,
        /// What is wrong with it.
        text: String,
    },
    /// A path of `paths-to-copy` that is not there or not below the job's folder.
    #[error("paths-to-copy: {}: {text}", path.display())]
    Only {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        text: String,
    },
    /// Files that cannot be read.
    #[error("{}", Unreadable(.0))]
    Unreadable(Vec<(PathBuf, io::Error)>),
    /// A name that a snapshot cannot hold.
    #[error(
        "file name {0:?} cannot be in a snapshot (UTF-8, no control characters or backslashes, at most 1,024 bytes); rename it or leave it out with --exclude"
    )]
    Name(PathBuf),
    /// Too many files.
    #[error("{} holds more than {FILES_LIMIT} files; a snapshot is source code: leave data out with --exclude or a line in {IGNORE_FILE}{}", root.display(), Largest(largest))]
    TooMany {
        /// The tree.
        root: PathBuf,
        /// Its fullest folders, with their number of files.
        largest: Vec<(String, String)>,
    },
    /// Too many bytes.
    #[error("the files of {} are {} together, over the limit of {}; leave data out with --exclude or a line in {IGNORE_FILE}, or allow more with --snapshot-limit{}", root.display(), Bytes(*size_bytes), Bytes(*limit_bytes), Largest(largest))]
    TooLarge {
        /// The tree.
        root: PathBuf,
        /// All files together.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
        /// The largest files, with their size.
        largest: Vec<(String, String)>,
    },
    /// Its caller wants no copy any more.
    #[error("the copy was given up")]
    CopyGivenUp,
    /// The copy cannot be written.
    #[error("copying to {}: {source}", path.display())]
    Copy {
        /// The file in the copy.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Tree {
    /// The folder whose files these are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Paths, digests, sizes, sorted by path.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.size_bytes).sum()
    }

    /// What a person should know: sockets left out, files that changed meanwhile.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a path is in the snapshot.
    pub fn contains(&self, path: &Path) -> bool {
        let found = |text| self.manifest.files.binary_search_by(|file| file.path.as_str().cmp(text)).is_ok();
        path.to_str().is_some_and(found)
    }

    /// Follows a folder that was renamed.
    pub(crate) fn moved_to(&mut self, root: &Path) {
        self.root = root.into();
    }

    fn path_of(&self, file: &neptune_wire::snapshot::File) -> PathBuf {
        self.root.join(&file.path)
    }
}

/// The bytes that a snapshot keeps of a file: its own, or a link's target.
fn read_content(path: &Path, mode: Mode) -> io::Result<Vec<u8>> {
    match mode {
        Mode::Link => {
            use std::os::unix::ffi::OsStringExt;
            Ok(std::fs::read_link(path)?.into_os_string().into_vec())
        }
        Mode::File | Mode::Executable => std::fs::read(path),
    }
}

/// A number of bytes for people: `1.5 GiB`.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let unit = (self.0.max(1).ilog2() as usize / 10).min(UNITS.len() - 1);
        match unit {
            0 => write!(f, "{} B", self.0),
            _ => write!(f, "{:.1} {}", self.0 as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit]),
        }
    }
}

struct Unreadable<'a>(&'a [(PathBuf, io::Error)]);

impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (path, error) in self.0.iter().take(SHOWN) {
            writeln!(f, "{}: {error}", path.display())?;
        }
        if self.0.len() > SHOWN {
            writeln!(f, "and {} more", self.0.len() - SHOWN)?;
        }
        write!(f, "make them readable, or leave them out with --exclude or a line in {IGNORE_FILE}")
    }
}

struct Largest<'a>(&'a [(String, String)]);

impl fmt::Display for Largest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(path, size)| write!(f, "\n  {size:>10}  {path}"))
    }
}

#[cfg(test)]
mod tests;
