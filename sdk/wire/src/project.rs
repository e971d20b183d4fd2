//! Projects: folders of jobs with a key that begins their ids.

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::job::JobState;
use crate::name::{ProjectKey, Tag};
use crate::number::Micros;

/// `POST /projects`. Repeating it with the same key and name answers the same project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Unique; begins the ids of its jobs.
    pub key: ProjectKey,
    /// Free text, 1 to 256 bytes.
    pub name: String,
}

/// A project as `GET /projects/{key}` answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Project {
    /// Unique key.
    pub key: ProjectKey,
    /// Free text.
    pub name: String,
    /// When it was created.
    pub created_micros: Micros,
    /// How many jobs it holds.
    pub jobs: u64,
}

/// `PUT /projects/{key}/retention`: which jobs of a project are deleted by themselves. A deletion is soft and says its rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Each is looked at by itself: a job that any of them deletes is deleted. At most 20.
    pub rules: Vec<RetentionRule>,
}

/// Jobs of some states and age are deleted, except the newest and those with certain tags. A job that runs or waits never is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Any of these states; every ended one but `lost` when empty. `created` may be named, too, and, with an age, `lost`: such
    /// a job's program may still live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<JobState>,
    /// Ended, or created if it never ran, longer ago than this, and here for as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_days: Option<u32>,
    /// The newest so many of these states stay. A rule has this or an age, or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// Jobs with any of these tags stay, and do not count as one of the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_tagged: Vec<Tag>,
}

/// `POST /projects/{key}/retention/preview`: what rules would delete now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionPreview {
    /// Oldest first.
    pub jobs: Vec<Doomed>,
}

/// A job that a rule deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Doomed {
    /// The job.
    pub job: JobId,
    /// For people.
    pub name: String,
    /// The rule in words, as it will stand on the job.
    pub reason: String,
}
