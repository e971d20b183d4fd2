//! Reading the control shard: projects, jobs, attempts, tokens.

use std::collections::{BTreeMap, HashMap};

use neptune_wire::{Digest, JobUid, ProjectKey};

use crate::key::{StoreKey, Tag};
use crate::record::{
    AdminTokenRecord, AttemptRecord, DeletedRecord, JobRecord, JobSpec, ProjectRecord, Record, TokenRecord,
};
use crate::store::{Store, StoreError, record_at};

/// All that the control shard knows of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// Its uid.
    pub uid: JobUid,
    /// What may change.
    pub record: JobRecord,
    /// What never does.
    pub spec: JobSpec,
    /// Key and value texts.
    pub properties: BTreeMap<String, String>,
    /// In order, from attempt 1.
    pub attempts: Vec<AttemptRecord>,
    /// That it is deleted.
    pub deleted: Option<DeletedRecord>,
}

impl Store {
    /// All projects by key.
    pub async fn read_projects(&self) -> Result<Vec<(ProjectKey, ProjectRecord)>, StoreError> {
        let rows = self.scan_all(Tag::Project.control_range()).await?;
        let read = |(key, value): (StoreKey, bytes::Bytes)| {
            let record = record_at(&key, &value)?;
            let StoreKey::Project { project } = key else { unreachable!("the range holds projects alone") };
            Ok((project, record))
        };
        rows.into_iter().map(read).collect()
    }

    /// All jobs, in no particular order.
    ///
    /// Cost: five scans of the control shard; about a microsecond and a kilobyte a job.
    pub async fn read_jobs(&self) -> Result<Vec<StoredJob>, StoreError> {
        let mut specs: HashMap<JobUid, Vec<u8>> = HashMap::new();
        for (key, value) in self.scan_all(Tag::JobSpec.control_range()).await? {
            if let StoreKey::JobSpec { job, .. } = key {
                specs.entry(job).or_default().extend_from_slice(&value);
            }
        }
        let mut properties: HashMap<JobUid, BTreeMap<String, String>> = HashMap::new();
        for (key, value) in self.scan_all(Tag::JobProperty.control_range()).await? {
            if let StoreKey::JobProperty { job, name } = key {
                properties.entry(job).or_default().insert(name, String::from_utf8_lossy(&value).into_owned());
            }
        }
        let mut attempts: HashMap<JobUid, Vec<AttemptRecord>> = HashMap::new();
        for (key, value) in self.scan_all(Tag::Attempt.control_range()).await? {
            if let StoreKey::Attempt { job, .. } = key {
                attempts.entry(job).or_default().push(record_at(&key, &value)?);
            }
        }
        let mut deleted: HashMap<JobUid, DeletedRecord> = self.read_deleted().await?.into_iter().collect();
        let mut jobs = Vec::new();
        for (key, value) in self.scan_all(Tag::Job.control_range()).await? {
            let StoreKey::Job { job: uid } = key else { continue };
            let spec = specs.remove(&uid).unwrap_or_default();
            let first = StoreKey::JobSpec { job: uid, part: 0 };
            jobs.push(StoredJob {
                uid,
                record: record_at(&key, &value)?,
                spec: record_at::<JobSpec>(&first, &spec)?,
                properties: properties.remove(&uid).unwrap_or_default(),
                attempts: attempts.remove(&uid).unwrap_or_default(),
                deleted: deleted.remove(&uid),
            });
        }
        Ok(jobs)
    }

    /// For whom an attempt's token speaks, by its hash.
    pub async fn find_attempt_token(&self, hash: &Digest) -> Result<Option<TokenRecord>, StoreError> {
        self.find(&StoreKey::AttemptToken { hash: *hash }).await
    }

    /// An administrator's token, by its hash.
    pub async fn find_admin_token(&self, hash: &Digest) -> Result<Option<AdminTokenRecord>, StoreError> {
        self.find(&StoreKey::AdminToken { hash: *hash }).await
    }

    /// Whether there is any administrator's token.
    pub async fn has_admin_token(&self) -> Result<bool, StoreError> {
        self.has_any(Tag::AdminToken.control_range()).await
    }
}

/// How many bytes a job's spec takes on disk.
pub fn spec_size_bytes(spec: &JobSpec) -> usize {
    spec.encode().len()
}
