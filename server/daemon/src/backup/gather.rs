//! Sorting the files of a data folder into a backup, each under its BLAKE3, once.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::list::{FILES, Listed, place_of, remove_file};
use super::target::is_digest;
use super::{Taken, check_going};

const PIECE_BYTES: usize = 1 << 20;

/// A backup that is being put together.
pub(super) struct Gathering<'a> {
    to: &'a Path,
    stop: &'a CancellationToken,
    pub(super) taken: Taken,
    pub(super) files: Vec<Listed>,
    /// That hold a file of it.
    folders: BTreeSet<PathBuf>,
}

/// What a file is made of.
struct Content {
    blake3: String,
    size_bytes: u64,
}

impl<'a> Gathering<'a> {
    pub(super) fn begin(to: &'a Path, stop: &'a CancellationToken) -> Gathering<'a> {
        Gathering { to, stop, taken: Taken::default(), files: vec![], folders: BTreeSet::new() }
    }

    /// Adds every file below a folder under its path in the data folder.
    pub(super) fn add_folder(&mut self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("{}", folder.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            let file_name =
                file_name.to_str().context("a file in the data folder has a name that is no text")?;
            let name = format!("{name}/{file_name}");
            if entry.file_type()?.is_dir() {
                self.add_folder(&entry.path(), &name)?;
            } else if !file_name.contains('#') {
                // A name with `#` is a part of a write that goes on or was broken off.
                self.add_file(&entry.path(), name).with_context(|| format!("{}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: String) -> anyhow::Result<()> {
        check_going(self.stop)?;
        let mut content = hash_file(path, self.stop)?;
        // A blob's name says what its bytes were. Damaged ones do not take the place of a copy that is whole.
        let file_name = name.rsplit('/').next().unwrap_or_default();
        if is_digest(file_name) && file_name != content.blake3 {
            self.taken.damaged += 1;
            let kept = self.find_whole(file_name);
            check_going(self.stop)?;
            if let Some(size_bytes) = kept {
                self.taken.kept += 1;
                content = Content { blake3: file_name.to_owned(), size_bytes };
            }
        }
        let target = place_of(self.to, &content.blake3);
        self.taken.files += 1;
        self.taken.bytes += content.size_bytes;
        let folder = target.parent().context("a file of a backup lies in a folder")?.to_path_buf();
        if !self.holds(path, &target, &content)? {
            make_private(&folder)?;
            let copied = put_file(path, &target, &content.blake3, self.stop)?;
            if !copied {
                bail!("it changed while it was copied");
            }
            self.taken.new_files += 1;
            self.taken.new_bytes += content.size_bytes;
        }
        // A name that an earlier backup gave may not be safe yet: that backup was cut off.
        self.folders.insert(folder);
        self.files.push(Listed { path: name, size_bytes: content.size_bytes, blake3: content.blake3 });
        Ok(())
    }

    /// The length of a copy that the backup has of a blob, if that is whole.
    fn find_whole(&self, blake3: &str) -> Option<u64> {
        let found = hash_file(&place_of(self.to, blake3), self.stop).ok()?;
        (found.blake3 == blake3).then_some(found.size_bytes)
    }

    /// Whether the backup has a file: the very same, or a copy that is still what it was.
    fn holds(&self, path: &Path, target: &Path, content: &Content) -> anyhow::Result<bool> {
        let there = match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            there => there?,
        };
        let here = fs::metadata(path)?;
        if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
            return Ok(true);
        }
        if !there.is_file() || there.len() != content.size_bytes {
            return Ok(false);
        }
        let found = hash_file(target, self.stop);
        check_going(self.stop)?;
        // One that cannot be read is replaced, as one that has changed.
        Ok(found.is_ok_and(|found| found.blake3 == content.blake3))
    }

    /// Makes the names as safe as the bytes are; only then may the list stand for them.
    pub(super) fn sync_names(&self) -> anyhow::Result<()> {
        for folder in self.folders.iter().map(PathBuf::as_path).chain([&*self.to.join(FILES), self.to]) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.with_context(|| format!("{}", folder.display()))?;
        }
        Ok(())
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Puts a file in its place, whole or not at all: by a hard link, else by a copy whose content is checked.
fn put_file(path: &Path, target: &Path, blake3: &str, stop: &CancellationToken) -> io::Result<bool> {
    let draft = target.with_extension(format!("draft{}", std::process::id()));
    remove_file(&draft)?;
    // The database changes some of its small files in place; only what is never written again may be shared.
    let is_shared = is_immutable(path) && fs::hard_link(path, &draft).is_ok();
    if is_shared {
        // The folder keeps others out in any case; a file of another owner keeps its mode.
        let _ = fs::set_permissions(&draft, Permissions::from_mode(0o600));
    } else {
        let found = copy_file(path, &draft, stop);
        if found.as_ref().ok().map(String::as_str) != Some(blake3) {
            remove_file(&draft)?;
            return Ok(found.map(|_| false)?);
        }
    }
    fs::rename(&draft, target)?;
    Ok(true)
}

/// Tables of the database and blobs are written once.
fn is_immutable(path: &Path) -> bool {
    let is_table = path.extension().is_some_and(|extension| extension == "sst" || extension == "blob");
    is_table || path.file_name().and_then(|name| name.to_str()).is_some_and(is_digest)
}

/// Makes a file that its owner alone reads; there must be none of this name.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Which side hindered a copy.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The file could not be read.
    Source(io::Error),
    /// The copy could not be written.
    Target(io::Error),
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        let (CopyError::Source(error) | CopyError::Target(error)) = error;
        error
    }
}

/// Copies bytes into a new file, synced; answers their BLAKE3.
pub(crate) fn copy_file(from: &Path, to: &Path, stop: &CancellationToken) -> Result<String, CopyError> {
    let source = File::open(from).map_err(CopyError::Source)?;
    let mut target = create_private(to).map_err(CopyError::Target)?;
    let content = read_pieces(source, stop, |piece| target.write_all(piece))?;
    target.sync_all().map_err(CopyError::Target)?;
    Ok(content.blake3)
}

fn hash_file(path: &Path, stop: &CancellationToken) -> io::Result<Content> {
    Ok(read_pieces(File::open(path)?, stop, |_| Ok(()))?)
}

fn read_pieces(
    mut file: File,
    stop: &CancellationToken,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Content, CopyError> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if stop.is_cancelled() {
            return Err(CopyError::Source(io::Error::other("stopped")));
        }
        let count = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(CopyError::Source)?,
        };
        if count == 0 {
            return Ok(Content { blake3: hasher.finalize().to_string(), size_bytes: hasher.count() });
        }
        hasher.update(&piece[..count]);
        take(&piece[..count]).map_err(CopyError::Target)?;
    }
}
