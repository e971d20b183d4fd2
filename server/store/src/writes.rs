//! One commit being put together, in nouns.
//!
//! Every method that changes something also says what must still be so. A batch that was written does not hold its own
//! conditions any more: what is created was absent, what is replaced had another value (marks and revisions only grow).
//! So a batch whose fate was unknown may be tried again, and an older try that comes true late changes nothing.

use bytes::Bytes;
use neptune_kv::{Batch, Key, Limits};
use neptune_wire::{AttemptNumber, Digest, JobUid, ProjectKey, SessionId};

use crate::key::StoreKey;
use crate::life::{Held, value_of_held};
use crate::record::{
    AdminTokenRecord, AppendedRecord, AttemptRecord, BindingsRecord, ChannelRecord, ChannelStateRecord,
    ChartRecord, DeletedRecord, DroppedRecord, JobRecord, JobSpec, ProjectRecord, Record, RetentionRecord,
    SealRecord, SessionRecord, TokenRecord, UnneededRecord,
};
use crate::sheet::Place;

/// Longest piece of a job's spec; a value is at most 64 KiB.
const SPEC_PART_BYTES: usize = 60 << 10;

/// Changes that are made together. A clone shares the values.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    batch: Batch,
    size_bytes: usize,
}

impl Writes {
    /// None yet.
    pub fn new() -> Writes {
        Writes::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.batch.put.is_empty() && self.batch.delete.is_empty()
    }

    /// Conditions and changes together, as limits count them.
    pub fn ops(&self) -> usize {
        self.batch.ops()
    }

    /// Keys and values together, as limits count them.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }

    fn expect(&mut self, key: &Key, value: Option<Bytes>) {
        self.size_bytes += key.bytes.len() + value.as_ref().map_or(0, Bytes::len);
        self.batch.expect.push((key.clone(), value));
    }

    fn put(&mut self, key: Key, value: Bytes) {
        self.size_bytes += key.bytes.len() + value.len();
        self.batch.put.push((key, value));
    }

    fn delete(&mut self, key: Key) {
        self.size_bytes += key.bytes.len();
        self.batch.delete.push(key);
    }

    fn create(&mut self, key: StoreKey, record: &impl Record) {
        let key = key.encode();
        self.expect(&key, None);
        self.put(key, record.encode());
    }

    fn replace<R: Record>(&mut self, key: StoreKey, old: &R, new: &R) {
        let key = key.encode();
        self.expect(&key, Some(old.encode()));
        self.put(key, new.encode());
    }

    /// A new project.
    pub fn create_project(&mut self, project: &ProjectKey, record: &ProjectRecord) {
        self.create(StoreKey::Project { project: project.clone() }, record);
    }

    /// A project's counter, or whatever else changed of it.
    pub fn replace_project(&mut self, project: &ProjectKey, old: &ProjectRecord, new: &ProjectRecord) {
        self.replace(StoreKey::Project { project: project.clone() }, old, new);
    }

    /// A project may see a blob from now on.
    pub fn put_project_blob(&mut self, project: &ProjectKey, digest: &Digest) {
        self.put(StoreKey::ProjectBlob { project: project.clone(), digest: *digest }.encode(), Bytes::new());
    }

    /// A project has a snapshot, all of whose blobs are there.
    pub fn put_snapshot(&mut self, project: &ProjectKey, digest: &Digest) {
        self.put(StoreKey::Snapshot { project: project.clone(), digest: *digest }.encode(), Bytes::new());
    }

    /// Whether a blob of a project is needed, as far as is known; `old` is how it is held now.
    pub fn replace_project_blob(
        &mut self,
        project: &ProjectKey,
        old: &Held,
        unneeded: Option<UnneededRecord>,
    ) {
        let key = StoreKey::ProjectBlob { project: project.clone(), digest: old.digest };
        self.replace_held(&key, old, unneeded);
    }

    /// The same of a snapshot.
    pub fn replace_snapshot(&mut self, project: &ProjectKey, old: &Held, unneeded: Option<UnneededRecord>) {
        let key = StoreKey::Snapshot { project: project.clone(), digest: old.digest };
        self.replace_held(&key, old, unneeded);
    }

    fn replace_held(&mut self, key: &StoreKey, old: &Held, unneeded: Option<UnneededRecord>) {
        debug_assert!(old.unneeded != unneeded);
        let key = key.encode();
        self.expect(&key, Some(value_of_held(old.unneeded.as_ref())));
        self.put(key, value_of_held(unneeded.as_ref()));
    }

    /// A project lets go of a blob; the bytes go later, if no project holds them.
    pub fn delete_project_blob(&mut self, project: &ProjectKey, old: &Held) {
        let key = StoreKey::ProjectBlob { project: project.clone(), digest: old.digest }.encode();
        self.expect(&key, Some(value_of_held(old.unneeded.as_ref())));
        self.delete(key);
    }

    /// A project lets go of a snapshot, before any of its files.
    pub fn delete_snapshot(&mut self, project: &ProjectKey, old: &Held) {
        let key = StoreKey::Snapshot { project: project.clone(), digest: old.digest }.encode();
        self.expect(&key, Some(value_of_held(old.unneeded.as_ref())));
        self.delete(key);
    }

    /// A job's deletion, or what became of it; the job's record is replaced in the same commit.
    pub fn put_deleted(&mut self, job: &JobUid, record: &DeletedRecord) {
        self.put(StoreKey::JobDeleted { job: *job }.encode(), record.encode());
    }

    /// The deletion is undone; the job's record is replaced in the same commit.
    pub fn delete_deleted(&mut self, job: &JobUid) {
        self.delete(StoreKey::JobDeleted { job: *job }.encode());
    }

    /// An attempt of a job that is being removed, with its token.
    pub fn delete_attempt(&mut self, job: &JobUid, attempt: AttemptNumber, token_hash: &Digest) {
        self.delete(StoreKey::Attempt { job: *job, attempt }.encode());
        self.delete(StoreKey::AttemptToken { hash: *token_hash }.encode());
    }

    /// The last of a job that is being removed: its own record, `rest` of those beside it, and its deletion.
    pub(crate) fn delete_job(
        &mut self,
        job: &JobUid,
        record: &JobRecord,
        rest: impl IntoIterator<Item = StoreKey>,
    ) {
        let key = StoreKey::Job { job: *job }.encode();
        self.expect(&key, Some(record.encode()));
        self.delete(key);
        self.delete(StoreKey::JobNumber { project: record.project.clone(), number: record.number }.encode());
        rest.into_iter().for_each(|key| self.delete(key.encode()));
        self.delete_deleted(job);
    }

    /// A project's rules of retention; its record is replaced in the same commit or they are written alone.
    pub fn put_retention(&mut self, project: &ProjectKey, record: &RetentionRecord) {
        self.put(StoreKey::Retention { project: project.clone() }.encode(), record.encode());
    }

    /// A new job with all that belongs to it; its project's counter goes beside it.
    pub fn create_job<'a>(
        &mut self,
        job: &JobUid,
        record: &JobRecord,
        spec: &JobSpec,
        properties: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        self.create(StoreKey::Job { job: *job }, record);
        let number = StoreKey::JobNumber { project: record.project.clone(), number: record.number };
        self.put(number.encode(), Bytes::copy_from_slice(job.as_bytes()));
        let spec = spec.encode();
        for (part, at) in (0..).zip((0..spec.len()).step_by(SPEC_PART_BYTES)) {
            let piece = spec.slice(at..spec.len().min(at + SPEC_PART_BYTES));
            self.put(StoreKey::JobSpec { job: *job, part }.encode(), piece);
        }
        for (name, text) in properties {
            self.put_property(job, name, text);
        }
    }

    /// The same, with a number that the project's counter may have passed: nothing may have it.
    pub fn create_numbered_job<'a>(
        &mut self,
        job: &JobUid,
        record: &JobRecord,
        spec: &JobSpec,
        properties: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        let number = StoreKey::JobNumber { project: record.project.clone(), number: record.number };
        self.expect(&number.encode(), None);
        self.create_job(job, record, spec, properties);
    }

    /// What changed of a job; `new.revision` must be above `old.revision`.
    pub fn replace_job(&mut self, job: &JobUid, old: &JobRecord, new: &JobRecord) {
        debug_assert!(new.revision > old.revision);
        self.replace(StoreKey::Job { job: *job }, old, new);
    }

    /// Sets a property; the job's record is replaced in the same commit.
    pub fn put_property(&mut self, job: &JobUid, name: &str, text: &str) {
        let key = StoreKey::JobProperty { job: *job, name: name.into() };
        self.put(key.encode(), Bytes::copy_from_slice(text.as_bytes()));
    }

    /// Removes a property; the job's record is replaced in the same commit.
    pub fn delete_property(&mut self, job: &JobUid, name: &str) {
        self.delete(StoreKey::JobProperty { job: *job, name: name.into() }.encode());
    }

    /// A new attempt and the hash of its token.
    pub fn create_attempt(
        &mut self,
        job: &JobUid,
        attempt: AttemptNumber,
        record: &AttemptRecord,
        token_hash: &Digest,
    ) {
        self.create(StoreKey::Attempt { job: *job, attempt }, record);
        let token = TokenRecord { job: *job, attempt };
        self.put(StoreKey::AttemptToken { hash: *token_hash }.encode(), token.encode());
    }

    /// How an attempt ended; the job's record is replaced in the same commit.
    pub fn put_attempt(&mut self, job: &JobUid, attempt: AttemptNumber, record: &AttemptRecord) {
        self.put(StoreKey::Attempt { job: *job, attempt }.encode(), record.encode());
    }

    /// An administrator's token.
    pub fn create_admin_token(&mut self, token_hash: &Digest, record: &AdminTokenRecord) {
        self.create(StoreKey::AdminToken { hash: *token_hash }, record);
    }

    /// A new channel; numbers count from 0 without gaps, so that its absence proves that nobody else made one.
    pub fn create_channel(&mut self, job: &JobUid, channel: u32, record: &ChannelRecord) {
        self.create(StoreKey::Channel { job: *job, channel }, record);
    }

    /// A new chart; numbers count from 0 without gaps.
    pub fn create_chart(&mut self, job: &JobUid, number: u32, record: &ChartRecord) {
        self.create(StoreKey::Chart { job: *job, number }, record);
    }

    /// A new session.
    pub fn create_session(&mut self, job: &JobUid, session: &SessionId, record: &SessionRecord) {
        self.create(StoreKey::Session { job: *job, session: *session }, record);
    }

    /// A session's mark; it grows.
    pub fn replace_session(
        &mut self,
        job: &JobUid,
        session: &SessionId,
        old: &SessionRecord,
        new: &SessionRecord,
    ) {
        debug_assert!(new.mark > old.mark);
        self.replace(StoreKey::Session { job: *job, session: *session }, old, new);
    }

    /// Further channel numbers of a session; parts count from 0 without gaps.
    pub fn create_bindings(&mut self, job: &JobUid, session: &SessionId, part: u32, record: &BindingsRecord) {
        self.create(StoreKey::Bindings { job: *job, session: *session, part }, record);
    }

    /// A piece of the saved job table. Pieces of a generation that is not whole are passed over.
    pub fn put_table_part(&mut self, chunk: u32, generation: u64, part: u16, piece: Bytes) {
        self.put(StoreKey::TablePart { chunk, generation, part }.encode(), piece);
    }

    /// Frees a piece of an older generation.
    pub fn delete_table_part(&mut self, chunk: u32, generation: u64, part: u16) {
        let key = StoreKey::TablePart { chunk, generation, part }.encode();
        self.size_bytes += key.bytes.len();
        self.batch.delete.push(key);
    }

    /// The job's dropped points until now; a mark is replaced in the same commit.
    pub fn put_dropped(&mut self, job: &JobUid, record: &DroppedRecord) {
        self.put(StoreKey::Dropped { job: *job }.encode(), record.encode());
    }

    /// Remembers an idempotency key.
    pub fn create_appended(&mut self, job: &JobUid, hash: &Digest, record: &AppendedRecord) {
        self.create(StoreKey::Appended { job: *job, hash: *hash }, record);
    }

    /// A frame at its place in the job's log; a mark or an idempotency key goes beside it.
    pub fn put_frame(&mut self, job: &JobUid, seq: u64, frame: Bytes) {
        self.put(StoreKey::Frame { job: *job, seq }.encode(), frame);
    }

    /// Frees a frame that the job's channels hold by now.
    pub fn delete_frame(&mut self, job: &JobUid, seq: u64) {
        self.delete(StoreKey::Frame { job: *job, seq }.encode());
    }

    /// The state of a channel; chunks and pages go beside it, and the job's seal is replaced in the same commit.
    pub fn put_channel_state(&mut self, job: &JobUid, channel: u32, record: &ChannelStateRecord) {
        self.put(StoreKey::ChannelState { job: *job, channel }.encode(), record.encode());
    }

    /// How far a job is sealed, in place of what was; one of its numbers grows.
    pub fn put_seal(&mut self, job: &JobUid, old: Option<&SealRecord>, new: &SealRecord) {
        debug_assert!(old.is_none_or(|old| (old.cleared, old.commits) < (new.cleared, new.commits)));
        let key = StoreKey::Seal { job: *job };
        match old {
            Some(old) => self.replace(key, old, new),
            None => self.create(key, new),
        }
    }

    /// A chunk whose first point has this number in its channel.
    pub fn put_chunk(&mut self, job: &JobUid, channel: u32, first: u64, chunk: Bytes) {
        self.put(StoreKey::Chunk { job: *job, channel, first }.encode(), chunk);
    }

    /// A chunk whose points are in another one from now on.
    pub fn delete_chunk(&mut self, job: &JobUid, channel: u32, first: u64) {
        let key = StoreKey::Chunk { job: *job, channel, first }.encode();
        self.size_bytes += key.bytes.len();
        self.batch.delete.push(key);
    }

    /// A page of the pyramid.
    pub fn put_page(&mut self, job: &JobUid, channel: u32, level: u8, page: u64, bytes: Bytes) {
        self.put(StoreKey::Page { job: *job, channel, level, page }.encode(), bytes);
    }

    /// Sealed lines or images, in place of a sheet that held the first of them.
    pub fn put_sheet(&mut self, job: &JobUid, channel: u32, first: u64, sheet: Bytes) {
        self.put(StoreKey::Sheet { job: *job, channel, first }.encode(), sheet);
    }

    /// A sealed stretch of a log, and from which line it is found.
    pub fn put_log_sheet(&mut self, job: &JobUid, channel: u32, place: Place, sheet: Bytes) {
        let Place { at: first, lines: line, .. } = place;
        self.put_sheet(job, channel, first, sheet);
        self.put(StoreKey::LogLine { job: *job, channel, line, first }.encode(), Bytes::new());
    }

    /// Whether `others` fit in the same commit.
    pub fn has_room_for(&self, others: &Writes, limits: &Limits) -> bool {
        self.ops() + others.ops() <= limits.batch_ops
            && self.size_bytes + others.size_bytes <= limits.batch_bytes
    }

    /// Adds the changes of others.
    pub fn append(&mut self, others: Writes) {
        self.size_bytes += others.size_bytes;
        self.batch.expect.extend(others.batch.expect);
        self.batch.put.extend(others.batch.put);
        self.batch.delete.extend(others.batch.delete);
    }
}
