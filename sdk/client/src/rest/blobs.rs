//! Blobs by digest: uploads from memory or a file, downloads piece by piece.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use neptune_wire::{Digest, ProjectKey};
use reqwest::{Method, RequestBuilder, Response, header};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::{ANSWER_TIMEOUT, Rest, RestError};

/// Bytes read from a file at once.
const PIECE_BYTES: usize = 256 << 10;

/// An upload that is slower than this, in bytes, counts as stuck.
const SLOWEST_PER_SEC: u64 = 64 << 10;

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobSource {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is streamed.
    File(PathBuf),
}

/// An answer of any length, read piece by piece.
#[derive(Debug)]
pub struct Download {
    rest: Rest,
    response: Response,
}

impl Download {
    /// Its length, when the server said it.
    pub fn size_bytes(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Its media type, when the server said it.
    pub fn media_type(&self) -> Option<&str> {
        self.response.headers().get(header::CONTENT_TYPE)?.to_str().ok()
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`RestError::Unreachable`] when the connection breaks before the end.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, RestError> {
        self.rest.next_piece(&mut self.response).await
    }

    /// All of it; for small things.
    ///
    /// # Errors
    ///
    /// As [`Self::next_piece`].
    pub async fn bytes(self) -> Result<Bytes, RestError> {
        let rest = self.rest;
        rest.body(self.response, usize::MAX).await
    }

    /// Writes all of it; answers the number of bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::next_piece`], and [`RestError::File`] when `out` fails.
    pub async fn write_to(mut self, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, RestError> {
        let mut written = 0;
        let failed = |source| RestError::File { path: "output".into(), source };
        while let Some(piece) = self.next_piece().await? {
            out.write_all(&piece).await.map_err(failed)?;
            written += piece.len() as u64;
        }
        out.flush().await.map_err(failed)?;
        Ok(written)
    }
}

impl Rest {
    /// Uploads a blob; one that is there already costs the upload and changes nothing.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `digest-differs` when the bytes are others, [`RestError::File`] when they cannot be read.
    pub async fn put_blob(
        &self,
        project: &ProjectKey,
        digest: Digest,
        source: &BlobSource,
    ) -> Result<(), RestError> {
        let request =
            self.request(Method::PUT, &["projects", project.as_str(), "blobs", &digest.to_string()])?;
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        let (request, size) = match source {
            BlobSource::Bytes(bytes) => (request.body(bytes.clone()), bytes.len() as u64),
            BlobSource::File(path) => stream_file(request, path).await?,
        };
        self.send_within(request, ANSWER_TIMEOUT + Duration::from_secs(size / SLOWEST_PER_SEC)).await?;
        Ok(())
    }

    /// Reads a blob.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-blob`.
    pub async fn download_blob(&self, project: &ProjectKey, digest: Digest) -> Result<Download, RestError> {
        self.download(
            self.request(Method::GET, &["projects", project.as_str(), "blobs", &digest.to_string()])?,
        )
        .await
    }

    pub(super) async fn download(&self, request: RequestBuilder) -> Result<Download, RestError> {
        let response = self.send(request).await?;
        Ok(Download { rest: self.clone(), response })
    }
}

async fn stream_file(request: RequestBuilder, path: &Path) -> Result<(RequestBuilder, u64), RestError> {
    let failed = |source| RestError::File { path: path.display().to_string(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    // The length is promised: a file that shrinks meanwhile breaks the request instead of arriving cut.
    let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, PIECE_BYTES));
    Ok((request.header(header::CONTENT_LENGTH, size).body(body), size))
}

/// The digest and length of a file's bytes.
///
/// # Errors
///
/// What the disk said.
pub fn digest_file(path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => hasher.update(&piece[..count]),
        };
    }
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
}

/// The digest of bytes in memory.
pub fn digest_bytes(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}
