//! The image of what is durable, in the layout that `preload.c` states: made at the start, assembled at the end.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// What a disk writes as a whole.
const PAGE_BYTES: usize = 4096;

/// Records everything below `data` as durable.
pub(crate) fn record(shadow: &Path, data: &Path) -> io::Result<()> {
    fs::create_dir(shadow.join("file"))?;
    fs::create_dir(shadow.join("dir"))?;
    record_folder(shadow, data)
}

fn record_folder(shadow: &Path, folder: &Path) -> io::Result<()> {
    let mut list = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let id = id(&metadata);
        let kind = if metadata.is_dir() {
            record_folder(shadow, &entry.path())?;
            'd'
        } else if metadata.is_file() {
            fs::copy(entry.path(), shadow.join("file").join(&id))?;
            'f'
        } else {
            continue;
        };
        write!(list, "{kind} {:o} {id}\0", metadata.mode() & 0o7777)?;
        list.extend_from_slice(entry.file_name().as_bytes());
        list.push(0);
    }
    fs::write(shadow.join("dir").join(id(&fs::metadata(folder)?)), list)
}

/// A file of an assembled image: where it is, and which file it was.
pub(crate) struct Assembled {
    path: PathBuf,
    id: String,
}

/// Writes what is durable of `data` to `to`, which must not exist.
pub(crate) fn assemble(shadow: &Path, data: &Path, to: &Path) -> io::Result<Vec<Assembled>> {
    let mut files = Vec::new();
    assemble_folder(shadow, &id(&fs::metadata(data)?), to, &mut files)?;
    Ok(files)
}

fn assemble_folder(shadow: &Path, id: &str, to: &Path, files: &mut Vec<Assembled>) -> io::Result<()> {
    fs::create_dir(to)?;
    let list = read_or_empty(&shadow.join("dir").join(id))?;
    let mut fields = list.split(|&byte| byte == 0);
    while let (Some(description), Some(name)) = (fields.next(), fields.next()) {
        let Some((kind, mode, id)) = parse(description) else {
            let text = String::from_utf8_lossy(description);
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("entry {text:?} of the image")));
        };
        let to = to.join(OsStr::from_bytes(name));
        if kind == "d" {
            assemble_folder(shadow, id, &to, files)?;
        } else {
            fs::write(&to, read_or_empty(&shadow.join("file").join(id))?)?;
            files.push(Assembled { path: to.clone(), id: id.to_owned() });
        }
        fs::set_permissions(&to, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Splits `KIND MODE ID`.
fn parse(description: &[u8]) -> Option<(&str, u32, &str)> {
    let mut words = std::str::from_utf8(description).ok()?.split(' ');
    let (kind, mode, id) = (words.next()?, words.next()?, words.next()?);
    Some((kind, u32::from_str_radix(mode, 8).ok()?, id))
}

/// Adds to the assembled `files` some of the pages that they have in `data` and the image has not.
pub(crate) fn tear(data: &Path, mut files: Vec<Assembled>, seed: u64) -> io::Result<()> {
    let mut chance = Chance(seed);
    let live = files_below(data)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        if let Some(live) = live.get(&file.id) {
            tear_file(live, &file.path, &mut chance)?;
        }
    }
    Ok(())
}

fn tear_file(live: &Path, path: &Path, chance: &mut Chance) -> io::Result<()> {
    let live = fs::read(live)?;
    let durable = fs::read(path)?;
    let torn = OpenOptions::new().write(true).open(path)?;
    for (index, page) in live.chunks(PAGE_BYTES).enumerate() {
        let offset = index * PAGE_BYTES;
        let old = durable.get(offset..durable.len().min(offset + PAGE_BYTES));
        if old != Some(page) && chance.half() {
            torn.write_all_at(page, offset as u64)?;
        }
    }
    if live.len() > durable.len() && chance.half() {
        torn.set_len(live.len() as u64)?;
    }
    Ok(())
}

/// The files below a folder, by id.
fn files_below(folder: &Path) -> io::Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(id(&metadata), entry.path());
            }
        }
    }
    Ok(files)
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Device, inode and birth, as `read_id` in `preload.c` writes them.
fn id(metadata: &fs::Metadata) -> String {
    let birth =
        metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let (seconds, nanos) = (birth.as_secs(), birth.subsec_nanos());
    format!("{:x}-{:x}-{seconds:x}.{nanos:x}", metadata.dev(), metadata.ino())
}

/// A repeatable coin (splitmix64).
struct Chance(u64);

impl Chance {
    fn half(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}
