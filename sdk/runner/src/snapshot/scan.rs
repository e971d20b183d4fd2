//! Walking a folder and hashing its files, on every core.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use neptune_wire::Digest;
use neptune_wire::snapshot::{File, Manifest, Mode};

use super::{Bytes, FILES_LIMIT, IGNORE_FILE, NEVER_IN, Rules, SnapshotError, Tree, read_content};

/// Threads that hash; beyond that the disk is the limit.
const HASHERS: usize = 8;
/// How many paths a refusal for size names.
const LARGEST: usize = 5;

impl Tree {
    /// Walks `root` and hashes every file that belongs to the snapshot.
    ///
    /// Cost: one stat and one read of each file.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]: a bad pattern, files that cannot be read, too much.
    pub fn scan(root: &Path, rules: &Rules) -> Result<Tree, SnapshotError> {
        let mut found = walk(root, rules)?;
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        found.files.dedup_by(|a, b| a.path == b.path);
        check_size(root, &found.files, rules.size_limit_bytes)?;
        let files = hash_all(root, found.files)?;
        let manifest = Manifest { files };
        if manifest.check().is_err() {
            let bad = |file: &&File| Manifest { files: vec![(*file).clone()] }.check().is_err();
            let name = manifest.files.iter().find(bad).map(|file| file.path.clone());
            return Err(SnapshotError::Name(name.unwrap_or_default().into()));
        }
        Ok(Tree { root: root.into(), manifest, folders: found.folders, notes: found.notes })
    }
}

struct Found {
    files: Vec<FoundFile>,
    folders: Vec<PathBuf>,
    notes: Vec<String>,
}

struct FoundFile {
    path: String,
    size_bytes: u64,
    mode: Mode,
}

fn walk(root: &Path, rules: &Rules) -> Result<Found, SnapshotError> {
    let mut walk = builder(root, rules)?;
    let (ignored, outside, top) = (ignored(root, rules)?, rules.outside.clone(), root.to_path_buf());
    walk.standard_filters(false).follow_links(false).filter_entry(move |entry| {
        let (path, folder) = (entry.path(), entry.file_type().is_some_and(|kind| kind.is_dir()));
        // The root is walked whatever the rules say, and is no environment even if it lies in one.
        path == top
            || !(ignored.matched(path, folder).is_ignore()
                || folder
                    && (outside.iter().any(|outside| path == outside)
                        || is_environment(path)
                        || is_server_data(path)))
    });
    let mut found = Found { files: Vec::new(), folders: Vec::new(), notes: Vec::new() };
    let mut unreadable = Vec::new();
    for entry in walk.build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = path_of_error(&error).unwrap_or_else(|| root.into());
                unreadable.push((
                    path,
                    error.into_io_error().unwrap_or_else(|| io::Error::other("cannot be read")),
                ));
                continue;
            }
        };
        let path = entry.path();
        let relative = path.strip_prefix(root).unwrap_or(path);
        if relative.as_os_str().is_empty() {
            continue;
        }
        let metadata = match entry.path().symlink_metadata() {
            Ok(metadata) => metadata,
            // Deleted since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                unreadable.push((path.into(), error));
                continue;
            }
        };
        if metadata.is_dir() {
            found.folders.push(relative.into());
            continue;
        }
        let Some(mode) = mode_of(&metadata) else {
            found
                .notes
                .push(format!("{}: neither file, folder nor link; not in the snapshot", path.display()));
            continue;
        };
        let name = relative.to_str().ok_or_else(|| SnapshotError::Name(relative.into()))?;
        found.files.push(FoundFile { path: name.into(), size_bytes: metadata.len(), mode });
        if found.files.len() > FILES_LIMIT {
            return Err(SnapshotError::TooMany { root: root.into(), largest: fullest(&found.files) });
        }
    }
    if unreadable.is_empty() { Ok(found) } else { Err(SnapshotError::Unreadable(unreadable)) }
}

/// Walks the root, or only the asked paths below it.
fn builder(root: &Path, rules: &Rules) -> Result<WalkBuilder, SnapshotError> {
    let mut builder: Option<WalkBuilder> = None;
    for path in &rules.only {
        let refused = |text: &str| SnapshotError::Only { path: path.clone(), text: text.into() };
        let relative = path.strip_prefix(root).unwrap_or(path);
        let below =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !below {
            return Err(refused(&format!("must lie below {}", root.display())));
        }
        let absolute: PathBuf = root.join(relative).components().collect();
        if absolute.symlink_metadata().is_err() {
            return Err(refused("no such file or folder"));
        }
        match &mut builder {
            Some(builder) => drop(builder.add(absolute)),
            None => builder = Some(WalkBuilder::new(absolute)),
        }
    }
    Ok(builder.unwrap_or_else(|| WalkBuilder::new(root)))
}

fn ignored(root: &Path, rules: &Rules) -> Result<Gitignore, SnapshotError> {
    let mut builder = GitignoreBuilder::new(root);
    let wrong = |place: &str, error: ignore::Error| SnapshotError::Pattern {
        place: place.into(),
        text: error.to_string(),
    };
    for line in NEVER_IN {
        builder.add_line(None, line).expect("the built-in patterns are valid; a test compiles them");
    }
    let file = root.join(IGNORE_FILE);
    if file.is_file()
        && let Some(error) = builder.add(&file)
    {
        return Err(wrong(IGNORE_FILE, error));
    }
    for pattern in &rules.exclude {
        // `./data` means `/data` to everybody but git.
        let anchored = pattern.strip_prefix("./").map(|rest| format!("/{rest}"));
        let line = anchored.as_deref().unwrap_or(pattern);
        builder.add_line(None, line).map_err(|error| wrong(&format!("exclude {pattern:?}"), error))?;
    }
    builder.build().map_err(|error| wrong("exclude", error))
}

/// Whether a folder is an installed environment (venv, conda): it can be made again from its list of packages.
fn is_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file() || folder.join("conda-meta").is_dir()
}

/// Whether a folder is the data of a `neptune-server`, which may well run in the folder that people work in.
fn is_server_data(folder: &Path) -> bool {
    folder.join("db/CURRENT").is_file() && folder.join("blobs").is_dir()
}

fn path_of_error(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of_error(err)
        }
        _ => None,
    }
}

/// The kind of file, when it is one that a snapshot can hold.
pub(super) fn mode_of(metadata: &Metadata) -> Option<Mode> {
    use std::os::unix::fs::PermissionsExt;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        Some(Mode::Link)
    } else if kind.is_file() {
        Some(if metadata.permissions().mode() & 0o111 != 0 { Mode::Executable } else { Mode::File })
    } else {
        None
    }
}

fn check_size(root: &Path, files: &[FoundFile], limit_bytes: u64) -> Result<(), SnapshotError> {
    let size_bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    if size_bytes <= limit_bytes {
        return Ok(());
    }
    let mut by_size: Vec<_> = files.iter().collect();
    by_size.sort_by_key(|file| std::cmp::Reverse(file.size_bytes));
    let shown = |file: &&FoundFile| (file.path.clone(), Bytes(file.size_bytes).to_string());
    let largest = by_size.iter().take(LARGEST).map(shown).collect();
    Err(SnapshotError::TooLarge { root: root.into(), size_bytes, limit_bytes, largest })
}

/// The folders directly below the root that hold most files.
fn fullest(files: &[FoundFile]) -> Vec<(String, String)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for file in files {
        if let Some((folder, _)) = file.path.split_once('/') {
            *counts.entry(folder).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(folder, count)| (std::cmp::Reverse(*count), *folder));
    counts
        .into_iter()
        .take(LARGEST)
        .map(|(folder, count)| (format!("{folder}/"), format!("{count} files")))
        .collect()
}

fn hash_all(root: &Path, files: Vec<FoundFile>) -> Result<Vec<File>, SnapshotError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let hash_some = || {
        let mut hashed = Vec::new();
        while let Some((index, file)) = Some(next.fetch_add(1, Ordering::Relaxed))
            .and_then(|index| files.get(index).map(|file| (index, file)))
        {
            hashed.push((index, digest(&root.join(&file.path), file.mode)));
        }
        hashed
    };
    let mut hashed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(HASHERS)).map(|_| scope.spawn(hash_some)).collect();
        let join =
            |worker: std::thread::ScopedJoinHandle<'_, _>| worker.join().expect("hashing does not panic");
        workers.into_iter().flat_map(join).collect::<Vec<(usize, io::Result<(Digest, u64)>)>>()
    });
    hashed.sort_by_key(|(index, _)| *index);
    let (mut complete, mut unreadable) = (Vec::with_capacity(files.len()), Vec::new());
    for ((_, result), file) in hashed.into_iter().zip(files) {
        match result {
            Ok((digest, size_bytes)) => {
                complete.push(File { path: file.path, digest, size_bytes, mode: file.mode })
            }
            // Deleted since the walk: it is not part of the tree any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable.push((root.join(file.path), error)),
        }
    }
    if unreadable.is_empty() { Ok(complete) } else { Err(SnapshotError::Unreadable(unreadable)) }
}

/// Digest and length of a file's bytes, or of a link's target.
pub(super) fn digest(path: &Path, mode: Mode) -> io::Result<(Digest, u64)> {
    match mode {
        Mode::Link => {
            let target = read_content(path, mode)?;
            Ok((Digest::from_bytes(*blake3::hash(&target).as_bytes()), target.len() as u64))
        }
        Mode::File | Mode::Executable => {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(std::fs::File::open(path)?)?;
            Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
        }
    }
}
