//! `neptune-server backup`: a consistent copy of everything, also while a server runs.
//!
//! ```text
//! DIR/
//!   backup.json          what the copy is made of: every file's path, length and BLAKE3; written last, by a rename
//!   files/ab/abcd…       the files, by BLAKE3
//! ```
//!
//! Files are immutable and named by their content, so one that is there is not copied again, and a backup that is cut off
//! leaves the one before it whole: `backup.json` names only files that are safe. Where it is missing, nothing was finished.
//! On one file system files are hard links; a backup on a disk of its own outlives the disk of the data.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use neptune_engine::Engine;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::{attendant, say, store};

/// The layout this program writes; others are refused.
const FORMAT: u32 = 1;
pub(crate) const LIST: &str = "backup.json";
pub(crate) const FILES: &str = "files";
/// Where the ordered state is copied to before its files are sorted into the backup: beside the data, so that its tables are
/// hard links.
const DRAFT: &str = "backup-draft";
const PIECE_BYTES: usize = 1 << 20;

/// `backup.json`
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) format: u32,
    /// Version of the program.
    pub(crate) written_by: String,
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

/// What a backup did.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Those of them that were not there from a backup before.
    pub(crate) new_files: u64,
    pub(crate) new_bytes: u64,
}

/// Makes a backup: through the server that has the data, or without one.
pub(crate) fn backup(config: &Config, to: &Path) -> anyhow::Result<ExitCode> {
    if !store::exists(config) {
        bail!("there is no store in {}; name another folder with --data", config.data.display());
    }
    let to = std::path::absolute(to).with_context(|| format!("{}", to.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let taken = runtime.block_on(async {
        if let Some(taken) = attendant::ask_backup(&config.data, &to).await? {
            return Ok(taken);
        }
        let engine = store::open(config).await?;
        let taken = take(&engine, &config.data, &to).await;
        engine.stop().await;
        taken
    })?;
    let Taken { files, bytes, new_files, new_bytes } = taken;
    say(&format!(
        "{files} files of {bytes} bytes, {new_files} of them ({new_bytes} bytes) new: {}\n",
        to.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Copies all that an engine keeps in its data folder.
pub(crate) async fn take(engine: &Engine, data: &Path, to: &Path) -> anyhow::Result<Taken> {
    let draft = data.join(DRAFT);
    // Left by a backup that was cut off; one is made at a time.
    remove_folder(&draft).with_context(|| format!("{}", draft.display()))?;
    let taken_micros = neptune_http::now().0;
    // Held until everything is copied: the blobs that the state names stay.
    let kept = engine.checkpoint(&draft).await.context("the database could not be copied")?;
    let (from, place) = (data.to_path_buf(), to.to_path_buf());
    let copied = tokio::task::spawn_blocking(move || gather(&from, &place, taken_micros)).await?;
    drop(kept);
    remove_folder(&draft).with_context(|| format!("{}", draft.display()))?;
    copied
}

/// Sorts the draft and the blobs into the backup.
fn gather(data: &Path, to: &Path, taken_micros: i64) -> anyhow::Result<Taken> {
    check_target(data, to)?;
    fs::create_dir_all(to.join(FILES)).with_context(|| format!("{}", to.join(FILES).display()))?;
    let mut gathering = Gathering { to, taken: Taken::default(), files: vec![], folders: BTreeSet::new() };
    gathering.add_folder(&data.join(DRAFT), "db")?;
    gathering.add_folder(&data.join("blobs"), "blobs")?;
    let Gathering { taken, files, folders, .. } = gathering;
    // The names must be as safe as the bytes before the list stands for them.
    for folder in folders.iter().map(PathBuf::as_path).chain([&*to.join(FILES), to]) {
        File::open(folder)?.sync_all().with_context(|| format!("{}", folder.display()))?;
    }
    let wanted: BTreeSet<String> = files.iter().map(|file| file.blake3.clone()).collect();
    let written_by = env!("CARGO_PKG_VERSION").to_owned();
    let list = List { format: FORMAT, written_by, taken_micros, files };
    write_whole(&to.join(LIST), &serde_json::to_vec(&list)?)?;
    remove_unlisted(to, &wanted)?;
    Ok(taken)
}

/// A backup is not part of what it copies, and nothing of somebody else's lies in its folder.
fn check_target(data: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let (real_data, real_to) = (data.canonicalize()?, to.canonicalize()?);
    if real_to.starts_with(&real_data) {
        bail!("{} lies in the data folder; name a folder outside of it", to.display());
    }
    let foreign = fs::read_dir(to)?
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
        .find(|name| !name.to_str().is_some_and(|name| name == FILES || name.starts_with(LIST)));
    match foreign {
        Some(name) => bail!("{} holds {name:?}, which is of no backup; name an empty folder", to.display()),
        None => Ok(()),
    }
}

struct Gathering<'a> {
    to: &'a Path,
    taken: Taken,
    files: Vec<Listed>,
    /// That got a file.
    folders: BTreeSet<PathBuf>,
}

impl Gathering<'_> {
    /// Adds every file below a folder under its path in the data folder.
    fn add_folder(&mut self, folder: &Path, name: &str) -> anyhow::Result<()> {
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
        let (blake3, size_bytes) = hash_file(path)?;
        let folder = self.to.join(FILES).join(&blake3[..2]);
        let target = folder.join(&blake3);
        self.taken.files += 1;
        self.taken.bytes += size_bytes;
        if fs::metadata(&target).map(|meta| meta.len()).ok() != Some(size_bytes) {
            fs::create_dir_all(&folder)?;
            let copied = put_file(path, &target, &blake3)?;
            if !copied {
                bail!("it changed while it was copied");
            }
            self.taken.new_files += 1;
            self.taken.new_bytes += size_bytes;
            self.folders.insert(folder);
        }
        self.files.push(Listed { path: name, size_bytes, blake3 });
        Ok(())
    }
}

/// Puts a file in its place, whole or not at all: by a hard link, else by a copy whose content is checked.
fn put_file(path: &Path, target: &Path, blake3: &str) -> io::Result<bool> {
    let draft = target.with_extension(format!("draft{}", std::process::id()));
    remove_file(&draft)?;
    // The database changes some of its small files in place; only what is never written again may be shared.
    let is_shared = is_immutable(path) && fs::hard_link(path, &draft).is_ok();
    if !is_shared {
        let found = copy_file(path, &draft)?;
        if found != blake3 {
            remove_file(&draft)?;
            return Ok(false);
        }
    }
    fs::rename(&draft, target)?;
    Ok(true)
}

/// Tables of the database and blobs are written once.
fn is_immutable(path: &Path) -> bool {
    let is_table = path.extension().is_some_and(|extension| extension == "sst" || extension == "blob");
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_blob = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_table || is_blob
}

/// Copies bytes, synced; answers their BLAKE3.
pub(crate) fn copy_file(from: &Path, to: &Path) -> io::Result<String> {
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        target.write_all(&piece[..count])?;
    }
    target.sync_all()?;
    Ok(hasher.finalize().to_string())
}

fn hash_file(path: &Path) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hasher.finalize().to_string(), hasher.count())),
            count => hasher.update(&piece[..count]),
        };
    }
}

/// Writes a file so that a reader, also after a power cut, sees all of it or what was there before.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension(format!("json.{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().with_context(|| format!("{}", path.display()))
}

/// Removes what only backups before this one named, and what those left that were cut off.
fn remove_unlisted(to: &Path, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
    for folder in fs::read_dir(to.join(FILES))? {
        for file in fs::read_dir(folder?.path())? {
            let file = file?;
            if !file.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                remove_file(&file.path())?;
            }
        }
    }
    Ok(())
}

/// Reads the list of a backup that was finished.
///
/// # Errors
///
/// For a folder that is none, or whose backup was cut off.
pub(crate) fn read_list(from: &Path) -> anyhow::Result<List> {
    let bytes = match fs::read(from.join(LIST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && from.join(FILES).is_dir() => {
            bail!("the backup in {} was cut off before it was whole; make it again", from.display())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no backup in {}: {LIST} is missing", from.display())
        }
        bytes => bytes.with_context(|| format!("{}", from.join(LIST).display()))?,
    };
    let list: List =
        serde_json::from_slice(&bytes).with_context(|| format!("{}", from.join(LIST).display()))?;
    if list.format != FORMAT {
        bail!("the backup in {} is of format {}, this version reads {FORMAT}", from.display(), list.format);
    }
    Ok(list)
}

/// Where a file of a backup lies.
pub(crate) fn place_of(from: &Path, file: &Listed) -> PathBuf {
    from.join(FILES).join(file.blake3.get(..2).unwrap_or_default()).join(&file.blake3)
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
