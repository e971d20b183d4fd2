//! What waits on disk: one folder per session, owned by one process.
//!
//! ```text
//! sessions/<session>/
//!   lock                     flock of the owner; a free one means that the process is gone
//!   session.json             SessionFile (mode 0600: it holds the attempt's token)
//!   channels.log             the session's channel table, one `crc json` line each
//!   frames-<first seq>.log   u32 length · frame, again and again; a new file every 16 MiB
//!   blobs/<digest>           image files
//!   requests.log             patches and charts, one `crc json` line each
//! ```
//!
//! Files only grow, and each record carries a checksum, so a process may be killed between any two lines: what is torn
//! is cut when the folder is read. A folder appears under its name only once `lock` and `session.json` are in it. A
//! channel is in the table before the first frame that names it. Frame files are deleted when the server has all of
//! them; the frame numbers make sending one again harmless, so nothing needs to be remembered about what was sent.
//!
//! Appending puts data into the page cache, which survives the process; [`Spool::syncer`] makes it survive the machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use neptune_wire::ingest::OpenChannel;
use neptune_wire::{AttemptNumber, Digest, JobRef, Micros, SessionId};
use serde::{Deserialize, Serialize};

mod frames;
mod lines;
mod lock;
mod place;

pub(crate) use frames::{FrameReader, Frames};
pub(crate) use lines::{LineFile, read_lines};
pub(crate) use lock::{Lock, LockError};
pub(crate) use place::{replace_file, room_for, sync_dir, sync_tree};

/// Version of everything under a spool root. What a newer version wrote is refused; `tests/fixtures` has every version.
///
/// A new one: count up here, read the old one in [`Spool::open`] and [`crate::folder`], add a fixture.
pub(crate) const FORMAT: u32 = 1;

/// `session.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionFile {
    /// [`FORMAT`] when it was written.
    pub(crate) format: u32,
    pub(crate) session: SessionId,
    pub(crate) job: JobRef,
    pub(crate) attempt: AttemptNumber,
    /// Absent when the job was not registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// For people.
    pub(crate) made_micros: Micros,
}

/// How much a spool may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) disk_free_bytes: u64,
}

/// One session's folder.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    file: SessionFile,
    frames: Frames,
    channels: LineFile,
    requests: LineFile,
    blob_bytes: u64,
    bounds: Option<Bounds>,
    uses_reserve: bool,
    unsynced: bool,
    /// Last, so that it is given up after everything else is closed.
    _lock: Lock,
}

impl Spool {
    /// Makes the folder of a new session under a job's folder.
    pub(crate) fn create(job_dir: &Path, file: SessionFile, bounds: Bounds) -> io::Result<Self> {
        let sessions = job_dir.join("sessions");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&sessions)?;
        let hidden = sessions.join(format!(".new-{}", file.session));
        let path = sessions.join(file.session.to_string());
        // What an earlier try left when the disk was full.
        let _ = fs::remove_dir_all(&hidden);
        fs::DirBuilder::new().mode(0o700).create(&hidden)?;
        let lock = Lock::take(&hidden.join("lock")).map_err(io::Error::from)?;
        replace_file(&hidden.join("session.json"), &serde_json::to_vec(&file)?, 0o600)?;
        fs::rename(&hidden, &path)?;
        sync_dir(&sessions)?;
        let mut spool = Self::at(path, file, lock);
        spool.bounds = Some(bounds);
        Ok(spool)
    }

    /// Opens the folder of a session whose process is gone.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] when it is not gone.
    pub(crate) fn open(path: &Path) -> Result<Self, LockError> {
        let lock = Lock::take(&path.join("lock"))?;
        let file: SessionFile =
            serde_json::from_slice(&fs::read(path.join("session.json"))?).map_err(io::Error::from)?;
        check_format(file.format)?;
        let mut spool = Self::at(path.into(), file, lock);
        spool.frames = Frames::scan(path, spool.file.session)?;
        for digest in spool.list_blobs()? {
            spool.blob_bytes += fs::metadata(spool.blob_path(digest))?.len();
        }
        Ok(spool)
    }

    fn at(path: PathBuf, file: SessionFile, lock: Lock) -> Self {
        Self {
            frames: Frames::new(&path, file.session),
            channels: LineFile::new(path.join("channels.log")),
            requests: LineFile::new(path.join("requests.log")),
            path,
            file,
            blob_bytes: 0,
            bounds: None,
            uses_reserve: false,
            unsynced: false,
            _lock: lock,
        }
    }

    pub(crate) fn file(&self) -> &SessionFile {
        &self.file
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Bytes of frames and images.
    pub(crate) fn bytes(&self) -> u64 {
        self.frames.bytes() + self.blob_bytes
    }

    /// Appends channels to the table.
    pub(crate) fn append_channels(&mut self, channels: &[OpenChannel]) -> io::Result<()> {
        self.unsynced |= !channels.is_empty();
        self.channels.append(channels)
    }

    /// The channel table as it was written.
    pub(crate) fn read_channels(&self) -> io::Result<Vec<OpenChannel>> {
        read_lines(&self.path.join("channels.log"))
    }

    /// From now on the disk may be filled to its end: what does not get onto it now is lost.
    pub(crate) fn use_reserve(&mut self) {
        self.uses_reserve = true;
    }

    /// Appends frames in order of their numbers. After an error [`Frames::last_seq`] says which were written all the same.
    pub(crate) fn append_frames(&mut self, frames: &[(u64, Bytes)]) -> io::Result<()> {
        let bytes = frames.iter().map(|(_, frame)| frame.len() as u64 + 4).sum();
        self.check_room(bytes)?;
        self.unsynced = true;
        self.frames.append(frames)
    }

    /// Keeps an image's file.
    pub(crate) fn put_blob(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        self.check_room(bytes.len() as u64)?;
        let path = self.blob_path(digest);
        if path.exists() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.path.join("blobs"))?;
        self.unsynced = true;
        replace_file(&path, bytes, 0o600)?;
        self.blob_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Where an image's file is, or would be.
    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path.join("blobs").join(digest.to_string())
    }

    /// The images' files that are there.
    pub(crate) fn list_blobs(&self) -> io::Result<Vec<Digest>> {
        match fs::read_dir(self.path.join("blobs")) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok())))
                .filter_map(Result::transpose)
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Deletes an image's file that the server has.
    pub(crate) fn release_blob(&mut self, digest: Digest) {
        let path = self.blob_path(digest);
        if let Ok(metadata) = fs::metadata(&path)
            && fs::remove_file(&path).is_ok()
        {
            self.blob_bytes = self.blob_bytes.saturating_sub(metadata.len());
        }
    }

    /// Appends requests.
    pub(crate) fn append_requests<T: Serialize>(&mut self, requests: &[T]) -> io::Result<()> {
        self.unsynced |= !requests.is_empty();
        self.requests.append(requests)
    }

    /// The requests as they were written.
    pub(crate) fn read_requests<T: for<'de> Deserialize<'de>>(&self) -> io::Result<Vec<T>> {
        read_lines(&self.path.join("requests.log"))
    }

    /// All requests in the file are done, if there are any.
    pub(crate) fn clear_requests(&mut self) -> io::Result<()> {
        self.requests.remove()
    }

    /// Deletes what the server has.
    pub(crate) fn release_frames(&mut self, acked: u64) {
        self.frames.release(acked);
    }

    /// A function that makes everything appended so far survive a power loss; `None` when it does already.
    pub(crate) fn syncer(&mut self) -> io::Result<Option<impl FnOnce() -> io::Result<()> + Send + 'static>> {
        if !std::mem::take(&mut self.unsynced) {
            return Ok(None);
        }
        // The table before the frames that name its channels; both are in one folder.
        let mut files: Vec<File> = [self.channels.file(), self.requests.file(), self.frames.file()]
            .into_iter()
            .flatten()
            .map(File::try_clone)
            .collect::<io::Result<_>>()?;
        files.push(File::open(&self.path)?);
        Ok(Some(move || files.iter().try_for_each(File::sync_data)))
    }

    /// Deletes the folder: the server has everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        // Without its `session.json` nobody takes a half-deleted folder for a spool.
        let _ = fs::remove_file(self.path.join("session.json"));
        fs::remove_dir_all(&self.path)
    }

    fn check_room(&self, bytes: u64) -> io::Result<()> {
        let Some(bounds) = self.bounds else { return Ok(()) };
        if self.bytes() + bytes > bounds.bytes {
            let text = format!("it holds its limit of {} MiB", bounds.bytes >> 20);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        if self.uses_reserve {
            return Ok(());
        }
        room_for(&self.path, bytes, bounds.disk_free_bytes)
    }
}

/// Refuses what a newer version wrote.
pub(crate) fn check_format(format: u32) -> io::Result<()> {
    if format <= FORMAT {
        return Ok(());
    }
    let text = format!("spool format {format}, this version knows up to {FORMAT}; upgrade Neptune here");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Opens a file to append to, made for its owner alone.
fn open_append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Writes all of it, or makes the file as long as before.
fn append_whole(file: &mut File, bytes: &[u8], length: u64) -> io::Result<()> {
    file.write_all(bytes).inspect_err(|_| {
        // If this fails too, the torn record is cut by whoever reads the file.
        let _ = file.set_len(length);
    })
}
