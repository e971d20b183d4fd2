//! `neptune-server restore`: a data folder made of a backup, all of it or nothing.
//!
//! It is filled in its place, which may be where a disk is mounted. Until it is whole a file `restoring` lies in it: nothing
//! opens the folder then, and another restore begins anew.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use nix::errno::Errno;
use tokio_util::sync::CancellationToken;

use crate::backup::{self, CopyError, List, Listed};
use crate::config::Config;
use crate::{note, say, store};

/// What becomes of blobs that the backup has no more as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// Nothing is restored.
    Refused,
    /// All else is restored.
    LeftOut,
}

/// Makes the data folder, which must be empty or not be there; every byte is compared with what the backup says of it.
///
/// The exit status is 1 when something was left out.
pub(crate) fn restore(config: &Config, from: &Path, damaged: Damaged) -> anyhow::Result<ExitCode> {
    let list = List::read(from)?;
    let place = Place::begin(&std::path::absolute(&config.data)?)?;
    let filled = match fill(from, &list.files, &place.data, damaged) {
        Ok(filled) => filled,
        Err(error) => {
            // What went wrong is told; a part is of no use, and the mark keeps it from being taken for more.
            let _ = place.give_up();
            return Err(error);
        }
    };
    let data = place.finish()?;
    for path in &filled.left_out {
        note(&format!("{path} is damaged or missing in the backup, it was left out"));
    }
    let files = list.files.len() - filled.left_out.len();
    say(&format!("{files} files of {} bytes: {}\n", filled.bytes, data.display()))?;
    Ok(if filled.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder that is being filled.
struct Place {
    data: PathBuf,
    /// It was not there before.
    is_new: bool,
    /// Held, so that two do not fill one folder: where the file system has locks of folders, from before the first look.
    _folder: File,
    _mark: File,
}

impl Place {
    fn begin(data: &Path) -> anyhow::Result<Place> {
        let is_new = !data.exists();
        store::create_private(data).with_context(|| format!("cannot make {}", data.display()))?;
        let folder = File::open(data).with_context(|| format!("{}", data.display()))?;
        let folder = lock(folder, data, data)?;
        let was_begun = data.join(store::RESTORING).exists();
        check_names(data, was_begun)?;
        let mark = mark(data, was_begun)?;
        if let Err(filled) = check_names(data, was_begun) {
            // By another restore, where folders have no locks: what it made is whole.
            if !was_begun {
                fs::remove_file(data.join(store::RESTORING))?;
            }
            return Err(filled);
        }
        remove_parts(data).with_context(|| format!("{}", data.display()))?;
        File::open(data)?.sync_all()?;
        Ok(Place { data: data.to_path_buf(), is_new, _folder: folder, _mark: mark })
    }

    /// From now on it is a data folder.
    fn finish(self) -> anyhow::Result<PathBuf> {
        let finished = fs::remove_file(self.data.join(store::RESTORING))
            .and_then(|()| File::open(&self.data)?.sync_all());
        finished.with_context(|| format!("{}", self.data.display()))?;
        Ok(self.data)
    }

    fn give_up(self) -> io::Result<()> {
        remove_parts(&self.data)?;
        fs::remove_file(self.data.join(store::RESTORING))?;
        if self.is_new { fs::remove_dir(&self.data) } else { Ok(()) }
    }
}

/// Refuses a folder that holds anything but the mark, the disk that is mounted here, and what a restore before this one left.
fn check_names(data: &Path, was_begun: bool) -> anyhow::Result<()> {
    for entry in fs::read_dir(data).with_context(|| format!("{}", data.display()))? {
        let name = entry?.file_name();
        let is_begun = was_begun && (name == "db" || name == "blobs");
        if !is_begun && name != store::RESTORING && name != "lost+found" {
            bail!(
                "{} is not empty, it has {name:?}; name a folder that is, or a new one, with --data",
                data.display()
            );
        }
    }
    Ok(())
}

/// Makes the mark, or takes over the one of a restore that was cut off. One that goes meanwhile was of a restore that has
/// ended: what lies in the folder is not a part any more.
fn mark(data: &Path, was_begun: bool) -> anyhow::Result<File> {
    let path = data.join(store::RESTORING);
    let mut options = OpenOptions::new();
    options.write(true).create_new(!was_begun).mode(0o600);
    match options.open(&path) {
        Ok(file) => lock(file, &path, data),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
            bail!("{}", Busy(data))
        }
        Err(error) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

/// Locks a file that was opened, and makes sure that it is still the one of that path.
fn lock(file: File, path: &Path, data: &Path) -> anyhow::Result<File> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => bail!("{}", Busy(data)),
        // Some network file systems have no locks, or none of folders.
        Err(TryLockError::Error(error))
            if error.kind() != io::ErrorKind::Unsupported
                && error.raw_os_error() != Some(Errno::EBADF as i32) =>
        {
            return Err(error).with_context(|| format!("{}", path.display()));
        }
        _ => {}
    }
    let (held, there) = (file.metadata()?, fs::metadata(path));
    let is_same = there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    if is_same { Ok(file) } else { bail!("{}", Busy(data)) }
}

/// Why this restore may not fill the folder.
struct Busy<'a>(&'a Path);

impl fmt::Display for Busy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another restore is filling {}; wait until it is done", self.0.display())
    }
}

fn remove_parts(data: &Path) -> io::Result<()> {
    for part in ["db", "blobs"] {
        match fs::remove_dir_all(data.join(part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

struct Filled {
    bytes: u64,
    /// Paths of blobs.
    left_out: Vec<String>,
}

/// Copies all files into the folder, and makes their names safe.
fn fill(from: &Path, files: &[Listed], data: &Path, damaged: Damaged) -> anyhow::Result<Filled> {
    let mut folders = BTreeSet::from([data.to_path_buf()]);
    let mut filled = Filled { bytes: 0, left_out: vec![] };
    for file in files {
        let target = data.join(inside(&file.path)?);
        let folder = target.parent().context("a file lies in a folder")?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("{}", folder.display()))?;
        folders.extend(folder.ancestors().take_while(|above| above.starts_with(data)).map(Path::to_path_buf));
        let is_blob = file.path.starts_with("blobs/");
        match copy(from, file, &target) {
            Ok(()) => filled.bytes += file.size_bytes,
            // Of the backup, that says nothing.
            Err(NotCopied::Hindered(error)) => return Err(error.context("nothing was restored")),
            Err(NotCopied::Damaged(_)) if is_blob && damaged == Damaged::LeftOut => {
                fs::remove_file(&target).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
                filled.left_out.push(file.path.clone());
            }
            Err(NotCopied::Damaged(error)) if is_blob => {
                return Err(error.context(
                    "nothing was restored; --without-damaged restores all but such files, or make another backup into \
                     the same folder, which mends it",
                ));
            }
            Err(NotCopied::Damaged(error)) => {
                return Err(error.context(
                    "nothing was restored, and nothing can be of this backup: the file is a part of the database",
                ));
            }
        }
    }
    folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())?;
    Ok(filled)
}

/// Why a file was not restored.
enum NotCopied {
    /// The backup has it no more as it was.
    Damaged(anyhow::Error),
    /// Anything else: the copy could not be written, or this process cannot open more files.
    Hindered(anyhow::Error),
}

fn copy(from: &Path, file: &Listed, target: &Path) -> Result<(), NotCopied> {
    let place = backup::place_of(from, &file.blake3);
    let name = || format!("{}, which is {} of the backup", place.display(), file.path);
    match backup::copy_file(&place, target, &CancellationToken::new()) {
        Ok(found) if found == file.blake3 => Ok(()),
        Ok(_) => Err(NotCopied::Damaged(anyhow!(
            "{} is damaged: it is not {} any more",
            place.display(),
            file.path
        ))),
        Err(CopyError::Source(error)) if is_damage(&error) => {
            Err(NotCopied::Damaged(anyhow::Error::new(error).context(name())))
        }
        Err(CopyError::Source(error)) => Err(NotCopied::Hindered(anyhow::Error::new(error).context(name()))),
        Err(CopyError::Target(error)) => {
            let error = anyhow::Error::new(error);
            Err(NotCopied::Hindered(error.context(format!("cannot write {}", target.display()))))
        }
    }
}

/// Whether a file that cannot be read for this reason is lost where it lies, for whoever tries again, too.
fn is_damage(error: &io::Error) -> bool {
    use Errno::{EACCES, EBADMSG, EIO, EISDIR, ENOENT, ENOTDIR, EPERM, EUCLEAN};
    let lost = [ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, EIO, EBADMSG, EUCLEAN];
    error.raw_os_error().is_some_and(|error| lost.contains(&Errno::from_raw(error)))
}

/// A path that stays in the folder it is joined to.
fn inside(path: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(path);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(path);
    }
    bail!("the backup names {}, which is no path in a data folder", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn whoever_looks_while_another_fills_the_folder_takes_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = Place::begin(&data).unwrap();
        // Even before the mark is there, and when it is not any more.
        fs::remove_file(data.join(store::RESTORING)).unwrap();
        let refused = Place::begin(&data).err().unwrap().to_string();
        assert!(refused.contains("another restore is filling"), "{refused}");
        assert_eq!(names(&data), Vec::<String>::new());
        fs::write(data.join(store::RESTORING), "").unwrap();
        fs::create_dir(data.join("db")).unwrap();
        first.finish().unwrap();
        let refused = Place::begin(&data).err().unwrap().to_string();
        assert!(refused.contains("is not empty, it has \"db\""), "{refused}");
        assert_eq!(names(&data), ["db"]);
    }

    /// Where folders have no locks: each step of a second restore after the first has ended between it and the one before.
    #[test]
    fn a_mark_that_has_gone_stands_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        // It was seen, and is not there to be opened: it is not made anew.
        assert!(mark(data, true).is_err());
        assert_eq!(names(data), Vec::<String>::new());
        // It was opened, and is not there any more, or is another, once it is locked.
        let path = data.join(store::RESTORING);
        let opened = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(lock(opened.try_clone().unwrap(), &path, data).is_err());
        File::create(&path).unwrap();
        assert!(lock(opened, &path, data).is_err());
        // None was seen, and there is one.
        assert!(mark(data, false).is_err());
        assert_eq!(names(data), [store::RESTORING]);
        // One that was cut off is taken over.
        mark(data, true).unwrap();
    }
}
