//! The locks that say whether a folder's owner lives, and whether anybody else still writes into it.
//!
//! `flock` belongs to an open file, which a forked child inherits. The child closes its copy as soon as the C library has
//! made it ([`crate::fork`]), or a data loader that outlives its trainer would keep the trainer's spool locked.

use std::fs::{File, TryLockError};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::fork;

/// A held lock; given up when dropped, or when the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    file: ManuallyDrop<File>,
    generation: u64,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has it.
    #[error("in use by another process")]
    Held,
    /// The disk.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held => io::Error::new(io::ErrorKind::WouldBlock, "in use by another process"),
            LockError::Io(error) => error,
        }
    }
}

impl Lock {
    /// Takes the lock of a file, which is made when missing. Never waits.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let file = File::options().create(true).write(true).truncate(false).mode(0o600).open(path)?;
        Self::take_by(path, file, File::try_lock)
    }

    /// Shares the lock of a file with others that share it. Never waits and makes nothing.
    pub(crate) fn share(path: &Path) -> Result<Self, LockError> {
        // NFS wants a file that is open to read for this, and one that is open to write for the other.
        let file = File::open(path)?;
        Self::take_by(path, file, File::try_lock_shared)
    }

    fn take_by(
        path: &Path,
        file: File,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, LockError> {
        fork::watch();
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held),
            // Some network file systems know no locks. Exactly once holds all the same, by session and number.
            Err(TryLockError::Error(error)) if is_without_locks(&error) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The owner deletes the folder before it gives up the lock, so the file may be gone by now.
        let found = std::fs::metadata(path)?;
        if found.ino() != file.metadata()?.ino() {
            return Err(LockError::Held);
        }
        fork::close_in_child(file.as_raw_fd());
        Ok(Self { file: ManuallyDrop::new(file), generation: fork::generation() })
    }
}

fn is_without_locks(error: &io::Error) -> bool {
    // NFS without its lock service says that there are no locks available.
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(nix::libc::ENOLCK)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // In a forked child the descriptor was closed at the fork; its number may be another file's by now.
        if self.generation == fork::generation() {
            fork::keep_in_child(self.file.as_raw_fd());
            // Closing gives it up too, unless a child forked this instant still has a copy.
            let _ = self.file.unlock();
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::take(&path).unwrap();
        assert!(matches!(Lock::take(&path), Err(LockError::Held)));
        assert!(matches!(Lock::share(&path), Err(LockError::Held)));
        drop(lock);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn those_who_share_keep_an_owner_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(matches!(Lock::share(&path), Err(LockError::Io(_))) && !path.exists());
        drop(Lock::take(&path).unwrap());
        let shared = [Lock::share(&path).unwrap(), Lock::share(&path).unwrap()];
        for lock in shared {
            assert!(matches!(Lock::take(&path), Err(LockError::Held)));
            drop(lock);
        }
        Lock::take(&path).unwrap();
    }
}
