//! Numbers: points sent as JSON, exact points and envelopes answered as JSON, CSV or columns.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use neptune_engine::PointsPage;
use neptune_wire::columns::{self, COLUMNS, Data, Table};
use neptune_wire::query::{
    AppendPoints, Appended, Envelope, EnvelopeQuery, Envelopes, JsonPoint, Points, PointsQuery, SeriesRef,
};
use neptune_wire::{Micros, Number};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema};

use crate::accept::{Form, asked_form};
use crate::access::Granted;
use crate::extract::{ChannelPath, JobPath, Json, Path, Query};
use crate::face::{Shared, now};
use crate::failure::Failure;
use crate::limits;
use crate::openapi::ProblemAnswer;

const CSV: &str = "text/csv; charset=utf-8";

/// Stores points from tools without WebSocket, once per `Idempotency-Key`; creates channels that do not exist.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/points", tag = "points",
    params(JobPath, ("Idempotency-Key" = String, Header, description = "chosen by the client, at most 256 characters; \
        the same key again stores nothing")),
    request_body = PointsByChannel,
    responses(
    (status = 200, body = Appended),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn append_points(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<JobPath>,
    headers: HeaderMap,
    Json(points): Json<AppendPoints, { limits::POINTS_BYTES }>,
) -> Result<Answer<Appended>, Failure> {
    let key = idempotency_key(&headers)?;
    Ok(Answer(face.engine.append_points(&grant, &path.id, key, points, now()).await?))
}

/// The schema of [`AppendPoints`], which is a map and has no name of its own.
struct PointsByChannel;

impl utoipa::PartialSchema for PointsByChannel {
    fn schema() -> RefOr<Schema> {
        let example =
            serde_json::json!({"loss": [[1, 0.5], [2, "NaN"], [null, 0.25, 1_700_000_000_000_000_i64]]});
        let points = ArrayBuilder::new().items(JsonPoint::schema());
        let about = "points by channel name; channels that do not exist are created, at most 400 at once. 36,000 numeric \
            points of 400 channels always fit one request, whatever their values; more do if they pack into 900 KiB, at \
            up to 24 bytes a number, 36 and its length a text. The body is at most 3 MiB";
        ObjectBuilder::new()
            .description(Some(about))
            .additional_properties(Some(Schema::Array(points.build())))
            .examples([example])
            .into()
    }
}

impl utoipa::ToSchema for PointsByChannel {}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Failure> {
    let wanted = format!(
        "the header Idempotency-Key is needed: 1 to {} visible characters that name this very request, such as a UUID",
        limits::KEY_BYTES
    );
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    key.filter(|key| {
        (1..=limits::KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    })
    .ok_or(Failure::Header { field: "idempotency-key", wanted })
}

/// Answers every point of a numeric channel, exactly, a page at a time; `Link: …; rel="next"` leads to the next page.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/channels/{name}/points", tag = "points",
    params(ChannelPath, PointsQuery), responses(
    (status = 200, description = "by `Accept`: JSON, CSV with the header x,y,time, or columns x, y, time", content(
        (Points = "application/json"), (String = "text/csv"), (Vec<u8> = "application/vnd.neptune.columns"))),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_points(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    Path(path): Path<ChannelPath>,
    Query(query): Query<PointsQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let page = face.engine.read_points(&grant, &path.id, &path.name, &query).await?;
    let link = page.next.as_deref().and_then(|next| link_to(&uri, next));
    let mut response = match asked_form(&headers, &[Form::Json, Form::Csv, Form::Columns]) {
        Form::Csv => ([(header::CONTENT_TYPE, CSV)], csv_from_page(&page)).into_response(),
        Form::Columns => {
            let table = table_from_page(path.name.as_str(), page);
            ([(header::CONTENT_TYPE, COLUMNS)], columns::encode(&[table])).into_response()
        }
        Form::Json => Answer(points_from_page(page)).into_response(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// The same address with another cursor.
fn link_to(uri: &Uri, next: &str) -> Option<HeaderValue> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let old = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    query.extend_pairs(old.filter(|(key, _)| key != "cursor"));
    let query = query.append_pair("cursor", next).finish();
    HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}

fn points_from_page(page: PointsPage) -> Points {
    let numbers = |values: Vec<f64>| values.into_iter().map(Number).collect();
    Points {
        x: numbers(page.x),
        y: numbers(page.y),
        time: page.time.into_iter().map(Micros).collect(),
        next: page.next,
    }
}

fn table_from_page(channel: &str, page: PointsPage) -> Table {
    let mut meta = serde_json::Map::new();
    meta.insert("next".into(), page.next.into());
    let table = Table { name: channel.into(), meta, columns: vec![] };
    table.with("x", Data::F64(page.x)).with("y", Data::F64(page.y)).with("time", Data::I64(page.time))
}

fn csv_from_page(page: &PointsPage) -> String {
    let mut csv = String::with_capacity(8 + 48 * page.x.len());
    csv.push_str("x,y,time\r\n");
    for ((x, y), time) in page.x.iter().zip(&page.y).zip(&page.time) {
        let _ = write!(csv, "{},{},{time}\r\n", CsvNumber(*x), CsvNumber(*y));
    }
    csv
}

/// A number as JSON would write it, without quotes.
struct CsvNumber(f64);

impl std::fmt::Display for CsvNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("Infinity"),
            f64::NEG_INFINITY => f.write_str("-Infinity"),
            value => write!(f, "{value:?}"),
        }
    }
}

/// Answers first, last, min and max per bucket for many channels at once, exact at every zoom.
#[utoipa::path(get, path = "/api/v1/envelope", tag = "points",
    params(
        ("series" = Vec<String>, Query, explode, description = "`{job}/{channel}`, repeated; at most 200"),
        ("from" = Option<f64>, Query, description = "smallest x (time, index), inclusive; all when absent"),
        ("to" = Option<f64>, Query, description = "largest x (time, index), inclusive; all when absent"),
        ("buckets" = Option<u32>, Query, description = "at most so many buckets per series, 1 to 10,000; 1,000 when absent"),
        ("by" = Option<neptune_wire::query::Axis>, Query, description = "what buckets are cut along; `x` when absent"),
        ("scale" = Option<neptune_wire::query::Scale>, Query, description = "`linear` or `log`; `linear` when absent"),
        ("edges" = Option<neptune_wire::query::Edges>, Query,
            description = "`near` even edges (each bucket says what it covers) or `even` at any cost; `near` when absent"),
    ),
    responses(
    (status = 200, description = "by `Accept`: JSON or columns, one table per series", content(
        (Envelopes = "application/json"), (Vec<u8> = "application/vnd.neptune.columns"))),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn read_envelopes(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = envelope_query(uri.query().unwrap_or_default())?;
    let series = face.engine.read_envelopes(&grant, &query).await?;
    let mut response = match asked_form(&headers, &[Form::Json, Form::Columns]) {
        Form::Columns => {
            let tables: Vec<Table> = series.into_iter().map(table_from_envelope).collect();
            ([(header::CONTENT_TYPE, COLUMNS)], columns::encode(&tables)).into_response()
        }
        Form::Json | Form::Csv => Answer(Envelopes { series }).into_response(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn envelope_query(query: &str) -> Result<EnvelopeQuery, Failure> {
    let wrong = |field: &str, wanted: String| Failure::Query { field: Some(field.to_owned()), wanted };
    let mut asked = EnvelopeQuery::of(vec![], limits::BUCKETS);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = || value.parse::<f64>().map_err(|_| wrong(&key, format!("{value:?} must be a number")));
        match key.as_ref() {
            "series" if asked.series.len() == limits::SERIES => {
                return Err(wrong("series", format!("at most {} series at once", limits::SERIES)));
            }
            "series" => {
                let series = value.parse::<SeriesRef>();
                asked.series.push(series.map_err(|wanted| wrong("series", format!("{value:?}: {wanted}")))?);
            }
            "from" => asked.from = Some(number()?),
            "to" => asked.to = Some(number()?),
            "buckets" => {
                let wanted =
                    || wrong("buckets", format!("{value:?} must be a whole number from 1 to 10,000"));
                asked.buckets = value.parse().map_err(|_| wanted())?;
            }
            "by" => asked.by = choice(&value, "x, time, index").map_err(|wanted| wrong("by", wanted))?,
            "scale" => {
                asked.scale = choice(&value, "linear, log").map_err(|wanted| wrong("scale", wanted))?
            }
            "edges" => asked.edges = choice(&value, "near, even").map_err(|wanted| wrong("edges", wanted))?,
            other => {
                let wanted = "unknown, expected one of series, from, to, buckets, by, scale, edges";
                return Err(wrong(other, wanted.to_owned()));
            }
        }
    }
    if asked.series.is_empty() {
        return Err(wrong(
            "series",
            "at least one series={job}/{channel} is needed, such as TRIG-12/loss".into(),
        ));
    }
    Ok(asked)
}

/// One of some words.
fn choice<T: serde::de::DeserializeOwned>(value: &str, words: &str) -> Result<T, String> {
    serde_json::from_value(value.into()).map_err(|_| format!("{value:?} must be one of {words}"))
}

fn table_from_envelope(envelope: Envelope) -> Table {
    let numbers = |values: Vec<Number>| Data::F64(values.into_iter().map(|Number(value)| value).collect());
    let mut meta = serde_json::Map::new();
    meta.insert("job".into(), envelope.job.to_string().into());
    meta.insert("mark".into(), envelope.mark.into());
    Table { name: envelope.channel.to_string(), meta, columns: vec![] }
        .with("x_first", numbers(envelope.x_first))
        .with("x_last", numbers(envelope.x_last))
        .with("first", numbers(envelope.first))
        .with("last", numbers(envelope.last))
        .with("min", numbers(envelope.min))
        .with("max", numbers(envelope.max))
        .with("count", Data::U64(envelope.count))
        .with("nan", Data::U64(envelope.nan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn csv_keeps_every_number() {
        let page = PointsPage {
            x: vec![1.0, 0.1, -0.0],
            y: vec![f64::NAN, f64::NEG_INFINITY, 5e-324],
            time: vec![0, -1, i64::MAX],
            next: None,
        };
        expect![[r#"
            x,y,time
            1.0,NaN,0
            0.1,-Infinity,-1
            -0.0,5e-324,9223372036854775807
        "#]]
        .assert_eq(&csv_from_page(&page).replace("\r\n", "\n"));
    }

    fn check(query: &str, expected: Expect) {
        let problem = envelope_query(query).unwrap_err().problem();
        expected.assert_eq(&format!("{}: {}", problem.field.unwrap_or_default(), problem.detail));
    }

    #[test]
    fn an_envelope_query_says_what_is_wrong() {
        check("", expect!["series: at least one series={job}/{channel} is needed, such as TRIG-12/loss"]);
        check(
            "series=TRIG-12",
            expect![[r#"series: "TRIG-12": must be {job}/{channel}, such as TRIG-12/loss"#]],
        );
        check(
            "series=TRIG-1/a&buckets=many",
            expect![[r#"buckets: "many" must be a whole number from 1 to 10,000"#]],
        );
        check("series=TRIG-1/a&from=x", expect![[r#"from: "x" must be a number"#]]);
        check("series=TRIG-1/a&by=y", expect![[r#"by: "y" must be one of x, time, index"#]]);
        check(
            "sries=TRIG-1/a",
            expect!["sries: unknown, expected one of series, from, to, buckets, by, scale, edges"],
        );
        check(&"series=T-1/a&".repeat(201), expect!["series: at most 200 series at once"]);
        let asked = envelope_query("series=T-1%2Ftrain%2Floss&by=time&to=5").unwrap();
        assert_eq!(asked.series[0].channel.as_str(), "train/loss");
    }

    #[test]
    fn the_link_to_the_next_page_keeps_the_question() {
        let uri: Uri = "/api/v1/x?from=1&cursor=old&limit=2".parse().unwrap();
        let link = link_to(&uri, "a&b").unwrap();
        assert_eq!(link, "</api/v1/x?from=1&limit=2&cursor=a%26b>; rel=\"next\"");
    }
}
