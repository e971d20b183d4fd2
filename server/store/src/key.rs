//! Keys: where every record lies. One tag per kind, its layout beside it.
//!
//! ```text
//! control shard   00 · tag (2) · fields          what steers work, so that one batch can change all of it
//! data shard      01 · shard (1) · tag (2) · job uid (16) · fields        what a job produced
//! ```
//!
//! Fields are big-endian and order-preserving: keys sort as their fields do. A project key ends with a zero byte unless
//! it is the last field. Everything lies in the `state` family but frames, which lie in `log`, and what is sealed of them
//! and the saved job table, which lie in `bulk`.
//!
//! A new kind of key: 1. a variant of [`Tag`] with its layout, and in [`Tag::DATA`] if a job produced it, 2. a variant of
//! [`StoreKey`] and its lines in `fields` and `decode`, 3. a sample in the test. A kind that is no longer written keeps its
//! tag here.

use std::str;

use neptune_kv::{Family, Key, KeyRange};
use neptune_wire::{AttemptNumber, Digest, JobUid, ProjectKey, SessionId};

const CONTROL: u8 = 0;
const DATA: u8 = 1;

/// The two bytes that say what a key is of. Unique across both shards, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Tag {
    /// control · `fv` → version of this store's format, u32
    Format = u16::from_be_bytes(*b"fv"),
    /// control · `sk` → 32 random bytes that tokens are derived from
    ServerKey = u16::from_be_bytes(*b"sk"),
    /// control · `pj` · project → [`ProjectRecord`](crate::ProjectRecord)
    Project = u16::from_be_bytes(*b"pj"),
    /// control · `pb` · project · 0 · digest (32) → the project may see this blob; empty, or, once no job was found to name
    /// it, [`UnneededRecord`](crate::UnneededRecord)
    ProjectBlob = u16::from_be_bytes(*b"pb"),
    /// control · `sn` · project · 0 · digest (32) → a snapshot of the project whose blobs are all there; its value is as
    /// that of a blob
    Snapshot = u16::from_be_bytes(*b"sn"),
    /// control · `jb` · uid (16) → [`JobRecord`](crate::JobRecord)
    Job = u16::from_be_bytes(*b"jb"),
    /// control · `js` · uid (16) · part u16 → a piece of the job's [`JobSpec`](crate::JobSpec)
    JobSpec = u16::from_be_bytes(*b"js"),
    /// control · `jp` · uid (16) · name → the property's text
    JobProperty = u16::from_be_bytes(*b"jp"),
    /// control · `jn` · project · 0 · number u64 → uid (16)
    JobNumber = u16::from_be_bytes(*b"jn"),
    /// control · `at` · uid (16) · attempt u32 → [`AttemptRecord`](crate::AttemptRecord)
    Attempt = u16::from_be_bytes(*b"at"),
    /// control · `tk` · BLAKE3 of the token (32) → [`TokenRecord`](crate::TokenRecord)
    AttemptToken = u16::from_be_bytes(*b"tk"),
    /// control · `ta` · BLAKE3 of the token (32) → [`AdminTokenRecord`](crate::AdminTokenRecord)
    AdminToken = u16::from_be_bytes(*b"ta"),
    /// control · `jd` · uid (16) → [`DeletedRecord`](crate::DeletedRecord), the last record of a job to go
    JobDeleted = u16::from_be_bytes(*b"jd"),
    /// control · `rt` · project → [`RetentionRecord`](crate::RetentionRecord)
    Retention = u16::from_be_bytes(*b"rt"),
    /// data · `ch` · uid (16) · channel u32 → [`ChannelRecord`](crate::ChannelRecord)
    Channel = u16::from_be_bytes(*b"ch"),
    /// data · `ct` · uid (16) · number u32 → [`ChartRecord`](crate::ChartRecord)
    Chart = u16::from_be_bytes(*b"ct"),
    /// data · `ss` · uid (16) · session (16) → [`SessionRecord`](crate::SessionRecord), its mark among it
    Session = u16::from_be_bytes(*b"ss"),
    /// data · `sb` · uid (16) · session (16) · part u32 → [`BindingsRecord`](crate::BindingsRecord)
    Bindings = u16::from_be_bytes(*b"sb"),
    /// data · `dr` · uid (16) → points of the job that were ever dropped, u64
    Dropped = u16::from_be_bytes(*b"dr"),
    /// data · `ik` · uid (16) · BLAKE3 of the idempotency key (32) → [`AppendedRecord`](crate::AppendedRecord)
    Appended = u16::from_be_bytes(*b"ik"),
    /// data, `log` family · `fr` · uid (16) · sequence u64 → the frame as it came
    Frame = u16::from_be_bytes(*b"fr"),
    /// data · `sl` · uid (16) → [`SealRecord`](crate::SealRecord)
    Seal = u16::from_be_bytes(*b"sl"),
    /// data · `cs` · uid (16) · channel u32 → [`ChannelStateRecord`](crate::ChannelStateRecord)
    ChannelState = u16::from_be_bytes(*b"cs"),
    /// data, `bulk` family · `ck` · uid (16) · channel u32 · first point u64 → [`chunk`](crate::chunk)
    Chunk = u16::from_be_bytes(*b"ck"),
    /// data, `bulk` family · `py` · uid (16) · channel u32 · level u8 · page u64 → [`pyramid`](crate::pyramid)
    Page = u16::from_be_bytes(*b"py"),
    /// control, `bulk` family · `tb` · chunk u32 · generation u64 · part u16 → a piece of the job table as it was
    /// last saved ([`table`](crate::table)); may be missing or old, never wrong
    TablePart = u16::from_be_bytes(*b"tb"),
    /// data, `bulk` family · `sh` · uid (16) · channel u32 · first u64 → [`sheet`](crate::sheet); `first` is the number of
    /// its first line or image, for a log the offset of its first byte in the stored stream
    Sheet = u16::from_be_bytes(*b"sh"),
    /// data, `bulk` family · `ll` · uid (16) · channel u32 · line u64 · first u64 → nothing; so many lines of the log began
    /// before the sheet at `first`
    LogLine = u16::from_be_bytes(*b"ll"),
}

/// A key and its fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is documented at its tag")]
pub enum StoreKey {
    Format,
    ServerKey,
    Project { project: ProjectKey },
    ProjectBlob { project: ProjectKey, digest: Digest },
    Snapshot { project: ProjectKey, digest: Digest },
    Job { job: JobUid },
    JobSpec { job: JobUid, part: u16 },
    JobProperty { job: JobUid, name: String },
    JobNumber { project: ProjectKey, number: u64 },
    Attempt { job: JobUid, attempt: AttemptNumber },
    AttemptToken { hash: Digest },
    AdminToken { hash: Digest },
    JobDeleted { job: JobUid },
    Retention { project: ProjectKey },
    Channel { job: JobUid, channel: u32 },
    Chart { job: JobUid, number: u32 },
    Session { job: JobUid, session: SessionId },
    Bindings { job: JobUid, session: SessionId, part: u32 },
    Dropped { job: JobUid },
    Appended { job: JobUid, hash: Digest },
    Frame { job: JobUid, seq: u64 },
    Seal { job: JobUid },
    ChannelState { job: JobUid, channel: u32 },
    Chunk { job: JobUid, channel: u32, first: u64 },
    Page { job: JobUid, channel: u32, level: u8, page: u64 },
    TablePart { chunk: u32, generation: u64, part: u16 },
    Sheet { job: JobUid, channel: u32, first: u64 },
    LogLine { job: JobUid, channel: u32, line: u64, first: u64 },
}

/// Bytes that are no key of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {key:?} is of no known layout")]
pub struct UnknownKey {
    /// The key as it was found.
    pub key: Key,
}

/// The data shard of a job. Folds all bytes of the uid, so uids that begin alike (times, counters) still spread.
pub fn shard_of(job: &JobUid) -> u8 {
    job.as_bytes().iter().fold(0, |shard, byte| shard ^ byte)
}

impl Tag {
    /// Every tag of the data shards: all that a job produced lies under one of them, and goes with it when it is removed.
    pub const DATA: [Tag; 13] = [
        Tag::Channel,
        Tag::Chart,
        Tag::Session,
        Tag::Bindings,
        Tag::Dropped,
        Tag::Appended,
        Tag::Frame,
        Tag::Seal,
        Tag::ChannelState,
        Tag::Chunk,
        Tag::Page,
        Tag::Sheet,
        Tag::LogLine,
    ];

    fn bytes(self) -> [u8; 2] {
        (self as u16).to_be_bytes()
    }

    fn family(self) -> Family {
        match self {
            Tag::Frame => Family::Log,
            Tag::Chunk | Tag::Page | Tag::TablePart | Tag::Sheet | Tag::LogLine => Family::Bulk,
            _ => Family::State,
        }
    }

    /// Every key of this tag in the control shard.
    pub fn control_range(self) -> KeyRange {
        let mut prefix = vec![CONTROL];
        prefix.extend_from_slice(&self.bytes());
        KeyRange::prefix(self.family(), prefix)
    }

    /// Every key of this tag in the control shard that begins with a job's uid.
    pub fn control_range_of(self, job: &JobUid) -> KeyRange {
        let mut prefix = vec![CONTROL];
        prefix.extend_from_slice(&self.bytes());
        prefix.extend_from_slice(job.as_bytes());
        KeyRange::prefix(self.family(), prefix)
    }

    /// Every key of this tag in the control shard that begins with a project's key and a zero byte.
    pub fn control_range_of_project(self, project: &ProjectKey) -> KeyRange {
        let mut prefix = vec![CONTROL];
        prefix.extend_from_slice(&self.bytes());
        push_project(&mut prefix, project);
        KeyRange::prefix(self.family(), prefix)
    }

    /// Every key of this tag in one data shard.
    pub fn shard_range(self, shard: u8) -> KeyRange {
        let mut prefix = vec![DATA, shard];
        prefix.extend_from_slice(&self.bytes());
        KeyRange::prefix(self.family(), prefix)
    }

    /// Every key of this tag of one job in its data shard.
    pub fn job_range(self, job: &JobUid) -> KeyRange {
        let mut prefix = vec![DATA, shard_of(job)];
        prefix.extend_from_slice(&self.bytes());
        prefix.extend_from_slice(job.as_bytes());
        KeyRange::prefix(self.family(), prefix)
    }
}

/// The keys from the first up to, not including, the second; both of one kind.
pub(crate) fn range_between(start: &StoreKey, end: &StoreKey) -> KeyRange {
    KeyRange::new(start.tag().family(), start.encode().bytes, end.encode().bytes)
}

impl StoreKey {
    /// What the key is of.
    pub fn tag(&self) -> Tag {
        match self {
            Self::Format => Tag::Format,
            Self::ServerKey => Tag::ServerKey,
            Self::Project { .. } => Tag::Project,
            Self::ProjectBlob { .. } => Tag::ProjectBlob,
            Self::Snapshot { .. } => Tag::Snapshot,
            Self::Job { .. } => Tag::Job,
            Self::JobSpec { .. } => Tag::JobSpec,
            Self::JobProperty { .. } => Tag::JobProperty,
            Self::JobNumber { .. } => Tag::JobNumber,
            Self::Attempt { .. } => Tag::Attempt,
            Self::AttemptToken { .. } => Tag::AttemptToken,
            Self::AdminToken { .. } => Tag::AdminToken,
            Self::JobDeleted { .. } => Tag::JobDeleted,
            Self::Retention { .. } => Tag::Retention,
            Self::Channel { .. } => Tag::Channel,
            Self::Chart { .. } => Tag::Chart,
            Self::Session { .. } => Tag::Session,
            Self::Bindings { .. } => Tag::Bindings,
            Self::Dropped { .. } => Tag::Dropped,
            Self::Appended { .. } => Tag::Appended,
            Self::Frame { .. } => Tag::Frame,
            Self::Seal { .. } => Tag::Seal,
            Self::ChannelState { .. } => Tag::ChannelState,
            Self::Chunk { .. } => Tag::Chunk,
            Self::Page { .. } => Tag::Page,
            Self::TablePart { .. } => Tag::TablePart,
            Self::Sheet { .. } => Tag::Sheet,
            Self::LogLine { .. } => Tag::LogLine,
        }
    }

    /// The job whose data shard holds the key; `None` for the control shard.
    pub(crate) fn data_job(&self) -> Option<&JobUid> {
        match self {
            Self::Channel { job, .. }
            | Self::Chart { job, .. }
            | Self::Session { job, .. }
            | Self::Bindings { job, .. }
            | Self::Dropped { job }
            | Self::Appended { job, .. }
            | Self::Frame { job, .. }
            | Self::Seal { job }
            | Self::ChannelState { job, .. }
            | Self::Chunk { job, .. }
            | Self::Page { job, .. }
            | Self::Sheet { job, .. }
            | Self::LogLine { job, .. } => Some(job),
            _ => None,
        }
    }

    /// The key as bytes.
    pub fn encode(&self) -> Key {
        let tag = self.tag();
        let mut bytes = Vec::with_capacity(56);
        match self.data_job() {
            None => bytes.push(CONTROL),
            Some(job) => bytes.extend_from_slice(&[DATA, shard_of(job)]),
        }
        bytes.extend_from_slice(&tag.bytes());
        self.push_fields(&mut bytes);
        Key::new(tag.family(), bytes)
    }

    fn push_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::Format | Self::ServerKey => {}
            Self::Project { project } | Self::Retention { project } => {
                out.extend_from_slice(project.as_str().as_bytes())
            }
            Self::ProjectBlob { project, digest } | Self::Snapshot { project, digest } => {
                push_project(out, project);
                out.extend_from_slice(digest.as_bytes());
            }
            Self::Job { job } | Self::Dropped { job } | Self::JobDeleted { job } | Self::Seal { job } => {
                out.extend_from_slice(job.as_bytes())
            }
            Self::JobSpec { job, part } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&part.to_be_bytes());
            }
            Self::JobProperty { job, name } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Self::JobNumber { project, number } => {
                push_project(out, project);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Attempt { job, attempt: AttemptNumber(number) }
            | Self::Channel { job, channel: number }
            | Self::ChannelState { job, channel: number }
            | Self::Chart { job, number } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::AttemptToken { hash } | Self::AdminToken { hash } => {
                out.extend_from_slice(hash.as_bytes());
            }
            Self::TablePart { chunk, generation, part } => {
                out.extend_from_slice(&chunk.to_be_bytes());
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(&part.to_be_bytes());
            }
            Self::Session { job, session } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(session.as_bytes());
            }
            Self::Bindings { job, session, part } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(session.as_bytes());
                out.extend_from_slice(&part.to_be_bytes());
            }
            Self::Appended { job, hash } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(hash.as_bytes());
            }
            Self::Frame { job, seq } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&seq.to_be_bytes());
            }
            Self::Chunk { job, channel, first } | Self::Sheet { job, channel, first } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&channel.to_be_bytes());
                out.extend_from_slice(&first.to_be_bytes());
            }
            Self::Page { job, channel, level, page } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&channel.to_be_bytes());
                out.push(*level);
                out.extend_from_slice(&page.to_be_bytes());
            }
            Self::LogLine { job, channel, line, first } => {
                out.extend_from_slice(job.as_bytes());
                out.extend_from_slice(&channel.to_be_bytes());
                out.extend_from_slice(&line.to_be_bytes());
                out.extend_from_slice(&first.to_be_bytes());
            }
        }
    }

    /// Reads a key back.
    ///
    /// # Errors
    ///
    /// [`UnknownKey`] for bytes that [`StoreKey::encode`] does not make.
    pub fn decode(family: Family, bytes: &[u8]) -> Result<StoreKey, UnknownKey> {
        let unknown = || UnknownKey { key: Key::new(family, bytes.to_vec()) };
        let key = decode(bytes).ok_or_else(unknown)?;
        // Encoding again proves family, area, shard and length at once.
        let found = key.encode();
        if found.family == family && found.bytes == bytes { Ok(key) } else { Err(unknown()) }
    }
}

fn push_project(out: &mut Vec<u8>, project: &ProjectKey) {
    out.extend_from_slice(project.as_str().as_bytes());
    out.push(0);
}

fn decode(bytes: &[u8]) -> Option<StoreKey> {
    let mut rest = match bytes.split_first()? {
        (&CONTROL, rest) => Fields(rest),
        (&DATA, rest) => Fields(rest.get(1..)?),
        _ => return None,
    };
    let tag: [u8; 2] = rest.array()?;
    Some(match &tag {
        b"fv" => StoreKey::Format,
        b"sk" => StoreKey::ServerKey,
        b"pj" => StoreKey::Project { project: ProjectKey::new(rest.text()?).ok()? },
        b"pb" => StoreKey::ProjectBlob { project: rest.project()?, digest: rest.digest()? },
        b"sn" => StoreKey::Snapshot { project: rest.project()?, digest: rest.digest()? },
        b"jb" => StoreKey::Job { job: rest.job()? },
        b"js" => StoreKey::JobSpec { job: rest.job()?, part: u16::from_be_bytes(rest.array()?) },
        b"jp" => StoreKey::JobProperty { job: rest.job()?, name: rest.text()?.into() },
        b"jn" => StoreKey::JobNumber { project: rest.project()?, number: rest.u64()? },
        b"at" => StoreKey::Attempt { job: rest.job()?, attempt: AttemptNumber(rest.u32()?) },
        b"tk" => StoreKey::AttemptToken { hash: rest.digest()? },
        b"ta" => StoreKey::AdminToken { hash: rest.digest()? },
        b"jd" => StoreKey::JobDeleted { job: rest.job()? },
        b"rt" => StoreKey::Retention { project: ProjectKey::new(rest.text()?).ok()? },
        b"ch" => StoreKey::Channel { job: rest.job()?, channel: rest.u32()? },
        b"ct" => StoreKey::Chart { job: rest.job()?, number: rest.u32()? },
        b"ss" => StoreKey::Session { job: rest.job()?, session: rest.session()? },
        b"sb" => StoreKey::Bindings { job: rest.job()?, session: rest.session()?, part: rest.u32()? },
        b"dr" => StoreKey::Dropped { job: rest.job()? },
        b"ik" => StoreKey::Appended { job: rest.job()?, hash: rest.digest()? },
        b"fr" => StoreKey::Frame { job: rest.job()?, seq: rest.u64()? },
        b"sl" => StoreKey::Seal { job: rest.job()? },
        b"cs" => StoreKey::ChannelState { job: rest.job()?, channel: rest.u32()? },
        b"ck" => StoreKey::Chunk { job: rest.job()?, channel: rest.u32()?, first: rest.u64()? },
        b"tb" => StoreKey::TablePart {
            chunk: rest.u32()?,
            generation: rest.u64()?,
            part: u16::from_be_bytes(rest.array()?),
        },
        b"py" => StoreKey::Page {
            job: rest.job()?,
            channel: rest.u32()?,
            level: rest.array::<1>()?[0],
            page: rest.u64()?,
        },
        b"sh" => StoreKey::Sheet { job: rest.job()?, channel: rest.u32()?, first: rest.u64()? },
        b"ll" => StoreKey::LogLine {
            job: rest.job()?,
            channel: rest.u32()?,
            line: rest.u64()?,
            first: rest.u64()?,
        },
        _ => return None,
    })
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn job(&mut self) -> Option<JobUid> {
        self.array().map(JobUid::from_bytes)
    }

    fn session(&mut self) -> Option<SessionId> {
        self.array().map(SessionId::from_bytes)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    fn project(&mut self) -> Option<ProjectKey> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let project = ProjectKey::new(str::from_utf8(&self.0[..end]).ok()?).ok()?;
        self.0 = &self.0[end + 1..];
        Some(project)
    }

    /// All that is left.
    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(std::mem::take(&mut self.0)).ok()
    }
}

#[cfg(test)]
mod tests;
