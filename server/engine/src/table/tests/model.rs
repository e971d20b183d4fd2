//! Jobs made at random, and of known looks.

use std::collections::BTreeMap;

use neptune_wire::job::Param;
use neptune_wire::{
    AttemptNumber, ChannelSummary, Job, JobId, JobState, JobUid, Micros, Number, ParamName, ParamValue,
    ProjectKey, Tag,
};
use proptest::prelude::*;

use super::super::rows::{MetricCells, Rows};

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) job: Job,
    pub(crate) metrics: BTreeMap<String, ChannelSummary>,
}

impl Row {
    pub(crate) fn put(&self, rows: &mut Rows) {
        rows.take_job(&self.job);
        let row = rows.find(&self.job.uid).unwrap();
        for (name, summary) in &self.metrics {
            if rows.take_metric(row, name, &MetricCells::from(summary)) {
                rows.note_change(row);
            }
        }
    }
}

pub(crate) fn table(all: &[Row]) -> Rows {
    let mut rows = Rows::default();
    all.iter().for_each(|row| row.put(&mut rows));
    rows
}

/// One job of known looks.
pub(crate) fn row(number: u64, name: &str, lr: Option<f64>, loss: Option<f64>) -> Row {
    let mut job = blank(number);
    job.name = name.into();
    job.params = lr.into_iter().map(|lr| param("lr", ParamValue::Double(Number(lr)))).collect();
    job.state = if number.is_multiple_of(2) { JobState::Running } else { JobState::Succeeded };
    job.started_micros = Some(Micros(number as i64 * 1_000));
    if number % 2 == 1 {
        job.properties.insert("branch".into(), "main".into());
    }
    let metrics = loss.map(|loss| ("loss".to_owned(), summary(&[loss])));
    Row { job, metrics: metrics.into_iter().collect() }
}

pub(super) fn blank(number: u64) -> Job {
    let project = ProjectKey::new("TRIG").unwrap();
    Job {
        id: JobId { project: project.clone(), number },
        uid: JobUid::from_bytes(u128::from(number).to_be_bytes()),
        project,
        name: String::new(),
        description: String::new(),
        state: JobState::Created,
        reason: None,
        silent_since_micros: None,
        exit_code: None,
        attempt: None,
        created_micros: Micros(0),
        started_micros: None,
        ended_micros: None,
        host: None,
        command: vec![],
        params: vec![],
        tags: vec![],
        properties: BTreeMap::new(),
        environment: BTreeMap::new(),
        metric: None,
        snapshot: None,
        dropped_points: 0,
        deleted: None,
    }
}

pub(crate) fn param(name: &str, value: ParamValue) -> Param {
    let name = ParamName::new(name).unwrap();
    Param { name, value, description: String::new(), required: false, default: None }
}

/// What the heads would say of these points.
fn summary(points: &[f64]) -> ChannelSummary {
    let finite: Vec<f64> = points.iter().copied().filter(|point| point.is_finite()).collect();
    let real = || points.iter().copied().filter(|point| !point.is_nan());
    ChannelSummary {
        count: points.len() as u64,
        last: points.last().copied().map(Number),
        min: real().reduce(f64::min).map(Number),
        max: real().reduce(f64::max).map(Number),
        mean: (!finite.is_empty()).then(|| Number(finite.iter().sum::<f64>() / finite.len() as f64)),
        ..ChannelSummary::default()
    }
}

pub(super) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 32.0]),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => any::<f64>(),
    ]
}

/// Texts, some of which read as numbers, or nearly.
pub(super) const TEXTS: [&str; 20] = [
    "",
    "a",
    "A",
    "ab",
    "aab",
    "größe",
    "ÜBER",
    "1",
    "0.5",
    "x\"y",
    "b\nc",
    "日本",
    "1.0",
    "1e0",
    "-0.0",
    "inf",
    "NaN",
    "zzz",
    "true",
    "2026-11-24",
];

pub(super) fn text() -> impl Strategy<Value = String> {
    prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned)
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    prop::collection::btree_set(prop::sample::select(vec!["a", "b", "ab"]), 0..3)
        .prop_map(|tags| tags.into_iter().map(|tag| Tag::new(tag).unwrap()).collect())
}

fn value() -> impl Strategy<Value = ParamValue> {
    prop_oneof![
        any::<bool>().prop_map(ParamValue::Boolean),
        (-2_i64..3).prop_map(ParamValue::Integer),
        number().prop_map(|value| ParamValue::Double(Number(value))),
        text().prop_map(ParamValue::String),
    ]
}

pub(crate) fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    // Numbers far apart lie on pages of their own.
    prop::collection::btree_map(1_u64..60, one(), 0..most)
        .prop_map(|rows| rows.into_iter().map(|(number, row)| numbered(number, row)).collect())
}

fn numbered(number: u64, mut row: Row) -> Row {
    let blank = blank(number);
    (row.job.id, row.job.uid) = (blank.id, blank.uid);
    row
}

fn one() -> impl Strategy<Value = Row> {
    let params = prop::collection::btree_map(prop::sample::select(vec!["p", "q q", "größe"]), value(), 0..3);
    let properties = prop::collection::btree_map(prop::sample::select(vec!["k", "k.l"]), text(), 0..3);
    let metrics = prop::collection::btree_map(
        prop::sample::select(vec!["m", "n.min", "日本"]),
        prop::collection::vec(number(), 1..4),
        0..3,
    );
    let times = (0_i64..4, prop::option::of(0_i64..4), prop::option::of(0_i64..4));
    let state = prop::sample::select(JobState::ALL.to_vec());
    let texts = (text(), text(), prop::option::of(text()), tags());
    (texts, state, params, properties, metrics, times, prop::option::of(0_u32..3)).prop_map(
        |(
            (name, description, host, tags),
            state,
            params,
            properties,
            metrics,
            (created, started, ended),
            attempt,
        )| {
            let mut job = blank(1);
            (job.name, job.host, job.tags, job.state) =
                (name, host.filter(|host| !host.is_empty()), tags, state);
            job.description = description;
            job.params = params.into_iter().map(|(name, value)| param(name, value)).collect();
            job.properties = properties.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
            job.created_micros = Micros(created);
            job.started_micros = started.map(Micros);
            job.ended_micros = ended.map(Micros);
            job.attempt = attempt.map(AttemptNumber);
            let metrics = metrics.into_iter().map(|(name, points)| (name.to_owned(), summary(&points)));
            Row { job, metrics: metrics.collect() }
        },
    )
}
