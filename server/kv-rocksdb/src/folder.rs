//! The folder of a store: created so that it survives the loss of power, claimed by one process, of a known format.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    mem,
    path::{Path, PathBuf},
    process,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::OpenError;

const LOCK: &str = "lock";
const ROCKSDB: &str = "rocksdb";
const FORMAT: &str = "FORMAT";
const FORMAT_DRAFT: &str = "FORMAT.draft";

/// What `FORMAT` begins with; the version follows.
const FORMAT_NAME: &str = "neptune-kv-rocksdb ";

/// The layout this code writes. To raise it: move the data in `open.rs`, each step restartable, write the new `FORMAT`
/// last, and keep a store of the old format as a fixture.
const FORMAT_VERSION: u32 = 1;

/// A folder that this process alone may use, until dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    new: bool,
    _lock: Flock<File>,
}

impl Folder {
    /// Claims `path`, creating it if absent.
    pub(crate) fn claim(path: &Path) -> Result<Folder, OpenError> {
        create_durably(path).map_err(|cause| io_error(path, cause))?;
        // Before anything is written to what may be somebody's home.
        check_ours(path)?;
        let lock = lock(path)?;
        let new = read_format(path)?.is_none();
        create_durably(&path.join(ROCKSDB)).map_err(|cause| io_error(path, cause))?;
        Ok(Folder { path: path.to_path_buf(), new, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where RocksDB has its files.
    pub(crate) fn rocksdb(&self) -> PathBuf {
        self.path.join(ROCKSDB)
    }

    /// Where RocksDB has its files in a folder that is not claimed.
    pub(crate) fn rocksdb_in(path: &Path) -> PathBuf {
        path.join(ROCKSDB)
    }

    /// Makes a folder with RocksDB's files in it a store.
    pub(crate) fn complete_copy(path: &Path) -> Result<(), OpenError> {
        write_format(path).map_err(|cause| io_error(&path.join(FORMAT), cause))
    }

    /// Whether no store was ever completed here, so that one may be created.
    pub(crate) fn is_new(&self) -> bool {
        self.new
    }

    /// Writes the format, after which the folder must always have a store.
    pub(crate) fn complete(&mut self) -> Result<(), OpenError> {
        if mem::take(&mut self.new) {
            write_format(&self.path).map_err(|cause| io_error(&self.path.join(FORMAT), cause))?;
        }
        Ok(())
    }
}

/// A folder without a format must hold nothing but what a creation that was interrupted leaves.
fn check_ours(path: &Path) -> Result<(), OpenError> {
    if path.join(FORMAT).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|cause| io_error(path, cause))? {
        let name = entry.map_err(|cause| io_error(path, cause))?.file_name();
        if ![LOCK, ROCKSDB, FORMAT_DRAFT].map(OsStr::new).contains(&&*name) {
            return Err(OpenError::Foreign { folder: path.to_path_buf(), name });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<Flock<File>, OpenError> {
    let path_of_lock = path.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path_of_lock);
    let file = file.map_err(|cause| io_error(&path_of_lock, cause))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", process::id()));
            written.map_err(|cause| io_error(&path_of_lock, cause))?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            // Unreadable for the moment between its lock and its writing.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(OpenError::Held { folder: path.to_path_buf(), pid })
        }
        Err((_, errno)) => Err(io_error(&path_of_lock, errno.into())),
    }
}

/// The version in `FORMAT`, which this code knows; `None` if there is no such file.
fn read_format(path: &Path) -> Result<Option<u32>, OpenError> {
    let path_of_format = path.join(FORMAT);
    let bytes = match fs::read(&path_of_format) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path_of_format, error)),
    };
    let folder = path.to_path_buf();
    match version_of_format(&bytes) {
        None => {
            let cause = format!("file {FORMAT} holds {:?}, not a version", bytes.escape_ascii().to_string());
            Err(OpenError::Damaged { folder, cause: cause.into() })
        }
        Some(version) if version > FORMAT_VERSION => {
            let (found, known) = (format!("format {version}"), format!("format {FORMAT_VERSION}"));
            Err(OpenError::Newer { folder, found, known })
        }
        known => Ok(known),
    }
}

fn version_of_format(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.strip_prefix(FORMAT_NAME)?.trim_end().parse().ok()
}

fn write_format(path: &Path) -> io::Result<()> {
    let mut draft = File::create(path.join(FORMAT_DRAFT))?;
    writeln!(draft, "{FORMAT_NAME}{FORMAT_VERSION}")?;
    draft.sync_all()?;
    fs::rename(path.join(FORMAT_DRAFT), path.join(FORMAT))?;
    sync_folder(path)
}

/// Creates a folder and those above it, each synced into the one that holds it.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    create_durably(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(above)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn io_error(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Io { path: path.to_path_buf(), cause }
}
