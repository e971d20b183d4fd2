//! `backup.json`: what a backup is made of. Written last, by a rename, so that it names only files that are safe.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::gather::create_private;

/// The layout this program writes; others are refused.
pub(super) const FORMAT: u32 = 1;
pub(super) const NAME: &str = "backup.json";
pub(super) const FILES: &str = "files";

/// `backup.json`
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) format: u32,
    /// Version of the program.
    pub(crate) written_by: String,
    /// Whose data it is, by the identity of its store; `None` where the program did not say.
    #[serde(default)]
    pub(crate) store: Option<String>,
    /// When the ordered state was copied, in microseconds since the Unix epoch.
    pub(crate) taken_micros: i64,
    pub(crate) files: Vec<Listed>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// In the data folder.
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) blake3: String,
}

impl List {
    /// Reads the list of a backup that was finished.
    ///
    /// # Errors
    ///
    /// For a folder that is none, or whose backup was cut off.
    pub(crate) fn read(from: &Path) -> anyhow::Result<List> {
        match Self::find(from)? {
            Some(list) => Ok(list),
            None if from.join(FILES).is_dir() => {
                bail!("the backup in {} was cut off before it was whole; make it again", from.display())
            }
            None => bail!("there is no backup in {}: {NAME} is missing", from.display()),
        }
    }

    /// The list; `None` when no backup was finished here.
    pub(super) fn find(from: &Path) -> anyhow::Result<Option<List>> {
        let path = from.join(NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.with_context(|| format!("{}", path.display()))?,
        };
        let list: List = serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))?;
        if list.format != FORMAT {
            bail!(
                "the backup in {} is of format {}, this version reads {FORMAT}",
                from.display(),
                list.format
            );
        }
        Ok(Some(list))
    }

    /// Writes the list so that a reader, also after a power cut, sees all of it or what was there before.
    pub(super) fn write(&self, to: &Path) -> anyhow::Result<()> {
        let path = to.join(NAME);
        let draft = to.join(format!("{NAME}.{}", std::process::id()));
        let json = serde_json::to_vec(self)?;
        let written = || -> io::Result<()> {
            remove_file(&draft)?;
            let mut file = create_private(&draft)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(to)?.sync_all()
        };
        written().with_context(|| format!("{}", path.display()))
    }
}

/// Where a file of a backup lies.
pub(crate) fn place_of(from: &Path, blake3: &str) -> PathBuf {
    from.join(FILES).join(blake3.get(..2).unwrap_or_default()).join(blake3)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
