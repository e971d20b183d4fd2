//! Files and folders that are whole or absent, and the room that is left for them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file beside its place, syncs it and renames it: readers find the old one or the new one, also after a kill
/// or a power loss.
pub(crate) fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent.join(format!(".{name}.{}", std::process::id()));
    let written = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_dir(parent));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Makes the names in a folder survive a power loss.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything in a folder of files survive a power loss.
pub(crate) fn sync_tree(path: &Path) -> io::Result<()> {
    // One call for the whole disk beats one for each of thousands of files.
    #[cfg(target_os = "linux")]
    return nix::unistd::syncfs(File::open(path)?).map_err(io::Error::from);
    #[cfg(not(target_os = "linux"))]
    {
        for entry in fs::read_dir(path)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_dir(path)
    }
}

/// Whether a disk has room for so many bytes and still leaves what it should; on a small disk a tenth of it.
pub(crate) fn room_for(path: &Path, bytes: u64, leave: u64) -> io::Result<()> {
    let disk = nix::sys::statvfs::statvfs(path).map_err(io::Error::from)?;
    let block = disk.fragment_size() as u64;
    let (free, size) = (disk.blocks_available() as u64 * block, disk.blocks() as u64 * block);
    let leave = leave.min(size / 10);
    if free < bytes + leave {
        let text = format!("its disk has {} KiB left, {} KiB must stay free", free >> 10, leave >> 10);
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    }
    Ok(())
}
