//! Checks all that a store holds, by reading all of it: keys, records, frames and their numbers, what is sealed against
//! the states that count it, blobs and what names them. Changes nothing.
//!
//! What is damaged is told and passed over, so that one finding does not hide the next. A family of keys that the backend
//! cannot read on is told of, too, and what is compared with it is left out. Memory: the numbers of one job's sessions, 100 bytes a sealed channel, some 40 bytes a job and a blob.

mod blobs;
mod damage;
mod sealed;
mod sheets;

use std::collections::{BTreeMap, BTreeSet};
use std::str;

use neptune_kv::{Family, Key, KeyRange, Scan};
use neptune_wire::frame::{self, Block};
use neptune_wire::{Digest, JobUid, SessionId};

use self::blobs::BlobCheck;
pub use self::damage::Damage;
use self::sealed::SealedCheck;
use self::sheets::SheetCheck;
use crate::blob::Blobs;
use crate::key::StoreKey;
use crate::pyramid::Page;
use crate::record::{
    AdminTokenRecord, AppendedRecord, AttemptRecord, BindingsRecord, ChannelRecord, ChannelStateRecord,
    ChartRecord, DIRECT_SESSION, DeletedRecord, DroppedRecord, JobRecord, JobSpec, ProjectRecord, Record,
    RetentionRecord, SealRecord, SessionRecord, TokenRecord, UnneededRecord,
};
use crate::sheet::{ImageRow, Row as _, Sheet};
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

impl Store {
    /// Reads everything and tells what is damaged.
    pub async fn check(&self, blobs: &Blobs, tell: &mut (dyn FnMut(Damage) + Send)) -> Checked {
        let checked = Checked::default();
        let mut check = Check {
            store: self,
            tell,
            checked,
            spec: None,
            log: None,
            sealed: SealedCheck::default(),
            sheets: SheetCheck::default(),
            blobs: BlobCheck::default(),
            removing: BTreeSet::new(),
            knows_state: true,
        };
        // What names an image is read after what says who holds it.
        check.knows_state = check.read_or_tell(Family::State).await;
        if check.knows_state {
            check.blobs.compare_snapshots(blobs, &check.removing, check.tell).await;
        }
        check.read_or_tell(Family::Log).await;
        let is_all_there = check.read_or_tell(Family::Bulk).await;
        if check.knows_state && is_all_there {
            check.sealed.end(check.tell);
            check.sheets.end(check.tell);
        }
        check.blobs.read_bytes(blobs, &mut check.checked, check.tell).await;
        check.checked
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
    blobs: BlobCheck,
    /// Jobs of which any part may be gone. Their deletions are in the control shard, which sorts before all they produced.
    removing: BTreeSet<JobUid>,
    /// All of the state was read, with which the rest is compared.
    knows_state: bool,
}

impl Check<'_> {
    /// Whether all of a family could be read.
    async fn read_or_tell(&mut self, family: Family) -> bool {
        let read = self.read_family(family).await;
        read.map_err(|source| (self.tell)(Damage::Unreadable { family, source })).is_ok()
    }

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
                        self.compare_images(job, first, &value);
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
            StoreKey::Format => self.read::<FormatRecord>(key, value),
            StoreKey::Project { .. } => self.read::<ProjectRecord>(key, value),
            StoreKey::Job { job } => {
                if let Some(record) = self.decode::<JobRecord>(key, value) {
                    self.blobs.add_job(*job, &record.project);
                }
            }
            StoreKey::Attempt { .. } => self.read::<AttemptRecord>(key, value),
            StoreKey::AttemptToken { .. } => self.read::<TokenRecord>(key, value),
            StoreKey::AdminToken { .. } => self.read::<AdminTokenRecord>(key, value),
            StoreKey::Channel { .. } => self.read::<ChannelRecord>(key, value),
            StoreKey::Chart { .. } => self.read::<ChartRecord>(key, value),
            StoreKey::Session { .. } => self.read::<SessionRecord>(key, value),
            StoreKey::Bindings { .. } => self.read::<BindingsRecord>(key, value),
            StoreKey::Dropped { .. } => self.read::<DroppedRecord>(key, value),
            StoreKey::Appended { .. } => self.read::<AppendedRecord>(key, value),
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
            StoreKey::Retention { .. } => self.read::<RetentionRecord>(key, value),
            StoreKey::Snapshot { project, digest } | StoreKey::ProjectBlob { project, digest } => {
                self.blobs.add_held(project, *digest, matches!(key, StoreKey::Snapshot { .. }));
                if !value.is_empty() {
                    self.checked.unneeded += 1;
                    self.read::<UnneededRecord>(key, value);
                }
            }
            StoreKey::Seal { .. } => self.read::<SealRecord>(key, value),
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

    /// Reads a record that nothing else is asked of.
    fn read<R: Record>(&mut self, key: &StoreKey, value: &[u8]) {
        let _whole_or_told = self.decode::<R>(key, value);
    }

    /// The record; `None` where it is damaged, which is told.
    fn decode<R: Record>(&mut self, key: &StoreKey, value: &[u8]) -> Option<R> {
        let decoded = R::decode(value).map_err(|source| Damage::Record { key: key.encode(), source });
        decoded.map_err(&mut self.tell).ok()
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
        let Some((job, spec)) = self.spec.take() else { return };
        let spec = self.decode::<JobSpec>(&StoreKey::JobSpec { job, part: 0 }, &spec);
        if let Some(snapshot) = spec.and_then(|spec| spec.snapshot) {
            self.blobs.add_named(job, snapshot);
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
        for (_, block) in &frame.blocks {
            if let Block::Images(images) = block {
                images.entries().for_each(|image| self.compare_image(job, image.digest));
            }
        }
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

    /// Looks for the images of a sheet; one that cannot be read is told where its rows are counted.
    fn compare_images(&mut self, job: JobUid, first: u64, value: &bytes::Bytes) {
        if value.get(1) != Some(&ImageRow::KIND) {
            return;
        }
        if let Ok(sheet) = Sheet::<ImageRow>::decode(first, value) {
            sheet.rows.iter().for_each(|row| self.compare_image(job, row.digest));
        }
    }

    fn compare_image(&mut self, job: JobUid, digest: Digest) {
        if self.knows_state {
            self.blobs.compare_image(job, digest, self.tell);
        }
    }

    /// Compares the numbers of a log's frames with the marks that were written beside them.
    async fn end_log(&mut self) -> Result<(), StoreError> {
        let Some((job, sessions)) = self.log.take().filter(|_| self.knows_state) else { return Ok(()) };
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
}

#[cfg(test)]
mod tests;
