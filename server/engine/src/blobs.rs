//! Blobs: write-once bytes by digest, visible only to the projects that uploaded them.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use neptune_store::{BlobError, Writes};
use neptune_wire::{Digest, Micros, ProjectKey};

use crate::{Engine, Grant, Refused};

pub use neptune_store::BlobRead;

impl Engine {
    /// Largest blob. Artifacts of many gigabytes are to come in parts; source files and images fit, and a runaway upload
    /// does not fill the disk.
    pub const BLOB_BYTES: u64 = 4 << 30;

    /// Whether the project has the blob.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownProject`], [`Refused::Forbidden`].
    pub async fn has_blob(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        digest: &Digest,
    ) -> Result<bool, Refused> {
        self.may_use_project(grant, project)?;
        Ok(self.store().find_project_blobs(project, &[*digest]).await?.iter().any(Option::is_some))
    }

    /// Stores a blob, durably, after checking its digest; one that the project has is not written again, unless its bytes
    /// are gone.
    ///
    /// The bytes are safe before the project's record of them is, so a record stands for missing bytes only where a restore
    /// left them out, or the disk lost them.
    ///
    /// # Errors
    ///
    /// [`Refused::DigestDiffers`], [`Refused::TooLarge`], [`Refused::ReadOnly`], or [`Refused::Protocol`] when the bytes
    /// stop coming; nothing is stored then.
    pub async fn put_blob(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        digest: &Digest,
        bytes: BoxStream<'static, io::Result<Bytes>>,
        now: Micros,
    ) -> Result<(), Refused> {
        self.may_use_project(grant, project)?;
        let using = self.core.life.begin_use().await;
        if self.core.use_blobs(&using, project, &[*digest], grant.user(), now).await? == [true] {
            return Ok(());
        }
        // An upload takes its time; the use is remembered.
        drop(using);
        self.blobs().put(digest, bytes, Self::BLOB_BYTES).await?;
        let _kept = self.core.life.keep_bytes(digest).await;
        // The collector may have come between: nobody held the bytes yet.
        if self.blobs().find_size(digest).await?.is_none() {
            return Err(Refused::Busy);
        }
        let mut writes = Writes::new();
        writes.put_project_blob(project, digest);
        Ok(self.store().commit(writes).await?)
    }

    /// Reads a blob of a project.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownBlob`] also when another project has it.
    pub async fn open_blob(
        &self,
        grant: &Grant,
        project: &ProjectKey,
        digest: &Digest,
    ) -> Result<BlobRead, Refused> {
        if !self.has_blob(grant, project, digest).await? {
            return Err(Refused::UnknownBlob { digest: *digest });
        }
        self.read_known_blob(digest).await
    }

    /// Reads a blob that a record stands for; its absence is a fault of the store.
    pub(crate) async fn read_known_blob(&self, digest: &Digest) -> Result<BlobRead, Refused> {
        self.blobs().find(digest).await?.ok_or_else(|| missing(digest))
    }
}

/// A record stands for bytes that are not there: damage, not a mistake of the caller.
pub(crate) fn missing(digest: &Digest) -> Refused {
    Refused::Storage(format!("the bytes of blob {digest} are missing").into())
}

impl From<BlobError> for Refused {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::DigestDiffers { named, found } => Self::DigestDiffers { named, found },
            BlobError::TooLarge { limit } => Self::TooLarge { what: "blob", limit },
            BlobError::Source(_) => {
                Self::Protocol { wanted: "the upload broke off; send the whole blob again" }
            }
            BlobError::DiskFull => Self::ReadOnly,
            BlobError::Storage(_) => Self::Storage(Box::new(error)),
        }
    }
}
