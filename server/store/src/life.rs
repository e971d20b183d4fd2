//! What goes when a job is removed, and which blobs and snapshots projects hold.
//!
//! Removal is restartable: a [`DeletedRecord`] that says so is written first, then all that the job produced is cleared, and
//! the last commit takes the job's own records and that one together. What is done twice does no harm.

use std::time::Duration;

use bytes::Bytes;
use neptune_kv::{KeyRange, Scan};
use neptune_wire::{AttemptNumber, Digest, JobUid, ProjectKey, Retention};

use crate::key::{StoreKey, Tag};
use crate::record::{DeletedRecord, JobRecord, Record, RetentionRecord, UnneededRecord};
use crate::store::{Store, StoreError, WriteError, record_at};
use crate::writes::Writes;

/// Between two tries to clear a range.
const PAUSE: Duration = Duration::from_millis(100);
/// Tries to clear a range; what is left then is cleared by whoever goes on with the removal.
const TRIES: u32 = 10;
/// Attempts whose records go in one commit.
const ATTEMPTS: usize = 400;

/// How much a job produced, as it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Keys.
    pub records: u64,
    /// Keys and values together.
    pub bytes: u64,
}

/// A blob or snapshot that a project holds, and since when no job is known to name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub digest: Digest,
    /// Absent while a job may name it.
    pub unneeded: Option<UnneededRecord>,
}

impl Store {
    /// Every deletion that was not undone, being removed or not.
    pub async fn read_deleted(&self) -> Result<Vec<(JobUid, DeletedRecord)>, StoreError> {
        let rows = self.scan_all(Tag::JobDeleted.control_range()).await?;
        let read = |(key, value): (StoreKey, Bytes)| {
            let record = record_at(&key, &value)?;
            let StoreKey::JobDeleted { job } = key else { unreachable!("the range holds deletions alone") };
            Ok((job, record))
        };
        rows.into_iter().map(read).collect()
    }

    /// Counts what a job produced. Cost: reads all of it.
    pub async fn measure_job(&self, job: &JobUid) -> Result<Measured, StoreError> {
        let mut measured = Measured::default();
        for tag in Tag::DATA {
            let mut next = Some(tag.job_range(job));
            while let Some(range) = next {
                let page = self.kv().scan(Scan::ascending(range)).await?;
                measured.records += page.rows.len() as u64;
                measured.bytes +=
                    page.rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
                next = page.rest;
            }
        }
        Ok(measured)
    }

    /// Clears all that a job produced. A deletion that says so must be stored before, and nobody may write to the job.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; a part may be gone, and it may be called again.
    pub async fn clear_job(&self, job: &JobUid) -> Result<(), WriteError> {
        for tag in Tag::DATA {
            self.clear_patiently(tag.job_range(job)).await?;
        }
        Ok(())
    }

    async fn clear_patiently(&self, range: KeyRange) -> Result<(), WriteError> {
        for _ in 1..TRIES {
            match self.clear(range.clone()).await {
                Err(WriteError::Busy) => tokio::time::sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
        self.clear(range).await
    }

    /// Takes the last of a job whose products are cleared: its attempts with the hashes of their tokens, then its own records
    /// and its deletion in one commit. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; it may be called again with the attempts that are left.
    pub async fn finish_removal(
        &self,
        job: &JobUid,
        attempts: &[(AttemptNumber, Digest)],
    ) -> Result<(), WriteError> {
        for part in attempts.chunks(ATTEMPTS) {
            let mut writes = Writes::new();
            part.iter().for_each(|(attempt, token)| writes.delete_attempt(job, *attempt, token));
            self.commit(writes).await?;
        }
        let mut writes = Writes::new();
        if let Some(record) = self.find::<JobRecord>(&StoreKey::Job { job: *job }).await? {
            let mut rest = Vec::new();
            for tag in [Tag::JobSpec, Tag::JobProperty, Tag::Attempt] {
                rest.extend(self.scan_all(tag.control_range_of(job)).await?.into_iter().map(|(key, _)| key));
            }
            writes.delete_job(job, &record, rest);
        } else {
            writes.delete_deleted(job);
        }
        self.commit(writes).await
    }

    /// The blobs of a project.
    pub async fn read_project_blobs(&self, project: &ProjectKey) -> Result<Vec<Held>, StoreError> {
        self.read_held(Tag::ProjectBlob.control_range_of_project(project)).await
    }

    /// The snapshots of a project.
    pub async fn read_snapshots(&self, project: &ProjectKey) -> Result<Vec<Held>, StoreError> {
        self.read_held(Tag::Snapshot.control_range_of_project(project)).await
    }

    async fn read_held(&self, range: KeyRange) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::new();
        for (key, value) in self.scan_all(range).await? {
            let (StoreKey::ProjectBlob { digest, .. } | StoreKey::Snapshot { digest, .. }) = key else {
                continue;
            };
            held.push(Held { digest, unneeded: unneeded_at(&key, &value)? });
        }
        Ok(held)
    }

    /// How a project holds some blobs, in the order asked; `None` for those it does not.
    pub async fn find_project_blobs(
        &self,
        project: &ProjectKey,
        digests: &[Digest],
    ) -> Result<Vec<Option<Held>>, StoreError> {
        let key = |digest: &Digest| StoreKey::ProjectBlob { project: project.clone(), digest: *digest };
        self.find_held(digests, digests.iter().map(key).collect()).await
    }

    /// How a project holds a snapshot.
    pub async fn find_snapshot(
        &self,
        project: &ProjectKey,
        digest: &Digest,
    ) -> Result<Option<Held>, StoreError> {
        let key = StoreKey::Snapshot { project: project.clone(), digest: *digest };
        Ok(self.find_held(&[*digest], vec![key]).await?.pop().flatten())
    }

    async fn find_held(
        &self,
        digests: &[Digest],
        keys: Vec<StoreKey>,
    ) -> Result<Vec<Option<Held>>, StoreError> {
        let found = self.find_many(&keys).await?;
        let held = |((digest, key), value): ((&Digest, &StoreKey), Option<Bytes>)| {
            let Some(value) = value else { return Ok(None) };
            Ok(Some(Held { digest: *digest, unneeded: unneeded_at(key, &value)? }))
        };
        digests.iter().zip(&keys).zip(found).map(held).collect()
    }

    /// Whether any project holds the bytes of this digest, as a blob or as a snapshot.
    pub async fn is_held(&self, projects: &[ProjectKey], digest: &Digest) -> Result<bool, StoreError> {
        let keys: Vec<StoreKey> = projects
            .iter()
            .flat_map(|project| {
                let (project, digest) = (project.clone(), *digest);
                [
                    StoreKey::ProjectBlob { project: project.clone(), digest },
                    StoreKey::Snapshot { project, digest },
                ]
            })
            .collect();
        Ok(self.find_many(&keys).await?.iter().any(Option::is_some))
    }

    /// The rules of retention of every project that has some.
    pub async fn read_retentions(&self) -> Result<Vec<(ProjectKey, Retention)>, StoreError> {
        let mut retentions = Vec::new();
        for (key, value) in self.scan_all(Tag::Retention.control_range()).await? {
            let record: RetentionRecord = record_at(&key, &value)?;
            if let StoreKey::Retention { project } = key {
                retentions.push((project, record.into()));
            }
        }
        Ok(retentions)
    }
}

fn unneeded_at(key: &StoreKey, value: &[u8]) -> Result<Option<UnneededRecord>, StoreError> {
    if value.is_empty() { Ok(None) } else { record_at(key, value).map(Some) }
}

/// The value of a blob's or a snapshot's key.
pub(crate) fn value_of_held(unneeded: Option<&UnneededRecord>) -> Bytes {
    unneeded.map_or_else(Bytes::new, Record::encode)
}

#[cfg(test)]
mod tests;
