//! Questions about channels and their answers: exact points, envelopes, text lines, images; and points sent as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, JobId};
use crate::name::ChannelName;
use crate::number::{Micros, Number};

/// `GET /jobs/{id}/channels/{name}/points?…`: every point, exact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct PointsQuery {
    /// Smallest x, inclusive; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Largest x, inclusive; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// `x` (the default: by x, equal x by arrival) or `arrival`.
    #[serde(default)]
    pub order: PointOrder,
    /// 1 to 100,000; 10,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// In which order points are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PointOrder {
    /// By x; equal x by arrival; NaN x last.
    #[default]
    X,
    /// As they arrived.
    Arrival,
}

/// Points as columns of equal length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Points {
    /// Steps.
    pub x: Vec<Number>,
    /// Values.
    pub y: Vec<Number>,
    /// When each was sent, by the sender's clock.
    pub time: Vec<Micros>,
    /// Cursor of the next page; null on the last.
    pub next: Option<String>,
}

/// `GET /envelope?series=TRIG-12/loss&series=…&buckets=1000`.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeQuery {
    /// `{job}/{channel}`; at most 200.
    pub series: Vec<SeriesRef>,
    /// Smallest x (or time, or index), inclusive; all when absent.
    pub from: Option<f64>,
    /// Largest, inclusive; all when absent.
    pub to: Option<f64>,
    /// At most so many buckets per series, 1 to 10,000; 1,000 when absent.
    pub buckets: u32,
    /// What the horizontal axis is.
    pub by: Axis,
    /// How buckets are spread along it.
    pub scale: Scale,
    /// Where buckets may end.
    pub edges: Edges,
}

impl EnvelopeQuery {
    /// All of some series in at most so many buckets along x.
    pub fn of(series: Vec<SeriesRef>, buckets: u32) -> Self {
        let (by, scale, edges) = Default::default();
        Self { series, from: None, to: None, buckets, by, scale, edges }
    }
}

/// A channel of a job, written `{job}/{channel}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    /// The job.
    pub job: crate::id::JobRef,
    /// Its channel.
    pub channel: ChannelName,
}

impl std::str::FromStr for SeriesRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (job, channel) = text.split_once('/').ok_or("must be {job}/{channel}, such as TRIG-12/loss")?;
        Ok(Self {
            job: job.parse().map_err(|error: crate::id::IdError| error.to_string())?,
            channel: ChannelName::new(channel).map_err(|error| error.to_string())?,
        })
    }
}

/// What buckets are cut along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The points' x.
    #[default]
    X,
    /// The points' time, in microseconds.
    Time,
    /// The order of arrival, from 0.
    Index,
}

/// How buckets are spread along the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Each as wide as the others.
    #[default]
    Linear,
    /// Each by the same factor wider than the one before; what is not above zero is in the first.
    Log,
}

/// Where buckets may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// Near even edges, where that spares reading points one by one. Each bucket says what it covers and is exact for it.
    #[default]
    Near,
    /// At even edges, whatever that costs.
    Even,
}

/// Envelopes, one per asked series in the asked order.
///
/// As [`crate::columns`]: one table per envelope, named by the channel, meta `{"job": …, "mark": …}`, the columns named
/// as the fields of [`Envelope`], `count` and `nan` as u64, the others as f64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelopes {
    /// In the asked order.
    pub series: Vec<Envelope>,
}

/// One channel over a range in at most the asked number of buckets, as columns of equal length, ordered by x.
///
/// Each bucket covers every point from `x_first` to `x_last`; buckets without points are absent. NaN is counted, never
/// a value: a bucket of NaN alone has NaN in `first`, `last`, `min` and `max`. Points whose x is NaN are in no bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope {
    /// The job.
    pub job: JobId,
    /// Its channel.
    pub channel: ChannelName,
    /// Smallest x (time, index) in the bucket.
    pub x_first: Vec<Number>,
    /// Largest x (time, index) in the bucket.
    pub x_last: Vec<Number>,
    /// y of its first point that is not NaN, in order of x, then of arrival.
    pub first: Vec<Number>,
    /// y of its last point that is not NaN.
    pub last: Vec<Number>,
    /// Smallest y.
    pub min: Vec<Number>,
    /// Largest y.
    pub max: Vec<Number>,
    /// Points, NaN included.
    pub count: Vec<u64>,
    /// Points whose y is NaN.
    pub nan: Vec<u64>,
    /// Points the channel had when this was read, in all ranges, those with NaN as x included: the live points from
    /// this index on are not in here.
    #[serde(default)]
    pub mark: u64,
}

/// `GET /jobs/{id}/channels/{name}/text?…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct TextQuery {
    /// First line asked for, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Instead of `line`: the last so many lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// 1 to 10,000 lines; 1,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only lines that contain this text, ignoring case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// Lines of a text channel or a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lines {
    /// In order.
    pub lines: Vec<Line>,
    /// How many lines the channel has now.
    pub total: u64,
    /// First line of the next page; null when this page reaches the end.
    pub next: Option<u64>,
}

/// One line of a text channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Line {
    /// Its number, from 0.
    pub line: u64,
    /// The point's x; for a log the milliseconds since the attempt started.
    pub x: Number,
    /// When it was sent.
    pub time: Micros,
    /// Without the line feed; bytes that are no UTF-8 show as U+FFFD (the raw log keeps them).
    pub text: String,
    /// The line was longer than 64 KiB and goes on in the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// `GET /jobs/{id}/channels/{name}/images?…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ImagesQuery {
    /// First image asked for, from 0, in order of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// 1 to 1,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Images of a channel, without their bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Images {
    /// In order of arrival.
    pub images: Vec<ImagePoint>,
    /// How many the channel has now.
    pub total: u64,
    /// Index of the next page; null when this page reaches the end.
    pub next: Option<u64>,
}

/// One image; `GET …/images/{index}` answers it as PNG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImagePoint {
    /// From 0, in order of arrival.
    pub index: u64,
    /// Step.
    pub x: Number,
    /// When it was sent.
    pub time: Micros,
    /// Title, may be empty.
    pub name: String,
    /// May be empty.
    pub description: String,
    /// Pixels, as the sender measured them.
    pub width: u32,
    /// Pixels, as the sender measured them.
    pub height: u32,
    /// Of the stored file.
    pub size_bytes: u64,
    /// Of the stored file.
    pub digest: Digest,
}

/// `POST /jobs/{id}/points`: points for tools without WebSocket; needs the header `Idempotency-Key`.
///
/// Channels that do not exist are created: numeric when the first y is a number or one of the number texts, else text.
pub type AppendPoints = BTreeMap<ChannelName, Vec<JsonPoint>>;

/// `[x, y]` or `[x, y, time]`; x null continues the channel (1, then one more than the last whole x).
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPoint {
    /// Step.
    pub x: Option<Number>,
    /// Number or text, by the channel's kind.
    pub y: JsonValue,
    /// When; the server's clock when absent.
    pub time: Option<Micros>,
}

/// A y in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a number, one of the texts \"NaN\", \"Infinity\", \"-Infinity\" (JSON has no such numbers; some writers make null of them), or any other text"
)]
pub enum JsonValue {
    /// A number, or a number text.
    Number(Number),
    /// Any other text.
    Text(String),
}

impl Serialize for JsonPoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.time {
            Some(time) => (&self.x, &self.y, time).serialize(serializer),
            None => (&self.x, &self.y).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for JsonPoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = JsonPoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a point [x, y] or [x, y, time_micros]")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<JsonPoint, A::Error> {
                use serde::de::Error;
                let x = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let y = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                let time = seq.next_element()?;
                if seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    return Err(A::Error::invalid_length(4, &self));
                }
                Ok(JsonPoint { x, y, time })
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for JsonPoint {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ArrayBuilder::new()
            .description(Some("[x, y] or [x, y, time_micros]; x may be null"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for JsonPoint {}

/// The answer to `POST /jobs/{id}/points`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Appended {
    /// How many points this key stored.
    pub points: u64,
    /// The key was seen before: nothing was stored this time.
    pub repeated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_points_come_in_twos_and_threes() {
        let points: AppendPoints =
            serde_json::from_str(r#"{"loss": [[1, 0.5], [null, "NaN", 7]], "note": [[2, "hello"]]}"#)
                .unwrap();
        let loss = &points["loss"];
        assert_eq!(
            loss[0],
            JsonPoint { x: Some(Number(1.0)), y: JsonValue::Number(Number(0.5)), time: None }
        );
        assert!(
            matches!(loss[1], JsonPoint { x: None, y: JsonValue::Number(Number(y)), time: Some(Micros(7)) } if y.is_nan())
        );
        assert_eq!(points["note"][0].y, JsonValue::Text("hello".into()));
        for wrong in ["[1]", "[1,2,3,4]", "{}", "[[1],2]"] {
            assert!(serde_json::from_str::<JsonPoint>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_series_is_job_and_channel() {
        let series: SeriesRef = "TRIG-12/train/loss".parse().unwrap();
        assert_eq!(series.channel.as_str(), "train/loss");
        assert!("TRIG-12".parse::<SeriesRef>().unwrap_err().contains("TRIG-12/loss"));
    }
}
