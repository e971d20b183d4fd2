//! The folder of a backup: claimed by one backup at a time, private, and of one store alone.
//!
//! Files are removed from it, so nothing is taken for a backup's own that is not named like it, and the backup of other data
//! is refused before anything is written.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::list::{self, FILES, List, remove_file};

/// Held while a backup is made; stays when it is done.
const LOCK: &str = "backup.lock";
/// What a file system has in its root for itself.
const LOST_AND_FOUND: &str = "lost+found";
const DIGEST_CHARS: usize = 64;

/// A folder that this backup may write to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: PathBuf,
    /// The folder was there, and its mode lets others in.
    pub(super) wide_mode: Option<u32>,
    _lock: File,
}

impl Target {
    /// Claims an empty folder, a new one, or one that holds backups of this store.
    ///
    /// # Errors
    ///
    /// When anything else lies in it; then nothing in it was changed, but for the lock in one that holds a backup.
    pub(super) fn claim(data: &Path, folder: &Path, store: &str) -> anyhow::Result<Target> {
        check_outside(data, folder)?;
        let wide_mode = make_private(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        check_outside(data, folder)?;
        check_names(folder)?;
        let lock = lock(folder)?;
        check_store(folder, store)?;
        let files = folder.join(FILES);
        fs::create_dir_all(&files)
            .and_then(|()| fs::set_permissions(&files, Permissions::from_mode(0o700)))
            .with_context(|| format!("{}", files.display()))?;
        Ok(Target { folder: folder.to_path_buf(), wide_mode, _lock: lock })
    }

    /// Removes what only backups before this one named, and what those left that were cut off.
    pub(super) fn remove_unlisted(&self, wanted: &BTreeSet<&str>) -> anyhow::Result<()> {
        for folder in fs::read_dir(self.folder.join(FILES))? {
            let folder = folder?;
            if !is_folder_of_files(&folder)? {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let name = file.file_name();
                let is_unlisted =
                    name.to_str().is_some_and(|name| is_file_of_backup(name) && !wanted.contains(name));
                if is_unlisted {
                    remove_file(&file.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Refuses a folder in the data folder, or one that would be made there.
fn check_outside(data: &Path, folder: &Path) -> anyhow::Result<()> {
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(&folder);
    if there.canonicalize()?.starts_with(data.canonicalize()?) {
        bail!("{} lies in the data folder; name a folder outside of it", folder.display());
    }
    Ok(())
}

/// Makes the folder and those above it that are missing; answers the mode of one that was there and lets others in.
fn make_private(folder: &Path) -> io::Result<Option<u32>> {
    match fs::metadata(folder) {
        Ok(meta) => {
            let mode = meta.permissions().mode() & 0o777;
            return Ok((mode & 0o077 != 0).then_some(mode));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let made: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Names outlive a power cut once the folder above is synced.
    made.iter().map(|name| name.join("..")).try_for_each(|above| File::open(above)?.sync_all())?;
    Ok(None)
}

/// Everything in the folder is of a backup, or of the disk that is mounted there.
fn check_names(folder: &Path) -> anyhow::Result<()> {
    let foreign = |path: &Path| -> anyhow::Result<()> {
        let (folder, name) = (folder.display(), path.strip_prefix(folder).unwrap_or(path));
        bail!("{folder} holds {name:?}, which is of no backup; name an empty folder, or a new one")
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_of_disk = entry.file_name() == LOST_AND_FOUND && entry.file_type()?.is_dir();
        if !is_top_name(&entry.file_name()) && !is_of_disk {
            return foreign(&entry.path());
        }
    }
    let files = match fs::read_dir(folder.join(FILES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.with_context(|| format!("{}", folder.join(FILES).display()))?,
    };
    for inner in files {
        let inner = inner?;
        if !is_folder_of_files(&inner)? {
            return foreign(&inner.path());
        }
        for file in fs::read_dir(inner.path())? {
            let file = file?;
            let name = file.file_name();
            let fits = name.to_str().is_some_and(is_file_of_backup)
                && name.as_encoded_bytes().starts_with(inner.file_name().as_encoded_bytes());
            if !fits || !file.file_type()?.is_file() {
                return foreign(&file.path());
            }
        }
    }
    Ok(())
}

/// The list, a draft of it, the lock, or the folder of files.
fn is_top_name(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let draft = name.strip_prefix(list::NAME).and_then(|rest| rest.strip_prefix('.'));
    [list::NAME, LOCK, FILES].contains(&name) || draft.is_some_and(is_number)
}

fn is_folder_of_files(entry: &fs::DirEntry) -> io::Result<bool> {
    let name = entry.file_name();
    Ok(name.to_str().is_some_and(|name| name.len() == 2 && is_hex(name)) && entry.file_type()?.is_dir())
}

/// A digest, or the draft of a file.
fn is_file_of_backup(name: &str) -> bool {
    let Some((digest, rest)) = name.split_at_checked(DIGEST_CHARS) else { return false };
    let draft = rest.strip_prefix(".draft");
    is_hex(digest) && (rest.is_empty() || draft.is_some_and(is_number))
}

/// Whether it is the name of a blob or of a file of a backup: a digest in hexadecimal.
pub(super) fn is_digest(name: &str) -> bool {
    name.len() == DIGEST_CHARS && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.with_context(|| format!("{}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another backup into {} is being made; wait until it is done", folder.display())
        }
        // Some network file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

/// A backup that lies there is one of this store.
fn check_store(folder: &Path, store: &str) -> anyhow::Result<()> {
    let list = List::find(folder).with_context(|| {
        let folder = folder.display();
        format!("{folder} holds a backup, and nobody knows whose; name another folder, or remove this one if nobody needs it")
    })?;
    let Some(list) = list else { return Ok(()) };
    let folder = folder.display();
    match &list.store {
        Some(found) if found == store => Ok(()),
        Some(_) => bail!(
            "{folder} holds a backup of another server's data; name another folder, or remove that backup first if \
             nobody needs it"
        ),
        None => bail!(
            "{folder} holds a backup by version {}, which did not say whose data it is; name another folder, so that \
             nobody's backup is written over",
            list.written_by
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_backup_are_its_own() {
        let digest = "0123456789abcdef".repeat(4);
        assert!(is_file_of_backup(&digest) && is_digest(&digest));
        assert!(is_file_of_backup(&format!("{digest}.draft17")));
        for foreign in ["photo.jpg", "", &digest[1..], &digest.to_uppercase()] {
            assert!(!is_file_of_backup(foreign), "{foreign}");
        }
        for rest in [".draft", ".draftx", ".jpg", "0"] {
            assert!(!is_file_of_backup(&format!("{digest}{rest}")), "{rest}");
        }
        for top in ["backup.json", "backup.json.12", "backup.lock", "files"] {
            assert!(is_top_name(OsStr::new(top)), "{top}");
        }
        for foreign in ["backup.json.old", "backup.json.", "backup.jsonx", "filesx", "photos"] {
            assert!(!is_top_name(OsStr::new(foreign)), "{foreign}");
        }
    }
}
