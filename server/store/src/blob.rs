//! Blobs: write-once bytes, named by their BLAKE3 digest.
//!
//! ```text
//! ab/cd/abcd…   the bytes, under the digest in hexadecimal
//! ```
//!
//! A blob is written beside its place, synced, and moved there, so a name never stands for half a blob; a leftover of a
//! crash is a file whose name ends in `#` and a number. Writing a blob again is harmless, and heals a damaged one.
//! Which project may see which blob is a record of the store, written after the bytes are safe.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use neptune_wire::{Digest, Micros};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{GetResult, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

/// Up to here a blob is gathered in memory and checked before anything is written; S3 parts are at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Threads that look for blobs at once: a disk that does not remember names answers several of them as fast as one.
const LOOKS: usize = 8;

/// All blobs of a server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Where they lie, if that is a folder.
    folder: Option<Arc<Path>>,
}

/// A blob that lies there, whether or not a record stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// A part of a write that was broken off: its name stands for no blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// When it was written to last.
    pub modified: Micros,
}

/// A blob being read.
pub struct BlobRead {
    /// Its length.
    pub size_bytes: u64,
    /// Its bytes.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Why a blob was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The bytes are not those the name stands for; nothing was stored.
    #[error("the bytes have digest {found}, not {named}")]
    DigestDiffers {
        /// What the writer said.
        named: Digest,
        /// What came.
        found: Digest,
    },
    /// More bytes came than allowed; nothing was stored.
    #[error("blob of more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes stopped coming; nothing was stored.
    #[error("the upload broke off")]
    Source(#[source] io::Error),
    /// No space left; nothing was stored.
    #[error("the disk is full")]
    DiskFull,
    /// Any other fault of the disk or object store.
    #[error("blob storage")]
    Storage(#[source] object_store::Error),
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        if is_disk_full(&error) { Self::DiskFull } else { Self::Storage(error) }
    }
}

impl Blobs {
    /// Opens a folder, creating it when it is missing. Every write is synced, the folder included.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] or [`BlobError::DiskFull`] when the folder cannot be made or opened.
    pub fn open_folder(folder: &Path) -> Result<Self, BlobError> {
        // The folder's own name must outlive a power cut too: what is written below it is only synced up to here.
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::File::open(folder.join(".."))?.sync_all())
            .map_err(folder_fault)?;
        let local = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(local), folder: Some(folder.into()) })
    }

    /// Blobs that end with the process, for tests.
    pub fn in_memory() -> Self {
        Self { store: Arc::new(InMemory::new()), folder: None }
    }

    /// Stores the bytes if they have this digest and are at most `limit`; answers their length once they are durable.
    ///
    /// # Errors
    ///
    /// [`BlobError`]; whatever it is, the name does not stand for these bytes afterwards unless it did before.
    pub async fn put(
        &self,
        digest: &Digest,
        mut bytes: BoxStream<'static, io::Result<Bytes>>,
        limit: u64,
    ) -> Result<u64, BlobError> {
        let path = path_from_digest(digest);
        let mut hasher = blake3::Hasher::new();
        let (mut size_bytes, mut part) = (0, BytesMut::new());
        let mut upload = None;
        while let Some(piece) = bytes.next().await {
            let written = async {
                let piece = piece.map_err(BlobError::Source)?;
                size_bytes += piece.len() as u64;
                if size_bytes > limit {
                    return Err(BlobError::TooLarge { limit });
                }
                hasher.update(&piece);
                part.extend_from_slice(&piece);
                if part.len() >= PART_BYTES {
                    let upload = match &mut upload {
                        Some(upload) => upload,
                        None => upload.insert(self.store.put_multipart(&path).await?),
                    };
                    upload.put_part(PutPayload::from(part.split().freeze())).await?;
                }
                Ok(())
            };
            if let Err(error) = written.await {
                return give_up(upload, error).await;
            }
        }
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if found != *digest {
            return give_up(upload, BlobError::DigestDiffers { named: *digest, found }).await;
        }
        match upload {
            None => self.store.put(&path, PutPayload::from(part.freeze())).await.map(drop)?,
            Some(mut upload) => {
                let finished = async {
                    if !part.is_empty() {
                        upload.put_part(PutPayload::from(part.freeze())).await?;
                    }
                    upload.complete().await
                };
                if let Err(error) = finished.await {
                    return give_up(Some(upload), error.into()).await;
                }
            }
        }
        Ok(size_bytes)
    }

    /// Reads a blob; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] for a fault other than absence.
    pub async fn find(&self, digest: &Digest) -> Result<Option<BlobRead>, BlobError> {
        match self.store.get(&path_from_digest(digest)).await {
            Ok(found) => Ok(Some(read_from_get(found))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a whole blob that is known to be small; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] for a fault other than absence; [`BlobError::TooLarge`] over `limit`.
    pub async fn find_whole(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, BlobError> {
        match self.store.get(&path_from_digest(digest)).await {
            Ok(found) if found.meta.size > limit => Err(BlobError::TooLarge { limit }),
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The length of a blob; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] for a fault other than absence.
    pub async fn find_size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match self.store.head(&path_from_digest(digest)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Which of these blobs are there, in the order asked.
    ///
    /// Cost: a look at the name of each, [`LOOKS`] threads at once: some microseconds where the system remembers it.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] for a fault other than absence.
    pub async fn are_there(&self, digests: &[Digest]) -> Result<Vec<bool>, BlobError> {
        let mut there = Vec::with_capacity(digests.len());
        let Some(folder) = self.folder.clone() else {
            for digest in digests {
                there.push(self.find_size(digest).await?.is_some());
            }
            return Ok(there);
        };
        let parts: Vec<Vec<PathBuf>> = digests
            .chunks(digests.len().div_ceil(LOOKS).max(1))
            .map(|part| part.iter().map(|digest| folder.join(path_from_digest(digest).as_ref())).collect())
            .collect();
        let looks = parts.into_iter().map(|part| {
            tokio::task::spawn_blocking(move || part.iter().map(|path| path.try_exists()).collect())
        });
        for look in looks.collect::<Vec<_>>() {
            let part: io::Result<Vec<bool>> = look.await.map_err(io::Error::other).and_then(|part| part);
            there.extend(part.map_err(folder_fault)?);
        }
        Ok(there)
    }

    /// Removes a blob, after every record of it; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`]
    pub async fn delete(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.store.delete(&path_from_digest(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Every blob that lies there, in no particular order. What has no digest as its name is passed over.
    pub fn list(&self) -> BoxStream<'static, Result<StoredBlob, BlobError>> {
        let found = self.store.list(None).map_err(BlobError::from);
        let blob = |meta: object_store::ObjectMeta| async move {
            let digest = meta.location.filename()?.parse().ok()?;
            Some(StoredBlob { digest, size_bytes: meta.size })
        };
        found.try_filter_map(move |meta| async move { Ok(blob(meta).await) }).boxed()
    }

    /// Parts of writes that were broken off by the end of the process, and of those under way now.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`] when the folder cannot be read.
    pub async fn list_leftovers(&self) -> Result<Vec<Leftover>, BlobError> {
        let Some(folder) = self.folder.clone() else { return Ok(vec![]) };
        let listing = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            collect_leftovers(&folder, &mut found).map(|()| found)
        });
        listing.await.map_err(io::Error::other).and_then(|found| found).map_err(folder_fault)
    }

    /// Removes one of them.
    ///
    /// # Errors
    ///
    /// [`BlobError::Storage`]
    pub fn delete_leftover(&self, leftover: &Leftover) -> Result<(), BlobError> {
        match std::fs::remove_file(&leftover.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder_fault(error)),
            _ => Ok(()),
        }
    }
}

fn folder_fault(error: io::Error) -> BlobError {
    object_store::Error::Generic { store: "folder", source: Box::new(error) }.into()
}

/// Files whose name ends in `#` and digits, two folders down at most.
fn collect_leftovers(folder: &Path, found: &mut Vec<Leftover>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_leftovers(&entry.path(), found)?;
            continue;
        }
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        if !number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        {
            continue;
        }
        // A write under way ends, and its part is gone.
        let Ok(meta) = entry.metadata() else { continue };
        let modified = meta.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = Micros(i64::try_from(modified.as_micros()).unwrap_or(i64::MAX));
        found.push(Leftover { path: entry.path(), size_bytes: meta.len(), modified });
    }
    Ok(())
}

/// The digest of some bytes.
pub fn digest_from_bytes(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Bytes in memory as [`Blobs::put`] takes them.
pub fn blob_from_bytes(bytes: impl Into<Bytes>) -> BoxStream<'static, io::Result<Bytes>> {
    futures::stream::iter([Ok(bytes.into())]).boxed()
}

fn path_from_digest(digest: &Digest) -> object_store::path::Path {
    let hex = digest.to_string();
    object_store::path::Path::from_iter([&hex[..2], &hex[2..4], &hex[..]])
}

fn read_from_get(found: GetResult) -> BlobRead {
    let size_bytes = found.meta.size;
    let bytes = found.into_stream().map(|piece| piece.map_err(io::Error::other)).boxed();
    BlobRead { size_bytes, bytes }
}

async fn give_up(upload: Option<Box<dyn MultipartUpload>>, error: BlobError) -> Result<u64, BlobError> {
    if let Some(mut upload) = upload {
        // Whether the leftover could be removed changes nothing: its name stands for no blob.
        let _ = upload.abort().await;
    }
    Err(error)
}

fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let full =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if error.downcast_ref::<io::Error>().is_some_and(full) {
        return true;
    }
    error.source().is_some_and(is_disk_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], size: usize) -> BoxStream<'static, io::Result<Bytes>> {
        let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::stream::iter(pieces).boxed()
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(*blake3::hash(bytes).as_bytes())
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
        found
    }

    #[tokio::test]
    async fn small_and_large_blobs_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_folder(folder.path()).unwrap();
        for size in [0, 1, 1000, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 3] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            let name = digest(&bytes);
            assert!(blobs.find(&name).await.unwrap().is_none());
            for _twice in 0..2 {
                assert_eq!(blobs.put(&name, pieces(&bytes, 700_001), u64::MAX).await.unwrap(), size as u64);
                assert_eq!(blobs.find_whole(&name, u64::MAX).await.unwrap().unwrap(), bytes);
            }
            let other = Digest::from_bytes([1; 32]);
            assert_eq!(blobs.are_there(&[other, name, other]).await.unwrap(), [false, true, false]);
        }
    }

    #[tokio::test]
    async fn refused_bytes_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_folder(folder.path()).unwrap();
        for size in [10, 2 * PART_BYTES] {
            let bytes = vec![7; size];
            let wrong = Digest::from_bytes([1; 32]);
            let refused = blobs.put(&wrong, pieces(&bytes, 100_000), u64::MAX).await;
            assert!(matches!(refused, Err(BlobError::DigestDiffers { named, .. }) if named == wrong));
            let refused = blobs.put(&digest(&bytes), pieces(&bytes, 100_000), size as u64 - 1).await;
            assert!(matches!(refused, Err(BlobError::TooLarge { .. })));
            let broken =
                pieces(&bytes, 100_000).chain(futures::stream::iter([Err(io::Error::other("gone"))]));
            let refused = blobs.put(&digest(&bytes), broken.boxed(), u64::MAX).await;
            assert!(matches!(refused, Err(BlobError::Source(_))));
            assert!(blobs.find(&digest(&bytes)).await.unwrap().is_none());
        }
        assert_eq!(files(folder.path()), Vec::<String>::new());
    }
}
