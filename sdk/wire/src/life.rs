//! The end of a job's life: deleting and what it did, restoring, the collector, and taking in what was exported.

use serde::{Deserialize, Serialize};

use crate::channel::CreateChannel;
use crate::chart::Chart;
use crate::id::JobId;
use crate::job::{Attempt, Job};
use crate::number::Micros;
use crate::project::{Project, Retention};

/// That a job is deleted: hidden from lists, taking no writes, and removed for good after some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deleted {
    /// When it was deleted.
    pub since_micros: Micros,
    /// Until when `POST /jobs/{id}/restore` brings it back; then it is removed for good.
    pub until_micros: Micros,
    /// `on request`, or the rule of retention that wanted it.
    pub reason: String,
}

/// `DELETE /jobs/{id}?…`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct DeleteQuery {
    /// `true`: for good and at once, without a time in which it can be restored.
    #[serde(default)]
    pub now: bool,
    /// Kept on the job while it can be restored; at most 4 KiB of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeleteReceipt {
    /// The job.
    pub job: JobId,
    /// Until when it can be restored; absent when it was removed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable_until_micros: Option<Micros>,
    /// Channels it has, or had.
    pub channels: u64,
    /// Points in them; lines for text and logs.
    pub points: u64,
    /// Charts it has, or had.
    pub charts: u64,
    /// What was removed; all 0 while the job can be restored.
    pub removed: Removed,
    /// Bytes of sources and images removed, and bytes of points, texts and records: the disk has them back as it gets to it.
    pub freed_bytes: u64,
    /// Sources and images it names that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// What the receipt does not tell, because it cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
}

/// What was removed of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Removed {
    /// Records of what it produced: frames, chunks, channels, sessions.
    pub records: u64,
    /// Their bytes, as they were written.
    pub record_bytes: u64,
    /// Blobs: files of its sources, images.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
}

/// Blobs that a removed job named and that stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kept {
    /// Why they stay.
    pub why: KeptWhy,
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
}

/// Why a blob of a removed job stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeptWhy {
    /// Another job's sources or images need it.
    OtherJob,
    /// Another project has it, too.
    OtherProject,
    /// Somebody else uploaded it or asked for it within the grace, or may have before the server was started, and may be
    /// about to name it; the collector looks again.
    Upload,
    /// A backup is being made; the collector frees it afterwards.
    Backup,
}

/// What a receipt does not tell, because it cannot be read; the server's log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// What the job produced, or a part of it: what is not known of channels, points, charts and records counts as 0, and the
    /// collector frees its images.
    Produced,
    /// Which files the job's sources had: the collector frees those that nobody needs.
    Sources,
    /// What other jobs of the project need: what none of those that can be read names stays until it is known.
    OtherJobs,
}

/// What one pass of the collector did: `POST /collector`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collected {
    /// Blobs that no job names, marked until their grace has passed.
    pub marked: u64,
    /// Blobs and snapshots forgotten by their projects, as nobody named them all that time.
    pub forgotten: u64,
    /// Files removed that no project needed any more, leftovers of broken writes among them.
    pub removed_files: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Projects that keep all their files, because what they need cannot be read; the server's log says why. Absent for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed_over: u64,
}

/// Whether a count need not be told.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `POST /imports/projects`: a project as it was exported. One of the same key and name is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportProject {
    /// As `GET /projects/{key}` answered; how many jobs it has is not read.
    pub project: Project,
    /// Its rules of retention.
    #[serde(default)]
    pub retention: Retention,
}

/// `POST /imports/jobs`: a job as it was exported. The same one again answers the first result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportJob {
    /// All of it, as `GET /jobs/{id}` answered. It keeps its number unless another job of the project has it; then it gets the
    /// next one.
    pub job: Job,
    /// Its attempts, from 1.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Its channels in the order of their numbers. Many are brought by several requests of the same job.
    #[serde(default)]
    pub channels: Vec<CreateChannel>,
    /// The number of the first of them.
    #[serde(default)]
    pub first_channel: u32,
    /// Its charts in order.
    #[serde(default)]
    pub charts: Vec<Chart>,
}

/// `POST /imports/jobs/{id}/frames?…`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ImportFramesQuery {
    /// How many points the job has here before these, as far as the sender knows: the sum of `summary.count` over all its
    /// channels but logs. Refused with `count-differs` when it has others, as somebody else adds to it. Bytes of a log say
    /// themselves where they belong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
}
