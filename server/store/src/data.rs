//! Reading the data shards: what jobs produced, and the log of frames.

use bytes::Bytes;
use neptune_kv::KeyRange;
use neptune_wire::{ChannelKind, Chart, Digest, JobUid, SessionId};

use crate::key::{StoreKey, Tag};
use crate::record::{
    AppendedRecord, BindingsRecord, ChannelRecord, ChartRecord, DroppedRecord, SessionRecord,
};
use crate::store::{Store, StoreError, record_at};

/// All that a data shard knows of one job, frames aside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobTables {
    /// By number, from 0.
    pub channels: Vec<ChannelRecord>,
    /// By number, from 0.
    pub charts: Vec<Chart>,
    /// By id.
    pub sessions: Vec<StoredSession>,
}

/// A session with its bindings.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// Attempt and mark.
    pub record: SessionRecord,
    /// The session's numbers and the job's channels, in the order they were bound.
    pub bindings: Vec<(u32, u32)>,
    /// How many records hold them.
    pub binding_parts: u32,
}

/// A stretch of a job's log.
#[derive(Debug, Clone)]
pub struct FramePage {
    /// Sequence and frame, in order.
    pub frames: Vec<(u64, Bytes)>,
    /// Where the log goes on.
    pub rest: Option<FrameRange>,
}

/// A part of a job's log that is still to be read.
#[derive(Debug, Clone)]
pub struct FrameRange(KeyRange);

impl FrameRange {
    /// A job's log behind a frame; all of it behind 0.
    pub fn of_job_after(job: &JobUid, seq: u64) -> FrameRange {
        let start = StoreKey::Frame { job: *job, seq: seq.saturating_add(1) }.encode().bytes;
        FrameRange(KeyRange { start, ..Tag::Frame.job_range(job) })
    }
}

impl Store {
    /// Channels, charts and sessions of a job; all empty for a job that has none.
    pub async fn read_job_tables(&self, job: &JobUid) -> Result<JobTables, StoreError> {
        let mut tables = JobTables::default();
        for (key, value) in self.scan_all(Tag::Channel.job_range(job)).await? {
            tables.channels.push(record_at(&key, &value)?);
        }
        for (key, value) in self.scan_all(Tag::Chart.job_range(job)).await? {
            tables.charts.push(record_at::<ChartRecord>(&key, &value)?.into());
        }
        for (key, value) in self.scan_all(Tag::Session.job_range(job)).await? {
            let StoreKey::Session { session: id, .. } = key else { continue };
            let record = record_at(&key, &value)?;
            tables.sessions.push(StoredSession { id, record, bindings: vec![], binding_parts: 0 });
        }
        for (key, value) in self.scan_all(Tag::Bindings.job_range(job)).await? {
            let StoreKey::Bindings { session: id, part, .. } = key else { continue };
            let record: BindingsRecord = record_at(&key, &value)?;
            // Both tables are ordered by session, so the search is over what was just read in that order.
            let found = tables.sessions.binary_search_by_key(&id, |session| session.id);
            let Ok(at) = found else {
                return Err(StoreError::Missing { what: "the session of bindings", key: key.encode() });
            };
            tables.sessions[at].bindings.extend(record.channels);
            tables.sessions[at].binding_parts = part + 1;
        }
        Ok(tables)
    }

    /// Whether a job has a channel of a kind.
    pub async fn has_channel_of(&self, job: &JobUid, kind: ChannelKind) -> Result<bool, StoreError> {
        for (key, value) in self.scan_all(Tag::Channel.job_range(job)).await? {
            if record_at::<ChannelRecord>(&key, &value)?.kind == kind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One page of a job's log.
    pub async fn read_frames(&self, range: FrameRange) -> Result<FramePage, StoreError> {
        let (rows, rest) = self.scan(range.0).await?;
        let frame = |(key, value)| match key {
            StoreKey::Frame { seq, .. } => Some((seq, value)),
            _ => None,
        };
        Ok(FramePage { frames: rows.into_iter().filter_map(frame).collect(), rest: rest.map(FrameRange) })
    }

    /// Single frames of a job's log, in the order asked.
    pub async fn find_frames(&self, job: &JobUid, seqs: &[u64]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys: Vec<StoreKey> = seqs.iter().map(|&seq| StoreKey::Frame { job: *job, seq }).collect();
        self.find_many(&keys).await
    }

    /// Dropped points of every job that has any.
    pub async fn read_dropped(&self) -> Result<Vec<(JobUid, DroppedRecord)>, StoreError> {
        let mut dropped = Vec::new();
        for shard in 0..=u8::MAX {
            for (key, value) in self.scan_all(Tag::Dropped.shard_range(shard)).await? {
                let StoreKey::Dropped { job } = key else { continue };
                dropped.push((job, record_at(&key, &value)?));
            }
        }
        Ok(dropped)
    }

    /// What an idempotency key of a job stored, if it was ever used.
    pub async fn find_appended(
        &self,
        job: &JobUid,
        hash: &Digest,
    ) -> Result<Option<AppendedRecord>, StoreError> {
        self.find(&StoreKey::Appended { job: *job, hash: *hash }).await
    }
}
