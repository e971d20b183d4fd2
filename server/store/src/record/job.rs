//! Jobs: the record that changes, and the spec that never does.

use std::collections::BTreeMap;

use bytes::Bytes;
use neptune_wire::job::{Metric, Param};
use neptune_wire::{
    AttemptNumber, ChannelName, Digest, JobState, Micros, Number, ParamName, ParamValue, ProjectKey, Tag,
};
use serde::{Deserialize, Serialize};

use super::{Record, RecordError, disk};

/// What of a job may change, except its properties, which are keys of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Grows with every write, so that a commit whose fate was unknown cannot come true later.
    pub revision: u64,
    /// First half of its id.
    pub project: ProjectKey,
    /// Second half.
    pub number: u64,
    /// Free text.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Sorted, each once.
    pub tags: Vec<Tag>,
    /// When it was created.
    pub created: Micros,
    /// Where it stands.
    pub status: StatusRecord,
    /// When its end, or the job if it has none, came to this server by the server's clock; absent where that is when the
    /// record says that it was, or where a version wrote it that did not note it.
    pub arrived: Option<Micros>,
}

/// Without `arrived` a record has the bytes of version 1, which ended before it: a record that is read and expected again
/// must be what lies there.
impl Record for JobRecord {
    const VERSION: u8 = 2;
    const NAME: &'static str = "job";

    fn read_old(version: u8, fields: &[u8]) -> Result<Self, RecordError> {
        if version != 1 {
            return Err(RecordError::Version { name: Self::NAME, version, known: Self::VERSION });
        }
        match postcard::take_from_bytes(&[fields, &[ABSENT]].concat()) {
            Ok((record, [])) => Ok(record),
            _ => Err(RecordError::Damaged { name: Self::NAME }),
        }
    }

    fn encode(&self) -> Bytes {
        let fields = postcard::to_extend(self, vec![Self::VERSION]);
        let mut bytes = fields.expect("a record is plain data and writing to memory cannot fail");
        if self.arrived.is_none() {
            bytes[0] = 1;
            bytes.pop();
        }
        bytes.into()
    }
}

/// What postcard writes for an option that is absent.
const ABSENT: u8 = 0;

/// Where a job stands and how it came there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// Where it stands.
    #[serde(with = "disk::state")]
    pub state: JobState,
    /// The last attempt.
    pub attempt: Option<AttemptNumber>,
    /// Not heard of since.
    pub silent_since: Option<Micros>,
    /// Why it stands there.
    pub reason: Option<String>,
    /// The program's exit status.
    pub exit_code: Option<i32>,
    /// When the last attempt started.
    pub started: Option<Micros>,
    /// When it ended.
    pub ended: Option<Micros>,
    /// An abort that was asked for and not yet obeyed.
    pub abort: Option<AbortRecord>,
}

/// What an abort asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRecord {
    /// For people.
    pub reason: String,
    /// Between SIGTERM and SIGKILL.
    pub grace_millis: u64,
}

/// What a job was created with and keeps. Stored in pieces, because a value is at most 64 KiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Typed inputs.
    #[serde(serialize_with = "params::serialize", deserialize_with = "params::deserialize")]
    pub params: Vec<Param>,
    /// The command line, program first.
    pub command: Vec<String>,
    /// Facts about where it was started.
    pub environment: BTreeMap<String, String>,
    /// The channel that judges it.
    #[serde(serialize_with = "metric::serialize", deserialize_with = "metric::deserialize")]
    pub metric: Option<Metric>,
    /// The source snapshot.
    #[serde(serialize_with = "snapshot::serialize", deserialize_with = "snapshot::deserialize")]
    pub snapshot: Option<Digest>,
}

impl Record for JobSpec {
    const VERSION: u8 = 1;
    const NAME: &'static str = "job spec";
}

/// The first field of [`JobSpec`], for those who need no other.
#[derive(Deserialize)]
struct SpecStart {
    #[serde(deserialize_with = "params::deserialize")]
    params: Vec<Param>,
}

/// Reads only the params of an encoded [`JobSpec`]; a tenth of the work where the environment is large.
///
/// # Errors
///
/// [`RecordError`] as for the whole.
pub fn params_from_spec(bytes: &[u8]) -> Result<Vec<Param>, RecordError> {
    match bytes.split_first() {
        Some((&JobSpec::VERSION, fields)) => match postcard::take_from_bytes::<SpecStart>(fields) {
            Ok((start, _)) => Ok(start.params),
            Err(_) => Err(RecordError::Damaged { name: JobSpec::NAME }),
        },
        _ => JobSpec::decode(bytes).map(|spec| spec.params),
    }
}

#[derive(Serialize, Deserialize)]
struct DiskParam {
    name: ParamName,
    value: DiskValue,
    description: String,
    required: bool,
    default: Option<DiskValue>,
}

/// The order of the variants is on disk.
#[derive(Serialize, Deserialize)]
enum DiskValue {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    String(String),
}

impl From<&ParamValue> for DiskValue {
    fn from(value: &ParamValue) -> Self {
        match value {
            ParamValue::Boolean(value) => Self::Boolean(*value),
            ParamValue::Integer(value) => Self::Integer(*value),
            ParamValue::Double(Number(value)) => Self::Double(*value),
            ParamValue::String(value) => Self::String(value.clone()),
        }
    }
}

impl From<DiskValue> for ParamValue {
    fn from(value: DiskValue) -> Self {
        match value {
            DiskValue::Boolean(value) => Self::Boolean(value),
            DiskValue::Integer(value) => Self::Integer(value),
            DiskValue::Double(value) => Self::Double(Number(value)),
            DiskValue::String(value) => Self::String(value),
        }
    }
}

impl From<&Param> for DiskParam {
    fn from(param: &Param) -> Self {
        Self {
            name: param.name.clone(),
            value: (&param.value).into(),
            description: param.description.clone(),
            required: param.required,
            default: param.default.as_ref().map(DiskValue::from),
        }
    }
}

impl From<DiskParam> for Param {
    fn from(param: DiskParam) -> Self {
        Self {
            name: param.name,
            value: param.value.into(),
            description: param.description,
            required: param.required,
            default: param.default.map(ParamValue::from),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct DiskMetric {
    channel: ChannelName,
    #[serde(with = "disk::direction")]
    direction: neptune_wire::job::Direction,
}

impl From<&Metric> for DiskMetric {
    fn from(metric: &Metric) -> Self {
        Self { channel: metric.channel.clone(), direction: metric.direction }
    }
}

impl From<DiskMetric> for Metric {
    fn from(metric: DiskMetric) -> Self {
        Self { channel: metric.channel, direction: metric.direction }
    }
}

/// Gives a field of [`JobSpec`] its form on disk.
macro_rules! mirror {
    ($module:ident, $write:ident, $read:ident, $in:ty, $out:ty, $disk:ty) => {
        mod $module {
            use super::*;

            pub(super) fn serialize<S: serde::Serializer>(value: &$in, s: S) -> Result<S::Ok, S::Error> {
                disk::mirrored::$write::<_, $disk, S>(value, s)
            }

            pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<$out, D::Error> {
                disk::mirrored::$read::<_, $disk, D>(d)
            }
        }
    };
}

mirror!(params, vec, read_vec, [Param], Vec<Param>, DiskParam);
mirror!(metric, option, read_option, Option<Metric>, Option<Metric>, DiskMetric);
mirror!(snapshot, option, read_option, Option<Digest>, Option<Digest>, DiskDigest);

#[derive(Serialize, Deserialize)]
struct DiskDigest([u8; 32]);

impl From<&Digest> for DiskDigest {
    fn from(digest: &Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

impl From<DiskDigest> for Digest {
    fn from(digest: DiskDigest) -> Self {
        Self::from_bytes(digest.0)
    }
}
