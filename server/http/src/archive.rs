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
use neptune_wire::snapshot::{File, Manifest, Mode};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::limits;

/// Pieces that wait for the reader.
const PIECES: usize = 4;
/// Bytes gathered before a piece is handed over.
const PIECE_BYTES: usize = 64 << 10;
/// Longest target of a link: what Linux takes, and no other system takes more.
const LINK_BYTES: usize = 4096;
/// Name of the entry that holds a target too long for a header.
const LONG_LINK: &[u8] = b"././@LongLink";

type Archive = tar::Builder<GzEncoder<Pieces>>;

/// What goes into the archive.
#[derive(Clone)]
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
///
/// The stream ends well only if the archive is whole; otherwise its last item is an error, so that the body breaks off.
pub(crate) fn pack(
    plan: Plan,
    permit: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    let handle = Handle::current();
    let packing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let pieces = Pieces { gathered: Vec::with_capacity(PIECE_BYTES), sender, handle, is_broken: false };
        let written = write_archive(&plan, pieces);
        if let Err(error) = &written {
            tracing::warn!(%error, archive = plan.folder, "archive given up");
        }
        written
    });
    futures::stream::try_unfold((receiver, packing), |(mut receiver, packing)| async move {
        if let Some(piece) = receiver.recv().await {
            return Ok(Some((piece, (receiver, packing))));
        }
        // Packing is over; only it knows how it went.
        packing.await.map_err(io::Error::other)??;
        Ok(None)
    })
}

fn write_archive(plan: &Plan, pieces: Pieces) -> io::Result<()> {
    let handle = pieces.handle.clone();
    let mut archive = tar::Builder::new(GzEncoder::new(pieces, Compression::fast()));
    // Links last: nothing is unpacked through one, also where names differ only in case.
    let (links, files): (Vec<_>, Vec<_>) =
        plan.manifest.files.iter().partition(|file| file.mode == Mode::Link);
    for file in files.into_iter().chain(links) {
        if let Err(error) = append(&mut archive, plan, file, &handle) {
            // When dropped, both writers end what they have begun; this archive must not look as if it had an end.
            archive.get_mut().get_mut().is_broken = true;
            return Err(error);
        }
    }
    archive.into_inner()?.finish()?.flush()
}

fn append(archive: &mut Archive, plan: &Plan, file: &File, handle: &Handle) -> io::Result<()> {
    let opened = handle.block_on(plan.engine.open_manifest_file(&plan.grant, &plan.job, file));
    let bytes = opened.map_err(io::Error::other)?;
    let path = format!("{}/{}", plan.folder, file.path);
    let mut header = tar::Header::new_gnu();
    header.set_mtime(plan.modified_secs);
    header.set_mode(if file.mode == Mode::Executable { 0o755 } else { 0o644 });
    let mut content = Content { handle, bytes: bytes.bytes, piece: Bytes::new() };
    if file.mode == Mode::Link {
        let mut target = Vec::new();
        content.take(LINK_BYTES as u64 + 1).read_to_end(&mut target)?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        set_target(archive, &mut header, &target)?;
        archive.append_data(&mut header, path, io::empty())
    } else {
        header.set_size(bytes.size_bytes);
        archive.append_data(&mut header, path, &mut content)
    }
}

/// Names a link's target, byte for byte; one that no header holds goes before it in an entry of its own, as GNU tar does.
fn set_target(archive: &mut Archive, header: &mut tar::Header, target: &[u8]) -> io::Result<()> {
    if target.is_empty() || target.len() > LINK_BYTES || target.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a link's target is no path"));
    }
    if header.set_link_name_literal(target).is_ok() {
        return Ok(());
    }
    let mut long = tar::Header::new_gnu();
    long.as_old_mut().name[..LONG_LINK.len()].copy_from_slice(LONG_LINK);
    long.set_mode(0o644);
    long.set_entry_type(tar::EntryType::GNULongLink);
    long.set_size(target.len() as u64 + 1);
    long.set_cksum();
    archive.append(&long, target.chain(&[0][..]))
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
    sender: mpsc::Sender<Bytes>,
    handle: Handle,
    /// Nothing more is to reach the reader.
    is_broken: bool,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
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
        let sending = async { tokio::time::timeout(limits::BODY_PAUSE, self.sender.send(piece)).await };
        let why = match self.handle.block_on(sending) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => io::ErrorKind::BrokenPipe,
            Err(_) => io::ErrorKind::TimedOut,
        };
        // Writers above try again when they are dropped, and each try would wait as long.
        self.is_broken = true;
        Err(io::Error::from(why))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use neptune_engine::Access;
    use neptune_wire::{CreateProject, Digest, ProjectKey};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::face::now;

    /// Bytes that do not shrink.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn file(path: &str, digest: Digest) -> File {
        File { path: path.into(), digest, size_bytes: 0, mode: Mode::File }
    }

    /// A plan of a job whose project has one blob, under a digest, to be filled with files.
    async fn plan(bytes: Vec<u8>) -> (Plan, Digest) {
        let engine = neptune_in_memory::engine().await;
        let grant = engine.access(Access::OpenLoopback).await.unwrap();
        let key = ProjectKey::new("TRIG").unwrap();
        let project = CreateProject { key: key.clone(), name: "T".into() };
        engine.create_project(&grant, project, now()).await.unwrap();
        let create = serde_json::from_str(r#"{"project": "TRIG", "name": "a"}"#).unwrap();
        let uid = "0f".repeat(16).parse().unwrap();
        let job = engine.create_job(&grant, create, uid, now()).await.unwrap();
        let digest = Digest::from_bytes(*blake3::hash(&bytes).as_bytes());
        let stream = futures::stream::iter([Ok(Bytes::from(bytes))]).boxed();
        engine.put_blob(&grant, &key, &digest, stream, now()).await.unwrap();
        let folder = job.id.to_string();
        let manifest = Manifest::default();
        (Plan { engine, grant, job: job.uid.into(), folder, modified_secs: 0, manifest }, digest)
    }

    /// Reads slower than is packed; answers what came, and the error it ended with.
    async fn read_slowly(plan: Plan) -> (Vec<u8>, Option<io::Error>) {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut stream = std::pin::pin!(pack(plan, permit));
        let mut came = Vec::new();
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match stream.next().await {
                Some(Ok(piece)) => came.extend_from_slice(&piece),
                Some(Err(error)) => return (came, Some(error)),
                None => return (came, None),
            }
        }
    }

    fn unpack(archive: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        flate2::read::GzDecoder::new(archive).read_to_end(&mut all).map(|_| all)
    }

    #[tokio::test]
    async fn links_come_last_and_whole() {
        for target in
            [&b"/etc/passwd"[..], b"../../up//./x/", &[b'x'; 100], &[b'y'; 101], &[b'z'; 4096], b"\xff"]
        {
            let (mut plan, digest) = plan(target.to_vec()).await;
            let link = File { mode: Mode::Link, ..file("a", digest) };
            plan.manifest.files = vec![link, file("b", digest)];
            let (archive, error) = read_slowly(plan).await;
            assert!(error.is_none(), "{error:?}");
            let unpacked = unpack(&archive).unwrap();
            let mut archive = tar::Archive::new(&unpacked[..]);
            let mut entries = archive.entries().unwrap();
            assert_eq!(&*entries.next().unwrap().unwrap().path_bytes(), b"TRIG-1/b");
            let link = entries.next().unwrap().unwrap();
            assert_eq!((&*link.path_bytes(), link.size()), (&b"TRIG-1/a"[..], 0));
            assert_eq!(link.link_name_bytes().as_deref(), Some(target));
            assert!(entries.next().is_none());
        }
        let (mut plan, digest) = plan(vec![b'x'; 4097]).await;
        plan.manifest.files = vec![File { mode: Mode::Link, ..file("a", digest) }];
        assert!(read_slowly(plan).await.1.is_some());
    }

    #[tokio::test]
    async fn an_archive_without_one_of_its_files_breaks_off() {
        let (mut plan, digest) = plan(noise(1 << 20)).await;
        plan.manifest.files = vec![file("a", digest), file("c", digest)];
        let (whole, error) = read_slowly(plan.clone()).await;
        assert!(error.is_none() && unpack(&whole).unwrap().len() > 2 << 20);

        plan.manifest.files.insert(1, file("b", Digest::from_bytes([1; 32])));
        let (part, error) = read_slowly(plan).await;
        assert!(error.is_some_and(|error| error.to_string().contains("blob")));
        assert!(part.len() > 1 << 19 && unpack(&part).is_err());
    }

    /// What the writers add when they are dropped reaches nobody, however little is missing to a full piece.
    #[tokio::test]
    async fn a_broken_archive_has_no_end() {
        let (sender, mut receiver) = mpsc::channel(PIECES);
        let gathered = vec![0; PIECE_BYTES - 1];
        let pieces = Pieces { gathered, sender, handle: Handle::current(), is_broken: true };
        tokio::task::spawn_blocking(|| drop(tar::Builder::new(GzEncoder::new(pieces, Compression::fast()))))
            .await
            .unwrap();
        assert_eq!(receiver.recv().await, None);
    }
}
