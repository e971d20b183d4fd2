//! Files of images on their way: each is uploaded before the frame that names it is sent.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::Bytes;
use neptune_wire::Digest;

use crate::rest::BlobSource;
use crate::spool::Spool;

/// Files uploaded at once.
const UPLOADS: usize = 4;

/// What a frame that names an image may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The server has the file.
    Send,
    /// It is on its way.
    Wait,
    /// It will never have it: the image is left out and counted.
    Without,
}

/// One file to upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) digest: Digest,
    pub(crate) source: BlobSource,
}

/// All files of a writer that are not done with.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    entries: HashMap<Digest, Entry>,
    waiting: VecDeque<Digest>,
    uploading: usize,
    memory_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Kept until the points that name it are acknowledged: a later sync needs it beside their frames. None once refused.
    source: Option<BlobSource>,
    state: State,
    /// Image points that name it and are not acknowledged.
    points: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Uploading,
    Uploaded,
    Refused,
}

impl Blobs {
    /// An image point names these bytes.
    pub(crate) fn add(&mut self, digest: Digest, bytes: Bytes) {
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.points += 1;
            return;
        }
        self.memory_bytes += bytes.len();
        self.insert(digest, BlobSource::Bytes(bytes));
    }

    fn insert(&mut self, digest: Digest, source: BlobSource) {
        self.entries.insert(digest, Entry { source: Some(source), state: State::Waiting, points: 1 });
        self.waiting.push_back(digest);
    }

    /// Bytes of files in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What a frame that names this file may do; a file that only the spool knows is queued.
    pub(crate) fn gate(&mut self, digest: Digest, spool: Option<&Spool>) -> Gate {
        match self.entries.get(&digest).map(|entry| entry.state) {
            Some(State::Uploaded) => Gate::Send,
            Some(State::Waiting | State::Uploading) => Gate::Wait,
            Some(State::Refused) => Gate::Without,
            None => match spool.map(|spool| spool.blob_path(digest)).filter(|path| path.exists()) {
                Some(path) => {
                    self.insert(digest, BlobSource::File(path));
                    Gate::Wait
                }
                None => Gate::Without,
            },
        }
    }

    /// Queues every file of a spool, so that they travel side by side.
    pub(crate) fn queue_all(&mut self, spool: &Spool) -> io::Result<()> {
        for digest in spool.list_blobs()? {
            if !self.entries.contains_key(&digest) {
                self.insert(digest, BlobSource::File(spool.blob_path(digest)));
            }
        }
        Ok(())
    }

    /// Whether [`Self::next_upload`] has one.
    pub(crate) fn next_upload(&mut self) -> Option<Upload> {
        while self.uploading < UPLOADS {
            let digest = self.waiting.pop_front()?;
            let Some(entry) = self.entries.get_mut(&digest).filter(|entry| entry.state == State::Waiting)
            else {
                continue;
            };
            let Some(source) = entry.source.clone() else { continue };
            entry.state = State::Uploading;
            self.uploading += 1;
            return Some(Upload { digest, source });
        }
        None
    }

    /// The server has it.
    pub(crate) fn uploaded(&mut self, digest: Digest) {
        self.uploading = self.uploading.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.state = State::Uploaded;
        }
    }

    /// The server will not have it, or its file cannot be read.
    pub(crate) fn refused(&mut self, digest: Digest) {
        self.uploading = self.uploading.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.state = State::Refused;
            if let Some(BlobSource::Bytes(bytes)) = entry.source.take() {
                self.memory_bytes -= bytes.len();
            }
        }
    }

    /// The upload broke off; it is tried again.
    pub(crate) fn failed(&mut self, digest: Digest) {
        self.uploading = self.uploading.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.state = State::Waiting;
            self.waiting.push_front(digest);
        }
    }

    /// Keeps a file on disk instead of in memory.
    pub(crate) fn store(&mut self, digest: Digest, spool: &mut Spool) -> io::Result<()> {
        if let Some(entry) = self.entries.get_mut(&digest)
            && let Some(BlobSource::Bytes(bytes)) = &entry.source
        {
            spool.put_blob(digest, bytes)?;
            self.memory_bytes -= bytes.len();
            entry.source = Some(BlobSource::File(spool.blob_path(digest)));
        }
        Ok(())
    }

    /// A point that names it is acknowledged. Answers whether it was the last one, so that its file may go.
    pub(crate) fn release(&mut self, digest: Digest) -> bool {
        let Some(entry) = self.entries.get_mut(&digest) else { return true };
        entry.points = entry.points.saturating_sub(1);
        if entry.points > 0 {
            return false;
        }
        if let Some(BlobSource::Bytes(bytes)) = self.entries.remove(&digest).and_then(|entry| entry.source) {
            self.memory_bytes -= bytes.len();
        }
        true
    }
}
