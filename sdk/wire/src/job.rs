//! Jobs: what `POST /jobs` takes, what `GET /jobs/{id}` answers, and the changes between.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptNumber, ClaimId, Digest, JobId, JobUid};
use crate::life::Deleted;
use crate::name::{ChannelName, ParamName, ProjectKey, Tag};
use crate::number::{Micros, Number};

/// Where a job stands. *Live* = dispatched, preparing, running, aborting; *ended* = the last four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Registered, not started, not queued.
    Created,
    /// Waiting for an executor.
    Queued,
    /// Handed to an executor that has not accepted yet.
    Dispatched,
    /// The executor builds the workspace and environment.
    Preparing,
    /// The program runs.
    Running,
    /// An abort was asked for; the process tree is being ended.
    Aborting,
    /// Exit status 0.
    Succeeded,
    /// Any other end of the program.
    Failed,
    /// Ended on request.
    Aborted,
    /// Not heard of for too long; the same attempt may still report the truth.
    Lost,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [JobState; 10] = [
        Self::Created,
        Self::Queued,
        Self::Dispatched,
        Self::Preparing,
        Self::Running,
        Self::Aborting,
        Self::Succeeded,
        Self::Failed,
        Self::Aborted,
        Self::Lost,
    ];

    /// Whether an attempt holds the job now.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Dispatched | Self::Preparing | Self::Running | Self::Aborting)
    }

    /// Whether the job has ended (`lost` included).
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Aborted | Self::Lost)
    }

    /// The state as it is written in JSON, filters and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Aborting => "aborting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A param's typed value: `{"type": "double", "value": 0.1}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum ParamValue {
    /// true or false
    Boolean(bool),
    /// 64-bit signed
    Integer(i64),
    /// f64
    Double(Number),
    /// UTF-8 text
    String(String),
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => fmt::Display::fmt(value, f),
            Self::Integer(value) => fmt::Display::fmt(value, f),
            Self::Double(Number(value)) => fmt::Debug::fmt(value, f),
            Self::String(value) => f.write_str(value),
        }
    }
}

/// One typed input variable of a job, with its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Param {
    /// Unique in the job.
    pub name: ParamName,
    /// Type and value.
    #[serde(flatten)]
    pub value: ParamValue,
    /// What its author says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether a value had to be given.
    #[serde(default)]
    pub required: bool,
    /// The value used when none is given; of the same type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
}

/// Names the channel by which the jobs of a group are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// A numeric channel.
    pub channel: ChannelName,
    /// What is better.
    pub direction: Direction,
}

/// Whether smaller or larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

/// `POST /jobs`. Repeating it with the same `uid` answers the first result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// Made by the client from good randomness; without it the server makes one (then a repeat makes a second job).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<JobUid>,
    /// The project it belongs to, which must exist.
    pub project: ProjectKey,
    /// Free text, up to 256 bytes; may repeat.
    pub name: String,
    /// Free text, up to 16 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Typed inputs; names are unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Words; a repeated one counts once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Key and value texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// A complete snapshot of the project (`POST /projects/{key}/snapshots`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// The command line, program first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Facts about where it was started: interpreter, operating system, git commit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The channel that judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// When the client made it, if it could not reach the server then; else the server's time counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_micros: Option<Micros>,
}

/// A job as `GET /jobs/{id}` answers it and as the live stream pushes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// `TRIG-12`
    pub id: JobId,
    /// The client's id.
    pub uid: JobUid,
    /// The project's key, also the first half of `id`.
    pub project: ProjectKey,
    /// Free text.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Where it stands.
    pub state: JobState,
    /// Why it stands there: `exit status 1`, `signal 9`, `aborted by …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// "Not responding" since then; a live job whose runner was not heard of for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since_micros: Option<Micros>,
    /// The program's exit status, once it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last attempt's number; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptNumber>,
    /// When it was created.
    pub created_micros: Micros,
    /// When the last attempt's program started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_micros: Option<Micros>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_micros: Option<Micros>,
    /// The machine the last attempt runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The command line, program first.
    #[serde(default)]
    pub command: Vec<String>,
    /// Typed inputs, in the order they were given.
    #[serde(default)]
    pub params: Vec<Param>,
    /// Words, sorted.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Key and value texts.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Facts about where it was started.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The channel that judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The source snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Digest>,
    /// Points and bytes of log that a client or the server had to drop, ever; 0 unless something went wrong.
    #[serde(default)]
    pub dropped_points: u64,
    /// It is deleted: only whoever asks for deleted jobs sees it, and nothing may be written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
}

/// `PATCH /jobs/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PatchJob {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Replaces all tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
    /// Adds these tags (after `tags`); one that is there stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_tags: Vec<Tag>,
    /// Removes these tags (last of all); a missing one is no error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_tags: Vec<Tag>,
    /// Sets a key to a text, or removes it with null; other keys stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Option<String>>,
}

/// `POST /jobs/{id}/attempts`: a client process runs the job itself ("by hand").
///
/// Repeating it with the same `claim` answers the same attempt and token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimJob {
    /// Made by the client.
    pub claim: ClaimId,
    /// The machine's name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A run that already happened without a server (`neptune sync`): the job goes straight to this end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// An attempt that started, and perhaps ended, before the server heard of it; by the client's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct History {
    /// When the program started.
    pub started_micros: Micros,
    /// How and when it ended.
    pub exit: Exit,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimedAttempt {
    /// The attempt's number.
    pub attempt: AttemptNumber,
    /// Bearer token of this attempt: it may write this job's points, blobs, tags and properties, and read the job.
    pub token: String,
}

/// `PUT /attempts/{job}/{attempt}/exit`, and part of a runner's beat: how the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// What happened.
    pub how: ExitKind,
    /// By the runner's clock.
    pub ended_micros: Micros,
    /// Whether the runner was obeying an abort when the program ended.
    #[serde(default)]
    pub aborted: bool,
    /// Why it was aborted, when the wish came from the runner's own side (Ctrl-C).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What ended the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitKind {
    /// It ended by itself with this status.
    Code {
        /// 0 is success.
        code: i32,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It could not be started; `reason` says why.
    NotStarted,
}

/// An attempt as `GET /attempts/{job}/{attempt}` answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// The job.
    pub job: JobId,
    /// Its number, from 1.
    pub attempt: AttemptNumber,
    /// Who runs it: `self` for a job by hand.
    pub executor: String,
    /// The machine's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When it was claimed.
    pub claimed_micros: Micros,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// `POST /jobs/{id}/abort`. Aborting an ended or aborting job changes nothing and answers the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AbortJob {
    /// Shown on the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time between SIGTERM and SIGKILL; 10 s when absent, at most 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_millis: Option<u64>,
}

/// `GET /jobs?…`: which jobs, in which order, how many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// Only this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectKey>,
    /// Words that must all occur (ignoring case) in id, name, description, tags, host or params.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Comma-separated tags that must all be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Comma-separated states, any of which will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<String>,
    /// `true`: only the deleted ones, which are left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// A condition, such as `metric.loss < 0.1 and param.lr >= 0.01`; the language is in docs/filter.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Comma-separated columns, such as `metric.loss.min,param.lr`: rows of these values are answered, not whole jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
    /// Comma-separated columns: groups of the jobs that have the same values in them are answered; `columns` are summed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Comma-separated columns, `-` before one for descending: `-created` (newest first, the default), `metric.loss,name`.
    /// Groups are ordered by their columns, or by `jobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One page of a list; `next` is the cursor of the page after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items in order.
    pub items: Vec<T>,
    /// Absent on the last page.
    #[serde(default)]
    pub next: Option<String>,
    /// How many items there are on all pages.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_param_is_flat_json() {
        let param = Param {
            name: ParamName::new("lr").unwrap(),
            value: ParamValue::Double(Number(0.1)),
            description: String::new(),
            required: true,
            default: None,
        };
        let json = serde_json::to_string(&param).unwrap();
        assert_eq!(json, r#"{"name":"lr","type":"double","value":0.1,"required":true}"#);
        assert_eq!(serde_json::from_str::<Param>(&json).unwrap(), param);
        for value in [ParamValue::Boolean(true), ParamValue::Integer(-3), ParamValue::String("a".into())] {
            let param = Param { value, ..param.clone() };
            let json = serde_json::to_string(&param).unwrap();
            assert_eq!(serde_json::from_str::<Param>(&json).unwrap(), param);
        }
    }

    #[test]
    fn unknown_fields_of_a_create_are_named() {
        let error =
            serde_json::from_str::<CreateJob>(r#"{"project":"A","name":"x","prams":[]}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `prams`"), "{error}");
    }
}
