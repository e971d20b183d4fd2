//! Why the engine refuses: data in fields; the transport turns each into a status and a problem in one place.

use neptune_store::{StoreError, WriteError};
use neptune_wire::{AttemptNumber, ChannelKind, ChannelName, Digest, JobId, JobRef, JobState, ProjectKey};

/// Why something was not done. A refused request leaves no trace, except frames, whose points are counted as dropped.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A field has a value that cannot be right; `wanted` says what would be.
    #[error("{field}: {wanted}")]
    Field { field: String, wanted: String },
    /// A filter, sort or list of columns goes wrong at a character, counted from 1; `wanted` says what would be right.
    #[error("{field}, column {column}: {wanted}")]
    Text { field: &'static str, column: u32, wanted: String },
    /// No such project.
    #[error("no project {project}")]
    UnknownProject { project: ProjectKey },
    /// No such job.
    #[error("no job {job}")]
    UnknownJob { job: JobRef },
    /// The job is deleted and can be restored.
    #[error("job {job} is deleted ({reason}); `neptune restore {job}` brings it back")]
    JobDeleted { job: JobRef, reason: String },
    /// The job was here once, as far as its number tells.
    #[error(
        "job {job} is not here any more: it was deleted for good, or left out when its project was imported"
    )]
    JobGone { job: JobRef },
    /// The job has no such attempt.
    #[error("job {job} has no attempt {attempt}")]
    UnknownAttempt { job: JobRef, attempt: AttemptNumber },
    /// The job has no such channel.
    #[error("no channel {channel}")]
    UnknownChannel { channel: ChannelName },
    /// A frame names a number that its session never bound.
    #[error("channel number {number} was never opened in this session")]
    UnboundChannel { number: u32 },
    /// The channel holds no image of that index.
    #[error("channel {channel} has no image {index}")]
    UnknownImage { channel: ChannelName, index: u64 },
    /// The project refers to no such blob.
    #[error("no blob {digest} in this project")]
    UnknownBlob { digest: Digest },
    /// The job has none, or the project has none of this digest.
    #[error("no such snapshot")]
    UnknownSnapshot,
    /// Not in the snapshot.
    #[error("no file {path:?} in the snapshot")]
    UnknownFile { path: String },
    /// Something else has this key, name or id.
    #[error("{what} is taken: {by}")]
    Taken { what: &'static str, by: String },
    /// An import brings a job that was made on this server, which is left as it is.
    #[error("job {job} was made on this server and is left as it is")]
    MadeHere { job: JobId },
    /// An import goes on behind points that are not all that the job has.
    #[error(
        "the job has {found} points, not {behind}; read its channels again and go on behind what is there"
    )]
    CountDiffers { found: u64, behind: u64 },
    /// A channel of the name exists with another kind.
    #[error("channel {channel} exists and is {exists:?}, not {asked:?}", exists = exists.as_str(), asked = asked.as_str())]
    ChannelKindDiffers { channel: ChannelName, exists: ChannelKind, asked: ChannelKind },
    /// The bytes are not those the address names.
    #[error("the bytes have digest {found}, not {named}")]
    DigestDiffers { named: Digest, found: Digest },
    /// Not from this state.
    #[error("job {job} is {state}, {wanted}")]
    State { job: JobRef, state: JobState, wanted: &'static str },
    /// A newer attempt exists.
    #[error("attempt {attempt} was superseded by attempt {current}")]
    Superseded { attempt: AttemptNumber, current: AttemptNumber },
    /// Checksum or layout.
    #[error(transparent)]
    DamagedFrame(#[from] neptune_wire::frame::FrameError),
    /// A message out of its place in the protocol.
    #[error("{wanted}")]
    Protocol { wanted: &'static str },
    /// No token, or not a valid one.
    #[error("a valid token is needed")]
    Unauthorized,
    /// The grant does not reach so far.
    #[error("the token does not allow {what}")]
    Forbidden { what: &'static str },
    /// Over a limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge { what: &'static str, limit: u64 },
    /// The disk is full.
    #[error("read-only, the disk is full; writing resumes when there is space")]
    ReadOnly,
    /// The disk failed, or the background work has.
    #[error(
        "nothing is written any more after a fault, which the server's log tells; start the server again"
    )]
    Failed,
    /// Not written; may be sent again.
    #[error("busy, not written; send it again")]
    Busy,
    /// A fault below; the log has the cause.
    #[error("storage fault")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refused {
    /// What lies below a fault, for the log: its answer carries none of it.
    pub fn cause(&self) -> String {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes.join(": ")
    }

    /// A field with a wrong value.
    pub(crate) fn field(field: impl Into<String>, wanted: impl Into<String>) -> Refused {
        Refused::Field { field: field.into(), wanted: wanted.into() }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Storage(Box::new(error))
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ReadOnly => Refused::ReadOnly,
            // A conflict is another change that came first; whoever asks again decides on what is there now.
            WriteError::Busy | WriteError::Conflict => Refused::Busy,
            WriteError::Failed => Refused::Failed,
            // The limits of fields are such that this is never met; should it be, more of the same is of no use.
            WriteError::TooLarge(error) => {
                Refused::TooLarge { what: "what one change writes", limit: error.limit as u64 }
            }
            WriteError::Closed | WriteError::Store(_) => Refused::Storage(Box::new(error)),
        }
    }
}
