//! Whether the disk takes another commit.
//!
//! Two guards, so that a full disk is an answer and never a crash. Commits stop while room is left ([`Options`]'s
//! reserve), so RocksDB can still flush and compact what it accepted. Should it meet an error all the same (others
//! fill the disk too), it refuses writes and, when the error was lack of space, tries every five seconds to go on
//! by itself; an empty write asks whether it has. After any other error of the disk it stays so until the store is
//! opened again, since what the disk then holds is for a restart to find out; then commits are told that it failed.
//!
//! [`Options`]: crate::Options

use neptune_kv::CommitError;
use nix::sys::statvfs::statvfs;
use rocksdb::{WriteBatch, WriteOptions, properties::BACKGROUND_ERRORS};

use crate::{Options, open::Database};

/// The judge, owned by the writer.
#[derive(Debug)]
pub(crate) struct Disk {
    reserve_bytes: u64,
    condition: Condition,
    /// RocksDB's count of errors in its background work, as far as they were looked into.
    errors_seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Writable,
    /// Less room than the reserve.
    Full,
    /// RocksDB refuses to write, for lack of room or for good.
    Stopped,
}

/// Why nothing is written.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Full,
    Failed(rocksdb::Error),
}

impl From<Refusal> for CommitError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::ReadOnly,
            Refusal::Failed(error) => Self::Failed(error.into()),
        }
    }
}

/// What RocksDB's errors say when there is no room; its own kinds do not tell them apart.
const NO_ROOM: &str = "No space left on device";

impl Disk {
    pub(crate) fn new(options: &Options) -> Disk {
        Disk { reserve_bytes: options.reserve_bytes, condition: Condition::Writable, errors_seen: 0 }
    }

    /// Whether a commit may be tried now. Costs a system call.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn takes_commits(&mut self, database: &Database) -> Result<(), Refusal> {
        let takes_clears = self.takes_clears(database);
        let condition = match &takes_clears {
            Err(_) => Condition::Stopped,
            Ok(()) if self.is_full(database) => Condition::Full,
            Ok(()) => Condition::Writable,
        };
        self.enter(condition, database);
        takes_clears.and(if condition == Condition::Full { Err(Refusal::Full) } else { Ok(()) })
    }

    /// Whether RocksDB writes at all: enough for a clear, which makes room.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn takes_clears(&mut self, database: &Database) -> Result<(), Refusal> {
        let errors = database.rocks.property_int_value(BACKGROUND_ERRORS).ok().flatten().unwrap_or(0);
        if self.condition != Condition::Stopped && errors == self.errors_seen {
            return Ok(());
        }
        self.errors_seen = errors;
        probe(database).map_err(|error| match error.as_ref().contains(NO_ROOM) {
            true => Refusal::Full,
            false => Refusal::Failed(error),
        })
    }

    /// Notes that RocksDB failed to write.
    pub(crate) fn failed(&mut self, database: &Database, error: &rocksdb::Error) {
        tracing::error!(store = %database.folder.path().display(), %error, "a write failed");
        self.enter(Condition::Stopped, database);
    }

    /// Once full, an eighth more than the reserve must be free, so that the answer does not flicker.
    fn is_full(&self, database: &Database) -> bool {
        let wanted = match self.condition {
            Condition::Full => self.reserve_bytes + self.reserve_bytes / 8,
            Condition::Writable | Condition::Stopped => self.reserve_bytes,
        };
        match statvfs(database.folder.path()) {
            #[allow(clippy::useless_conversion, reason = "not all systems count in 64 bits")]
            Ok(space) => u64::from(space.blocks_available()) * u64::from(space.fragment_size()) < wanted,
            // Not to be told is no reason to refuse; a write that fails will be.
            Err(_) => false,
        }
    }

    fn enter(&mut self, condition: Condition, database: &Database) {
        if condition == self.condition {
            return;
        }
        self.condition = condition;
        let store = database.folder.path().display();
        let reserve_bytes = self.reserve_bytes;
        match condition {
            Condition::Writable => tracing::info!(%store, "the store takes commits again"),
            Condition::Full => {
                tracing::warn!(%store, reserve_bytes, "the disk is full, the store is read-only")
            }
            Condition::Stopped => tracing::error!(%store, "the store is read-only after a failed write"),
        }
    }
}

/// Writes nothing, which RocksDB refuses exactly while it is stopped.
fn probe(database: &Database) -> Result<(), rocksdb::Error> {
    database.rocks.write_opt(WriteBatch::default(), &WriteOptions::default())
}
