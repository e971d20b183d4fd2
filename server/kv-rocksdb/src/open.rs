//! Opening a store, and what the open store is.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use neptune_kv::{
    Batch, Cause, CheckpointError, CommitError, Family, Key, KeyRange, Kv, KvRead, Limits, Page, ReadError,
    Scan,
};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, ErrorKind, FlushOptions};

use crate::{
    folder::{Folder, io_error},
    tuning::{self, Options},
    view::View,
    wal,
    writer::Writer,
};

/// A store in a folder of its own. Dropping it waits for the commits under way, writes what is in memory to files, so
/// that the next one to open it has no log to replay, and closes it.
///
/// The folder stays claimed until the last snapshot and read is gone too.
#[derive(Debug)]
pub struct RocksKv {
    view: View,
    writer: Writer,
}

/// RocksDB and the claim to its folder, which must outlive it.
pub(crate) struct Database {
    pub(crate) rocks: DB,
    pub(crate) folder: Folder,
}

/// Why a store was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("store {} is held by {}", folder.display(), holder(*pid))]
    Held {
        /// The store.
        folder: PathBuf,
        /// The process that has it; `None` if it is just starting.
        pid: Option<u32>,
    },
    /// Written by a later version, which must be used to open it.
    #[error("store {} has {found}, this version knows {known}: use a later version", folder.display())]
    Newer {
        /// The store.
        folder: PathBuf,
        /// What it has.
        found: String,
        /// What this code has.
        known: String,
    },
    /// A folder with other things in it and no store. Name an empty or a new one.
    #[error("folder {} is not a store and not empty, it has {name:?}", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        name: OsString,
    },
    /// Parts are missing or do not match their checksums. Acknowledged data may be lost; opening it would hide that.
    #[error("store {} is damaged", folder.display())]
    Damaged {
        /// The store.
        folder: PathBuf,
        /// What was found.
        #[source]
        cause: Cause,
    },
    /// The file system refused.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl RocksKv {
    /// Opens the store in `folder`, which is created if absent and otherwise must be a store or empty.
    ///
    /// Blocks: an idle store opens in some 50 ms, one that was killed under load has up to 96 MB to replay.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<RocksKv, OpenError> {
        let mut folder = Folder::claim(folder.as_ref())?;
        wal::cut_torn_end(&folder)?;
        check_families(&folder)?;
        let database = tuning::database(folder.is_new());
        let rocks = DB::open_cf_descriptors(&database, folder.rocksdb(), tuning::families(&options));
        let rocks = rocks.map_err(|error| open_error(&folder, error))?;
        folder.complete()?;
        let database = Arc::new(Database { rocks, folder });
        Ok(RocksKv { writer: Writer::start(database.clone(), &options), view: View::newest(database) })
    }

    pub(crate) fn database(&self) -> &Database {
        self.view.database()
    }
}

impl Drop for RocksKv {
    fn drop(&mut self) {
        self.writer.finish();
        let database = self.database();
        let families = Family::ALL.map(|family| database.family(family));
        if let Err(error) = database.rocks.flush_cfs_opt(&families, &FlushOptions::default()) {
            // The log still has it all.
            tracing::warn!(store = %database.folder.path().display(), %error, "memory was not written to files");
        }
    }
}

/// A column family that this version does not know holds data that it would not see.
fn check_families(folder: &Folder) -> Result<(), OpenError> {
    if folder.is_new() {
        return Ok(());
    }
    let found = DB::list_cf(&rocksdb::Options::default(), folder.rocksdb());
    let found = found.map_err(|error| open_error(folder, error))?;
    let known = || Family::ALL.map(tuning::name).into_iter().chain(["default"]);
    match found.into_iter().find(|name| known().all(|known| known != name)) {
        Some(unknown) => Err(OpenError::Newer {
            folder: folder.path().to_path_buf(),
            found: format!("family {unknown}"),
            known: Family::ALL.map(tuning::name).join(", "),
        }),
        None => Ok(()),
    }
}

fn open_error(folder: &Folder, error: rocksdb::Error) -> OpenError {
    match error.kind() {
        // A file named by another file and absent is an I/O error to RocksDB; to the store it is a missing part.
        ErrorKind::IOError if !error.as_ref().contains("No such file") => {
            io_error(folder.path(), io::Error::other(error))
        }
        _ => OpenError::Damaged { folder: folder.path().to_path_buf(), cause: error.into() },
    }
}

impl Database {
    /// Makes a store of the same content in `folder`: tables are shared by hard links, or copied to another file system.
    fn copy_to(&self, folder: &Path) -> Result<(), OpenError> {
        std::fs::create_dir(folder).map_err(|cause| io_error(folder, cause))?;
        let copied =
            Checkpoint::new(&self.rocks).and_then(|copy| copy.create_checkpoint(Folder::rocksdb_in(folder)));
        copied.map_err(|error| io_error(folder, io::Error::other(error)))?;
        Folder::complete_copy(folder)
    }

    /// The column family's handle.
    pub(crate) fn family(&self, family: Family) -> &rocksdb::ColumnFamily {
        self.rocks.cf_handle(tuning::name(family)).expect("every family is opened with the database")
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl KvRead for RocksKv {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        self.view.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.view.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        self.view.scan(scan).await
    }
}

#[async_trait]
impl Kv for RocksKv {
    fn limits(&self) -> Limits {
        Limits::PROMISED
    }

    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError> {
        Ok(Arc::new(self.view.fixed()))
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.check(&Limits::PROMISED)?;
        self.writer.commit(batch).await
    }

    async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        self.writer.clear(range).await
    }

    async fn checkpoint(&self, folder: &Path) -> Result<(), CheckpointError> {
        let (view, folder) = (self.view.clone(), folder.to_path_buf());
        let copied = tokio::task::spawn_blocking(move || view.database().copy_to(&folder));
        match copied.await {
            Ok(copied) => copied.map_err(|error| CheckpointError::Io(error.into())),
            Err(panicked) => Err(CheckpointError::Io(panicked.into())),
        }
    }
}
