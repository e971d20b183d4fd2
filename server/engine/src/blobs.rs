//! Blobs: write-once bytes by digest, visible only to projects that uploaded or refer to them.

use bytes::Bytes;
use futures::stream::BoxStream;
use neptune_wire::{Digest, Micros, ProjectKey};

use crate::{Engine, Grant, Refused};

/// A blob being read.
pub struct BlobRead {
    /// Its length.
    pub size_bytes: u64,
    /// Its bytes.
    pub bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

impl Engine {
    /// Whether the project has the blob.
    pub async fn has_blob(
        &self,
        _grant: &Grant,
        _project: &ProjectKey,
        _digest: &Digest,
    ) -> Result<bool, Refused> {
        todo!("blobs")
    }

    /// Stores a blob, durably, after checking its digest; one that is there is not written again.
    pub async fn put_blob(
        &self,
        _grant: &Grant,
        _project: &ProjectKey,
        _digest: &Digest,
        _bytes: BoxStream<'static, std::io::Result<Bytes>>,
        _now: Micros,
    ) -> Result<(), Refused> {
        todo!("blobs")
    }

    /// Reads a blob of a project.
    pub async fn open_blob(
        &self,
        _grant: &Grant,
        _project: &ProjectKey,
        _digest: &Digest,
    ) -> Result<BlobRead, Refused> {
        todo!("blobs")
    }
}
