//! The copy in which a program runs with `--dump-dir-url`.

use std::io;
use std::path::{Component, Path, PathBuf};

use neptune_wire::snapshot::Mode;

use super::scan::{digest, mode_of};
use super::{SnapshotError, Tree};

impl Tree {
    /// Copies every file into `folder`, which must not exist, and makes this tree the tree of the copy.
    ///
    /// What is registered is what was copied: a file that changed since it was hashed gets the digest of its copy, one that
    /// was deleted leaves. A relative link that leads out of the tree leads to the same place from the copy.
    ///
    /// `given_up` is asked before each file.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Copy`], [`SnapshotError::CopyGivenUp`]; then nothing is left behind.
    pub fn copy_to(
        &mut self,
        folder: &Path,
        given_up: &mut dyn FnMut() -> bool,
    ) -> Result<(), SnapshotError> {
        let copied = self.copy_files(folder, given_up);
        if copied.is_err() {
            // The first error counts; an incomplete copy that cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(folder);
            return copied;
        }
        self.root = folder.into();
        Ok(())
    }

    fn copy_files(&mut self, folder: &Path, given_up: &mut dyn FnMut() -> bool) -> Result<(), SnapshotError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| SnapshotError::Copy { path, source }
        };
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        std::fs::create_dir(folder).map_err(failed(folder))?;
        for part in &self.folders {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        let mut deleted = Vec::new();
        for file in &mut self.manifest.files {
            if given_up() {
                return Err(SnapshotError::CopyGivenUp);
            }
            let (from, to) = (self.root.join(&file.path), folder.join(&file.path));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed(parent))?;
            }
            match copy_one(&from, &to, (&self.root, &file.path)) {
                Ok(mode) => file.mode = mode,
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.symlink_metadata().is_err() => {
                    deleted.push(file.path.clone());
                    continue;
                }
                Err(error) => return Err(failed(&to)(error)),
            }
            (file.digest, file.size_bytes) = digest(&to, file.mode).map_err(failed(&to))?;
        }
        self.manifest.files.retain(|file| !deleted.contains(&file.path));
        Ok(())
    }
}

/// Copies what stands there now, which may be another kind of file than when it was hashed.
fn copy_one(from: &Path, to: &Path, (root, path): (&Path, &str)) -> io::Result<Mode> {
    let kind = mode_of(&from.symlink_metadata()?);
    match kind {
        Some(Mode::Link) => {
            let target = std::fs::read_link(from)?;
            let target = if leads_out(path, &target) { absolute(root, path, &target) } else { target };
            std::os::unix::fs::symlink(target, to)?;
            Ok(Mode::Link)
        }
        Some(mode @ (Mode::File | Mode::Executable)) => std::fs::copy(from, to).map(|_| mode),
        None => Err(io::Error::other(format!("{} is no file any more", from.display()))),
    }
}

/// Whether a relative link of the tree climbs above the tree's root.
fn leads_out(path: &str, target: &Path) -> bool {
    let mut depth = path.matches('/').count() as isize;
    target.is_relative()
        && target.components().any(|part| {
            match part {
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                _ => {}
            }
            depth < 0
        })
}

fn absolute(root: &Path, path: &str, target: &Path) -> PathBuf {
    let parent = Path::new(path).parent().unwrap_or(Path::new(""));
    root.join(parent).join(target)
}
