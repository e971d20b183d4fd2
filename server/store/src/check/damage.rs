//! What a check tells: each kind of damage, and where it is.

use neptune_kv::{Family, Key};
use neptune_wire::frame::FrameError;
use neptune_wire::{Digest, JobUid, ProjectKey, SessionId};

use crate::blob::BlobError;
use crate::chunk::ChunkError;
use crate::key::UnknownKey;
use crate::pyramid::PageError;
use crate::record::RecordError;
use crate::sheet::SheetError;
use crate::store::StoreError;

/// Something that is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A key that this version does not write.
    #[error(transparent)]
    Key(#[from] UnknownKey),
    /// A value that is no record.
    #[error("at key {key}: {source}")]
    Record {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A value that is not what its key stands for.
    #[error("at key {key}: the value is not {wanted}")]
    Value {
        /// Where.
        key: Key,
        /// What it should be.
        wanted: &'static str,
    },
    /// Something that another record names.
    #[error("at key {key}: {what} is missing")]
    Missing {
        /// What names it.
        key: Key,
        /// What is named.
        what: &'static str,
    },
    /// A frame that cannot be read.
    #[error("frame {seq} in the log of job {job}: {source}")]
    Frame {
        /// Whose log.
        job: JobUid,
        /// Its place in the log.
        seq: u64,
        /// What is wrong with it.
        source: FrameError,
    },
    /// A chunk that cannot be read.
    #[error("at key {key}: {source}")]
    Chunk {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: ChunkError,
    },
    /// A page of the pyramid that cannot be read.
    #[error("at key {key}: {source}")]
    Page {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: PageError,
    },
    /// A sheet that cannot be read.
    #[error("at key {key}: {source}")]
    Sheet {
        /// Where.
        key: Key,
        /// What is wrong with it.
        source: SheetError,
    },
    /// A channel has fewer lines, images or bytes of a log than were sealed.
    #[error("job {job}: channel {channel} has {found} of {count} sealed lines, images or bytes")]
    Rows {
        /// Whose channel.
        job: JobUid,
        /// Its number.
        channel: u32,
        /// How many were sealed.
        count: u64,
        /// Those before the first that is missing.
        found: u64,
    },
    /// A channel has fewer points than were sealed.
    #[error("job {job}: channel {channel} has {found} of {count} sealed points")]
    Points {
        /// Whose channel.
        job: JobUid,
        /// Its number.
        channel: u32,
        /// Points that were sealed.
        count: u64,
        /// Those before the first that is missing.
        found: u64,
    },
    /// Of one session, two frames of one number or one out of order.
    #[error("frame {seq} in the log of job {job}: session {session} has number {number} after {before}")]
    Order {
        /// Whose log.
        job: JobUid,
        /// Its place in the log.
        seq: u64,
        /// Whose frame.
        session: SessionId,
        /// The frame's number.
        number: u64,
        /// The number of the session's frame before it.
        before: u64,
    },
    /// Frames beyond the mark, which would be taken a second time.
    #[error("job {job}: session {session} has frame {number}, its mark is {mark}")]
    Mark {
        /// Whose log.
        job: JobUid,
        /// Whose frames.
        session: SessionId,
        /// The last frame's number.
        number: u64,
        /// What the session's record says; 0 where there is no record.
        mark: u64,
    },
    /// A job's sources that its project does not hold.
    #[error("job {job}: its snapshot {snapshot} is not held by project {project}")]
    NoSnapshot {
        /// Whose.
        job: JobUid,
        /// Its project.
        project: ProjectKey,
        /// What is not there.
        snapshot: Digest,
    },
    /// A snapshot whose bytes are whole and name no files.
    #[error("snapshot {snapshot} of project {project} is no list of files")]
    NoManifest {
        /// Which project holds it.
        project: ProjectKey,
        /// Which.
        snapshot: Digest,
    },
    /// A file of a snapshot that the project does not hold.
    #[error("snapshot {snapshot}: file {path:?}, which is blob {digest}, is not held by project {project}")]
    NoFile {
        /// Which project holds the snapshot.
        project: ProjectKey,
        /// Which.
        snapshot: Digest,
        /// In the snapshot.
        path: String,
        /// What is not there.
        digest: Digest,
    },
    /// An image of a job that its project does not hold.
    #[error("job {job}: its image {digest} is not held by project {project}")]
    NoImage {
        /// Whose.
        job: JobUid,
        /// Its project.
        project: ProjectKey,
        /// What is not there.
        digest: Digest,
    },
    /// A blob that a project may see and that is not there.
    #[error("blob {digest} is missing")]
    NoBlob {
        /// Which.
        digest: Digest,
    },
    /// A blob whose bytes have changed.
    #[error("blob {digest} has changed, its bytes have digest {found}")]
    Blob {
        /// Its name.
        digest: Digest,
        /// What its bytes are now.
        found: Digest,
    },
    /// The folder of blobs.
    #[error("the blobs cannot be listed: {source}")]
    UnlistedBlobs {
        /// What the disk said.
        source: BlobError,
    },
    /// From some key on the backend cannot read a family.
    #[error(
        "{}; what comes behind it in that family was not looked at, nor compared with anything",
        in_full(source)
    )]
    Unreadable {
        /// Which.
        family: Family,
        /// What the backend said.
        source: StoreError,
    },
    /// A blob that cannot be read.
    #[error("blob {digest} cannot be read: {source}")]
    UnreadableBlob {
        /// Which.
        digest: Digest,
        /// What the disk said.
        source: BlobError,
    },
}

/// An error and what is behind it.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
