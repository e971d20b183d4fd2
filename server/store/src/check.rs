//! Checks all that a store holds, by reading all of it: keys, records, frames and their numbers, what is sealed against
//! the states that count it, blobs. Changes nothing.
//!
//! What is damaged is told and passed over, so that one finding does not hide the next. Only a backend that cannot be
//! read ends a check. Memory: the numbers of one job's sessions, 100 bytes a sealed channel, and 32 bytes a blob.

mod sealed;
mod sheets;

use std::collections::{BTreeMap, BTreeSet};
use std::str;

use futures::StreamExt as _;
use neptune_kv::{Family, Key, KeyRange, Scan};
use neptune_wire::frame::{self, Block, FrameError};
use neptune_wire::{Digest, JobUid, SessionId};

use self::sealed::SealedCheck;
use self::sheets::SheetCheck;
use crate::blob::{BlobError, Blobs};
use crate::chunk::ChunkError;
use crate::key::{StoreKey, UnknownKey};
use crate::pyramid::{Page, PageError};
use crate::record::{
    AdminTokenRecord, AppendedRecord, AttemptRecord, BindingsRecord, ChannelRecord, ChannelStateRecord,
    ChartRecord, DIRECT_SESSION, DeletedRecord, DroppedRecord, JobRecord, JobSpec, ProjectRecord, Record,
    RecordError, RetentionRecord, SealRecord, SessionRecord, TokenRecord, UnneededRecord,
};
use crate::sheet::SheetError;
use crate::store::{FormatRecord, Store, StoreError};

/// What a check has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys with their values; frames and what is sealed of them aside.
    pub records: u64,
    /// Frames of the log.
    pub frames: u64,
    /// Points in them.
    pub points: u64,
    /// Chunks of sealed points.
    pub chunks: u64,
    /// Pages of the pyramid over them.
    pub pages: u64,
    /// Sheets of sealed lines, logs and images.
    pub sheets: u64,
    /// Blobs that some project may see.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Blobs and snapshots, of all projects, that no job names; the collector lets go of them after some time.
    pub unneeded: u64,
    /// Files of blobs that no project holds, and parts of broken writes; the collector removes them.
    pub leftovers: u64,
    /// Their bytes.
    pub leftover_bytes: u64,
    /// Jobs whose removal goes on at the next start.
    pub removing: u64,
}

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
    /// A blob that cannot be read.
    #[error("blob {digest} cannot be read: {source}")]
    UnreadableBlob {
        /// Which.
        digest: Digest,
        /// What the disk said.
        source: BlobError,
    },
}

impl Store {
    /// Reads everything and tells what is damaged.
    ///
    /// # Errors
    ///
    /// When the backend cannot be read; what was found until then has been told.
    pub async fn check(
        &self,
        blobs: &Blobs,
        tell: &mut (dyn FnMut(Damage) + Send),
    ) -> Result<Checked, StoreError> {
        let checked = Checked::default();
        let mut check = Check {
            store: self,
            tell,
            checked,
            spec: None,
            log: None,
            sealed: SealedCheck::default(),
            sheets: SheetCheck::default(),
            digests: BTreeSet::new(),
            removing: BTreeSet::new(),
        };
        for family in Family::ALL {
            check.read_family(family).await?;
        }
        check.sealed.end(check.tell);
        check.sheets.end(check.tell);
        let held = check.read_blobs(blobs).await;
        check.read_leftovers(blobs, &held).await;
        Ok(check.checked)
    }
}

struct Check<'a> {
    store: &'a Store,
    tell: &'a mut (dyn FnMut(Damage) + Send),
    checked: Checked,
    /// The parts of the spec that is being read.
    spec: Option<(JobUid, Vec<u8>)>,
    /// The log that is being read: its job, and the last number of each of its sessions.
    log: Option<(JobUid, BTreeMap<SessionId, u64>)>,
    sealed: SealedCheck,
    sheets: SheetCheck,
    digests: BTreeSet<Digest>,
    /// Jobs of which any part may be gone. Their deletions are in the control shard, which sorts before all they produced.
    removing: BTreeSet<JobUid>,
}

impl Check<'_> {
    async fn read_family(&mut self, family: Family) -> Result<(), StoreError> {
        let mut next = Some(KeyRange::all(family));
        while let Some(range) = next {
            let page = self.store.kv().scan(Scan::ascending(range)).await?;
            for (key, value) in page.rows {
                match StoreKey::decode(family, &key) {
                    Ok(key) if key.data_job().is_some_and(|job| self.removing.contains(job)) => {}
                    Ok(StoreKey::Frame { job, seq }) => self.read_frame(job, seq, &value).await?,
                    Ok(StoreKey::Chunk { job, channel, first }) => {
                        self.checked.chunks += 1;
                        self.sealed.add_chunk(self.store, (job, channel, first), &value, self.tell).await?;
                    }
                    Ok(StoreKey::Page { level, .. }) => {
                        self.checked.pages += 1;
                        if let Err(source) = Page::decode(level, &value) {
                            (self.tell)(Damage::Page { key: Key::new(family, key), source });
                        }
                    }
                    Ok(StoreKey::Sheet { job, channel, first }) => {
                        self.checked.sheets += 1;
                        self.sheets.add_sheet(self.store, (job, channel, first), &value, self.tell).await?;
                    }
                    Ok(key) => self.read_record(&key, &value).await?,
                    Err(unknown) => (self.tell)(unknown.into()),
                }
            }
            next = page.rest;
        }
        self.end_spec();
        self.end_log().await
    }

    async fn read_record(&mut self, key: &StoreKey, value: &[u8]) -> Result<(), StoreError> {
        self.checked.records += 1;
        match key {
            StoreKey::Format => self.decode::<FormatRecord>(key, value),
            StoreKey::Project { .. } => self.decode::<ProjectRecord>(key, value),
            StoreKey::Job { .. } => self.decode::<JobRecord>(key, value),
            StoreKey::Attempt { .. } => self.decode::<AttemptRecord>(key, value),
            StoreKey::AttemptToken { .. } => self.decode::<TokenRecord>(key, value),
            StoreKey::AdminToken { .. } => self.decode::<AdminTokenRecord>(key, value),
            StoreKey::Channel { .. } => self.decode::<ChannelRecord>(key, value),
            StoreKey::Chart { .. } => self.decode::<ChartRecord>(key, value),
            StoreKey::Session { .. } => self.decode::<SessionRecord>(key, value),
            StoreKey::Bindings { .. } => self.decode::<BindingsRecord>(key, value),
            StoreKey::Dropped { .. } => self.decode::<DroppedRecord>(key, value),
            StoreKey::Appended { .. } => self.decode::<AppendedRecord>(key, value),
            StoreKey::JobSpec { job, part } => self.gather_spec(*job, *part, value),
            StoreKey::ServerKey => self.expect(value.len() == 32, key, "the server's key of 32 bytes"),
            StoreKey::JobProperty { .. } => self.expect(str::from_utf8(value).is_ok(), key, "UTF-8 text"),
            StoreKey::JobNumber { .. } => return self.read_job_number(key, value).await,
            StoreKey::JobDeleted { job } => match DeletedRecord::decode(value) {
                Ok(deleted) if deleted.removing => {
                    self.checked.removing += 1;
                    self.removing.insert(*job);
                }
                Ok(_) => {}
                Err(source) => (self.tell)(Damage::Record { key: key.encode(), source }),
            },
            StoreKey::Retention { .. } => self.decode::<RetentionRecord>(key, value),
            StoreKey::Snapshot { digest, .. } | StoreKey::ProjectBlob { digest, .. } => {
                self.digests.insert(*digest);
                if !value.is_empty() {
                    self.checked.unneeded += 1;
                    self.decode::<UnneededRecord>(key, value);
                }
            }
            StoreKey::Seal { .. } => self.decode::<SealRecord>(key, value),
            StoreKey::ChannelState { job, channel } => match ChannelStateRecord::decode(value) {
                Ok(record) => {
                    self.sealed.add_state(*job, *channel, &record);
                    self.sheets.add_state(*job, *channel, &record);
                }
                Err(source) => (self.tell)(Damage::Record { key: key.encode(), source }),
            },
            StoreKey::TablePart { .. } => {
                self.expect(crate::table::is_part(value), key, "a piece of the saved job table");
            }
            StoreKey::LogLine { job, channel, first, .. } => {
                self.expect(value.is_empty(), key, "empty");
                let sheet = StoreKey::Sheet { job: *job, channel: *channel, first: *first };
                if !self.store.has(&sheet).await? {
                    (self.tell)(Damage::Missing { key: key.encode(), what: "the sheet of this line" });
                }
            }
            StoreKey::Frame { .. }
            | StoreKey::Chunk { .. }
            | StoreKey::Page { .. }
            | StoreKey::Sheet { .. } => {}
        }
        Ok(())
    }

    fn decode<R: Record>(&mut self, key: &StoreKey, value: &[u8]) {
        if let Err(source) = R::decode(value) {
            (self.tell)(Damage::Record { key: key.encode(), source });
        }
    }

    fn expect(&mut self, holds: bool, key: &StoreKey, wanted: &'static str) {
        if !holds {
            (self.tell)(Damage::Value { key: key.encode(), wanted });
        }
    }

    async fn read_job_number(&mut self, key: &StoreKey, value: &[u8]) -> Result<(), StoreError> {
        let Ok(uid) = value.try_into() else {
            self.expect(false, key, "a job's uid of 16 bytes");
            return Ok(());
        };
        if !self.store.has(&StoreKey::Job { job: JobUid::from_bytes(uid) }).await? {
            (self.tell)(Damage::Missing { key: key.encode(), what: "the job of this number" });
        }
        Ok(())
    }

    /// Parts of one spec follow each other.
    fn gather_spec(&mut self, job: JobUid, part: u16, value: &[u8]) {
        if part == 0 {
            self.end_spec();
        }
        let (of, spec) = self.spec.get_or_insert_with(|| (job, Vec::new()));
        if *of == job {
            spec.extend_from_slice(value);
        } else {
            let key = StoreKey::JobSpec { job, part }.encode();
            (self.tell)(Damage::Missing { key, what: "the part before it" });
        }
    }

    fn end_spec(&mut self) {
        if let Some((job, spec)) = self.spec.take() {
            self.decode::<JobSpec>(&StoreKey::JobSpec { job, part: 0 }, &spec);
        }
    }

    async fn read_frame(&mut self, job: JobUid, seq: u64, value: &[u8]) -> Result<(), StoreError> {
        if self.log.as_ref().is_some_and(|(of, _)| *of != job) {
            self.end_log().await?;
        }
        self.checked.frames += 1;
        let frame = match frame::parse(value) {
            Ok(frame) => frame,
            Err(source) => {
                (self.tell)(Damage::Frame { job, seq, source });
                return Ok(());
            }
        };
        let points = |(_, block): &(u32, Block<'_>)| match block {
            Block::Dropped(_) => 0,
            block => u64::from(block.count()),
        };
        self.checked.points += frame.blocks.iter().map(points).sum::<u64>();
        let (_, sessions) = self.log.get_or_insert_with(|| (job, BTreeMap::new()));
        let frame::Header { session, seq: number } = frame.header;
        // What came as JSON has no session and numbers of no meaning.
        if session == DIRECT_SESSION {
            return Ok(());
        }
        let before = sessions.insert(session, number).unwrap_or(0);
        if number <= before {
            (self.tell)(Damage::Order { job, seq, session, number, before });
        }
        Ok(())
    }

    /// Compares the numbers of a log's frames with the marks that were written beside them.
    async fn end_log(&mut self) -> Result<(), StoreError> {
        let Some((job, sessions)) = self.log.take() else { return Ok(()) };
        for (session, number) in sessions {
            let record = self.store.find::<SessionRecord>(&StoreKey::Session { job, session }).await;
            let mark = match record {
                Ok(record) => record.map_or(0, |record| record.mark),
                // Told when the record itself was read.
                Err(StoreError::Record { .. }) => continue,
                Err(error) => return Err(error),
            };
            if number > mark {
                (self.tell)(Damage::Mark { job, session, number, mark });
            }
        }
        Ok(())
    }

    /// Answers what projects hold.
    async fn read_blobs(&mut self, blobs: &Blobs) -> BTreeSet<Digest> {
        let held = std::mem::take(&mut self.digests);
        for &digest in &held {
            self.checked.blobs += 1;
            match hash_blob(blobs, &digest).await {
                Ok(Some((found, size_bytes))) => {
                    self.checked.blob_bytes += size_bytes;
                    if found != digest {
                        (self.tell)(Damage::Blob { digest, found });
                    }
                }
                Ok(None) => (self.tell)(Damage::NoBlob { digest }),
                Err(source) => (self.tell)(Damage::UnreadableBlob { digest, source }),
            }
        }
        held
    }

    /// Counts what lies beside them; that is no damage, and a folder that cannot be listed is told.
    async fn read_leftovers(&mut self, blobs: &Blobs, held: &BTreeSet<Digest>) {
        let mut listed = blobs.list();
        while let Some(blob) = listed.next().await {
            match blob {
                Ok(blob) if held.contains(&blob.digest) => {}
                Ok(blob) => self.count_leftover(blob.size_bytes),
                Err(source) => return (self.tell)(Damage::UnlistedBlobs { source }),
            }
        }
        match blobs.list_leftovers().await {
            Ok(leftovers) => leftovers.iter().for_each(|leftover| self.count_leftover(leftover.size_bytes)),
            Err(source) => (self.tell)(Damage::UnlistedBlobs { source }),
        }
    }

    fn count_leftover(&mut self, size_bytes: u64) {
        self.checked.leftovers += 1;
        self.checked.leftover_bytes += size_bytes;
    }
}

/// Digest and length of a blob's bytes; `None` when there are none.
async fn hash_blob(blobs: &Blobs, digest: &Digest) -> Result<Option<(Digest, u64)>, BlobError> {
    let Some(mut blob) = blobs.find(digest).await? else { return Ok(None) };
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = blob.bytes.next().await {
        hasher.update(&piece.map_err(BlobError::Source)?);
    }
    Ok(Some((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count())))
}

#[cfg(test)]
mod tests;
