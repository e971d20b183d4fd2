//! A snapshot as `.tar.gz`, packed while it is sent: memory stays at a few pieces, whatever the tree's size.
//!
//! Packing runs on a thread of its own and waits there for blobs and for the reader; a reader that takes nothing for
//! [`limits::BODY_PAUSE`] ends it.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use neptune_engine::{Engine, Grant};
use neptune_wire::JobRef;
use neptune_wire::snapshot::{Manifest, Mode};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::limits;

/// Pieces that wait for the reader.
const PIECES: usize = 4;
/// Bytes gathered before a piece is handed over.
const PIECE_BYTES: usize = 64 << 10;

/// What goes into the archive.
pub(crate) struct Plan {
    pub(crate) engine: Engine,
    pub(crate) grant: Grant,
    pub(crate) job: JobRef,
    /// The folder that holds everything.
    pub(crate) folder: String,
    /// The time every file gets, in seconds since the epoch: trees carry none.
    pub(crate) modified_secs: u64,
    pub(crate) manifest: Manifest,
}

/// Begins packing; the permit is held until the last byte was taken or the reader went away.
pub(crate) fn pack(
    plan: Plan,
    permit: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let pieces = Pieces { gathered: Vec::with_capacity(PIECE_BYTES), sender: sender.clone(), handle };
        if let Err(error) = write_archive(&plan, pieces) {
            tracing::warn!(%error, archive = plan.folder, "archive given up");
            // The reader sees a body that breaks off, not an archive that looks whole.
            let _ = sender.try_send(Err(error));
        }
    });
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

fn write_archive(plan: &Plan, pieces: Pieces) -> io::Result<()> {
    let handle = pieces.handle.clone();
    let mut archive = tar::Builder::new(GzEncoder::new(pieces, Compression::fast()));
    for file in &plan.manifest.files {
        let opened = handle.block_on(plan.engine.open_manifest_file(&plan.grant, &plan.job, file));
        let bytes = opened.map_err(io::Error::other)?;
        let path = format!("{}/{}", plan.folder, file.path);
        let mut header = tar::Header::new_gnu();
        header.set_mtime(plan.modified_secs);
        header.set_mode(if file.mode == Mode::Executable { 0o755 } else { 0o644 });
        let mut content = Content { handle: &handle, bytes: bytes.bytes, piece: Bytes::new() };
        if file.mode == Mode::Link {
            let mut target = String::new();
            content.take(neptune_wire::snapshot::PATH_BYTES as u64).read_to_string(&mut target)?;
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, path, target)?;
        } else {
            header.set_size(bytes.size_bytes);
            archive.append_data(&mut header, path, &mut content)?;
        }
    }
    archive.into_inner()?.finish()?.flush()
}

/// A blob as a blocking reader.
struct Content<'a> {
    handle: &'a Handle,
    bytes: BoxStream<'static, io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.bytes.next()) {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// The answer's body as a blocking writer.
struct Pieces {
    gathered: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE_BYTES)));
        let sending = tokio::time::timeout(limits::BODY_PAUSE, self.sender.send(Ok(piece)));
        match self.handle.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }
}
