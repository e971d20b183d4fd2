//! Done or not: a step keeps a fingerprint of what it read beside what it made, and is skipped while they agree.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A fingerprint in the making. Another compiler may hash differently; then the step is done once more, no harm.
#[derive(Default)]
pub(crate) struct Fingerprint {
    hasher: DefaultHasher,
}

impl Fingerprint {
    /// Adds a value that the step depends on.
    pub(crate) fn text(mut self, text: &str) -> Self {
        text.hash(&mut self.hasher);
        self
    }

    /// Adds a file, or every file below a folder, by name and content. Something that is not there counts as empty.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub(crate) fn path(mut self, path: &Path) -> Result<Self> {
        for file in files(path)? {
            file.hash(&mut self.hasher);
            fs::read(&file).with_context(|| format!("{}", file.display()))?.hash(&mut self.hasher);
        }
        Ok(self)
    }

    /// Answers whether the stamp at `path` holds this fingerprint, and the text to store there if not.
    pub(crate) fn compare(self, path: &Path) -> (bool, String) {
        let text = format!("{:016x}\n", self.hasher.finish());
        let same = fs::read_to_string(path).is_ok_and(|stored| stored == text);
        (same, text)
    }
}

/// Every file at or below `path`, in order of its name; folders whose content is made, not written, are left out.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    const MADE: [&str; 8] =
        ["target", "node_modules", "dist", "__pycache__", ".venv", ".git", ".pytest_cache", ".mypy_cache"];
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !MADE.iter().any(|made| entry.file_name() == *made) {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
