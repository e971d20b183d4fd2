//! What the system says of a process, and of a folder on disk.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Linux counts processor time for user space in hundredths of a second, whatever the kernel's own ticks are.
const TICKS_PER_SEC: f64 = 100.0;

/// What a process used since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// Bytes it made the disk write; 0 where the system does not tell.
    pub written_bytes: f64,
}

impl Used {
    /// Reads it.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Ok(Self {
            cpu_seconds: cpu_seconds(&stat).context("/proc/PID/stat has no processor time")?,
            written_bytes: field(&io, "write_bytes:").unwrap_or(0.0),
        })
    }

    /// Of this process.
    pub(crate) fn here() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// What was used since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }
}

/// Resident memory of a process in MB.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = field(&status, "VmRSS:").context("/proc/PID/status has no VmRSS")?;
    Ok(kib / 1024.0)
}

/// Fails when less than an eighth of the machine's memory is left, so that a row ends before the machine does.
pub(crate) fn check_memory() -> Result<()> {
    check_memory_in(&fs::read_to_string("/proc/meminfo")?)
}

fn check_memory_in(text: &str) -> Result<()> {
    let (total, left) = (field(text, "MemTotal:"), field(text, "MemAvailable:"));
    let (total, left) = total.zip(left).context("/proc/meminfo has no MemTotal or MemAvailable")?;
    let mb = left / 1024.0;
    ensure!(left > total / 8.0, "ended, as only {mb:.0} MB of memory are left on this machine");
    Ok(())
}

/// Bytes of a folder's files as they lie on disk.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    walk(folder, &mut |path| {
        // A database deletes files while it is looked at.
        bytes += fs::metadata(path).map_or(0, |about| about.blocks() * 512);
        Ok(())
    })?;
    Ok(bytes)
}

/// Takes a folder's files out of the page cache, and leaves everybody else's in it.
pub(crate) fn forget_pages(folder: &Path) -> Result<()> {
    walk(folder, &mut |path| {
        let file = File::open(path)?;
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(())
    })
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => walk(&path, visit)?,
            Ok(about) if about.is_file() => visit(&path)?,
            _ => {}
        }
    }
    Ok(())
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The program's name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SEC)
}

fn field(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("42 (x) S 1"), None);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(resident_mb(std::process::id()).unwrap() > 0.5);
        let before = Used::here().unwrap();
        assert!(Used::here().unwrap().since(before).cpu_seconds >= 0.0);
    }

    #[test]
    fn memory_is_short_below_an_eighth() {
        let left =
            |kib| check_memory_in(&format!("MemTotal: 8000 kB\nMemFree: 1 kB\nMemAvailable: {kib} kB\n"));
        assert!(left(1_001).is_ok());
        assert!(left(1_000).is_err());
        assert!(check_memory_in("").is_err());
    }

    #[test]
    fn a_folder_is_as_large_as_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), vec![7; 100_000]).unwrap();
        forget_pages(folder.path()).unwrap();
        let bytes = disk_bytes(folder.path()).unwrap();
        assert!((100_000..=200_000).contains(&bytes), "{bytes}");
    }
}
