//! `neptune-server restore`: a data folder made of a backup, all of it or nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::backup::{self, Listed};
use crate::config::Config;
use crate::say;

/// Makes the data folder, which must be empty or not be there; every byte is compared with what the backup says of it.
pub(crate) fn restore(config: &Config, from: &Path) -> anyhow::Result<ExitCode> {
    let list = backup::read_list(from)?;
    let data = std::path::absolute(&config.data)?;
    let is_empty = match fs::read_dir(&data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("{}", data.display())),
    };
    if !is_empty {
        bail!("{} is not empty; name a folder that is, or a new one, with --data", data.display());
    }
    let above = data.parent().context("the data folder must have a folder above it")?;
    fs::create_dir_all(above).with_context(|| format!("{}", above.display()))?;
    let name = data.file_name().context("the data folder must have a name")?.to_string_lossy();
    // Moved to its place once it is whole, so that a restore that is cut off leaves no data folder.
    let draft = above.join(format!("{name}.restoring-{}", std::process::id()));
    let restored = fill(from, &list.files, &draft).and_then(|bytes| {
        fs::rename(&draft, &data).with_context(|| format!("{}", data.display()))?;
        File::open(above)?.sync_all()?;
        Ok(bytes)
    });
    if restored.is_err() {
        // What went wrong is told; the draft is of no use.
        let _ = fs::remove_dir_all(&draft);
    }
    let bytes = restored?;
    say(&format!("{} files of {bytes} bytes: {}\n", list.files.len(), data.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies all files into the folder; answers their bytes.
fn fill(from: &Path, files: &[Listed], draft: &Path) -> anyhow::Result<u64> {
    fs::create_dir(draft).with_context(|| format!("{}", draft.display()))?;
    fs::set_permissions(draft, fs::Permissions::from_mode(0o700))?;
    let mut folders = BTreeSet::from([draft.to_path_buf()]);
    let mut bytes = 0;
    for file in files {
        let target = draft.join(inside(&file.path)?);
        let folder = target.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        folders
            .extend(folder.ancestors().take_while(|above| above.starts_with(draft)).map(Path::to_path_buf));
        let place = backup::place_of(from, file);
        let found = backup::copy_file(&place, &target)
            .with_context(|| format!("{}, which is {} of the backup", place.display(), file.path))?;
        if found != file.blake3 {
            bail!(
                "{} is damaged: it is not {} any more; this backup cannot be restored",
                place.display(),
                file.path
            );
        }
        bytes += file.size_bytes;
    }
    folders.iter().rev().try_for_each(|folder| File::open(folder)?.sync_all())?;
    Ok(bytes)
}

/// A path that stays in the folder it is joined to.
fn inside(path: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(path);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(path);
    }
    bail!("the backup names {}, which is no path in a data folder", path.display())
}
