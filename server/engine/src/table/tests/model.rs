//! Jobs and conditions made at random, and what a condition means by a plain look at one job.

use std::collections::BTreeMap;
use std::fmt;

use neptune_wire::job::Param;
use neptune_wire::{
    AttemptNumber, ChannelSummary, Job, JobId, JobState, JobUid, Micros, Number, ParamName, ParamValue,
    ProjectKey, Tag,
};
use proptest::prelude::*;

use super::super::filter::{Compare, Field, Operand, Stat, quote};
use super::super::order::KeyValue;
use super::super::rows::{MetricCells, Rows};
use super::NOW;

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

fn blank(number: u64) -> Job {
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

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => prop::sample::select(vec![0.0, 1.0, -1.0, 0.5, 2.0, 32.0]),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => any::<f64>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "A", "ab", "aab", "größe", "ÜBER", "1", "0.5", "x\"y", "b\nc", "日本"])
        .prop_map(str::to_owned)
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
    let params = prop::collection::btree_map(prop::sample::select(vec!["p", "q q"]), value(), 0..3);
    let properties = prop::collection::btree_map(prop::sample::select(vec!["k", "k.l"]), text(), 0..3);
    let metrics = prop::collection::btree_map(
        prop::sample::select(vec!["m", "n.min"]),
        prop::collection::vec(number(), 1..4),
        0..3,
    );
    let times = (0_i64..4, prop::option::of(0_i64..4), prop::option::of(0_i64..4));
    let state = prop::sample::select(JobState::ALL.to_vec());
    let texts = (text(), prop::option::of(text()), tags());
    (texts, state, params, properties, metrics, times, prop::option::of(0_u32..3)).prop_map(
        |((name, host, tags), state, params, properties, metrics, (created, started, ended), attempt)| {
            let mut job = blank(1);
            (job.name, job.host, job.tags, job.state) =
                (name, host.filter(|host| !host.is_empty()), tags, state);
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

/// A condition that can be written and looked at.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Number(Operand, Compare, f64),
    NumberIn(Operand, Vec<f64>, bool),
    Text(Operand, Compare, String),
    TextIn(Operand, Vec<String>, bool),
    Like(Operand, String, bool, bool),
    Regex(Operand, String, bool),
    Null(Operand, bool),
    Nan(Operand, bool),
}

fn field(field: Field) -> Operand {
    Operand::Field(field)
}

fn of_numbers() -> impl Strategy<Value = Operand> {
    let metric = (prop::sample::select(vec!["m", "n.min", "none"]), prop::sample::select(Stat::ALL.to_vec()))
        .prop_map(|(name, stat)| Operand::Metric { name: name.into(), stat });
    prop_oneof![
        4 => metric,
        1 => prop::sample::select(vec![field(Field::Created), field(Field::Started), field(Field::Ended), field(Field::Attempt)]),
    ]
}

fn of_values() -> impl Strategy<Value = Operand> {
    prop_oneof![
        prop::sample::select(vec!["p", "q q", "none"]).prop_map(|name| Operand::Param(name.into())),
        prop::sample::select(vec!["k", "k.l", "none"]).prop_map(|name| Operand::Property(name.into())),
    ]
}

fn of_texts() -> impl Strategy<Value = Operand> {
    prop_oneof![
        of_values(),
        prop::sample::select(vec![
            field(Field::Name),
            field(Field::Host),
            field(Field::Tag),
            field(Field::Project)
        ]),
    ]
}

/// Anything rows can be ordered by.
pub(crate) fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        of_numbers(),
        of_values(),
        prop::sample::select(vec![field(Field::Name), field(Field::State), field(Field::Duration)])
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    use Compare::{Differs, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    prop::sample::select(vec![Equal, Differs, Less, LessOrEqual, Greater, GreaterOrEqual])
}

fn literal() -> impl Strategy<Value = f64> {
    number().prop_filter("NaN is no literal", |number| !number.is_nan())
}

/// A tag is a set: only whether one is in it can be asked.
fn fits(operand: &Operand, compare: Compare) -> bool {
    *operand != field(Field::Tag) || matches!(compare, Compare::Equal | Compare::Differs)
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    let time = |operand: &Operand, number: f64| match operand {
        // Times are whole, and infinity is none.
        Operand::Field(Field::Created | Field::Started | Field::Ended) if !number.is_finite() => 1.0,
        _ => number,
    };
    let like = prop::sample::select(vec!["a%", "%", "_", "%ö%", "A", "", "%\"%", "b_c", "0.%"]);
    let regex = prop::sample::select(vec!["a+b", "^$", ".", "^A", "ö", "(1|2)"]);
    let leaf = prop_oneof![
        (of_numbers(), compare(), literal()).prop_map(move |(operand, compare, number)| {
            let number = time(&operand, number);
            Condition::Number(operand, compare, number)
        }),
        (
            of_numbers(),
            prop::collection::vec(prop::sample::select(vec![0.0, 1.0, 2.0, -1.0]), 1..3),
            any::<bool>()
        )
            .prop_map(|(operand, numbers, not)| Condition::NumberIn(operand, numbers, not)),
        (of_values(), compare(), literal())
            .prop_map(|(operand, compare, number)| Condition::Number(operand, compare, number)),
        (of_texts(), compare(), text())
            .prop_filter("of a set", |(operand, compare, _)| fits(operand, *compare))
            .prop_map(|(operand, compare, text)| Condition::Text(operand, compare, text)),
        (of_texts(), prop::collection::vec(text(), 1..3), any::<bool>())
            .prop_map(|(operand, texts, not)| Condition::TextIn(operand, texts, not)),
        (of_texts(), like, any::<bool>(), any::<bool>())
            .prop_map(|(operand, pattern, fold, not)| Condition::Like(operand, pattern.into(), fold, not)),
        (of_texts(), regex, any::<bool>()).prop_map(|(operand, regex, not)| Condition::Regex(
            operand,
            regex.into(),
            not
        )),
        (prop_oneof![of_numbers(), of_texts()], any::<bool>())
            .prop_map(|(operand, not)| Condition::Null(operand, not)),
        (prop_oneof![of_numbers(), of_values()], any::<bool>())
            .prop_map(|(operand, not)| Condition::Nan(operand, not)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: &[Condition], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({part})")).collect();
            parts.join(word)
        };
        let not = |not: &bool| if *not { "not " } else { "" };
        match self {
            Condition::And(parts) => f.write_str(&list(parts, " AND ")),
            Condition::Or(parts) => f.write_str(&list(parts, " or ")),
            Condition::Not(inner) => write!(f, "not ({inner})"),
            Condition::Number(operand, compare, number) => {
                write!(f, "{operand} {} {number:?}", sign(*compare))
            }
            Condition::NumberIn(operand, numbers, negated) => {
                let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
                write!(f, "{operand} {}in ({})", not(negated), numbers.join(", "))
            }
            Condition::Text(operand, compare, text) => {
                write!(f, "{operand}{}{}", sign(*compare), quote(text))
            }
            Condition::TextIn(operand, texts, negated) => {
                let texts: Vec<String> = texts.iter().map(|text| quote(text)).collect();
                write!(f, "{operand} {}in ({})", not(negated), texts.join(","))
            }
            Condition::Like(operand, pattern, fold, negated) => {
                write!(
                    f,
                    "{operand} {}{} {}",
                    not(negated),
                    if *fold { "ILIKE" } else { "like" },
                    quote(pattern)
                )
            }
            Condition::Regex(operand, regex, negated) => {
                write!(f, "{operand} {} {}", if *negated { "!~" } else { "~" }, quote(regex))
            }
            Condition::Null(operand, negated) => write!(f, "{operand} is {}null", not(negated)),
            Condition::Nan(operand, negated) => write!(f, "{operand} is {}nan", not(negated)),
        }
    }
}

fn sign(compare: Compare) -> &'static str {
    match compare {
        Compare::Equal => "=",
        Compare::Differs => "!=",
        Compare::Less => "<",
        Compare::LessOrEqual => "<=",
        Compare::Greater => ">",
        Compare::GreaterOrEqual => ">=",
    }
}

/// What a job has in a column, as a text, as a number, or as both.
struct Has {
    text: String,
    number: Option<f64>,
    /// It was a text from the start.
    is_text: bool,
}

fn has(row: &Row, operand: &Operand) -> Vec<Has> {
    let job = &row.job;
    let text = |text: &str| vec![Has { text: text.to_owned(), number: None, is_text: true }];
    let number = |number: Option<f64>| -> Vec<Has> {
        number
            .into_iter()
            .map(|number| Has { text: String::new(), number: Some(number), is_text: false })
            .collect()
    };
    match operand {
        Operand::Metric { name, stat } => {
            let Some(summary) = row.metrics.get(name) else { return vec![] };
            number(match stat {
                Stat::Count => Some(summary.count as f64),
                Stat::Last => summary.last.map(|value| value.0),
                Stat::Min => summary.min.map(|value| value.0),
                Stat::Max => summary.max.map(|value| value.0),
                Stat::Mean => summary.mean.map(|value| value.0),
            })
        }
        Operand::Param(name) => {
            let Some(param) = job.params.iter().find(|param| param.name.as_str() == name) else {
                return vec![];
            };
            let (number, is_text) = match &param.value {
                ParamValue::Integer(value) => (Some(*value as f64), false),
                ParamValue::Double(value) => (Some(value.0), false),
                ParamValue::Boolean(_) => (None, false),
                ParamValue::String(_) => (None, true),
            };
            vec![Has { text: param.value.to_string(), number, is_text }]
        }
        Operand::Property(name) => {
            let Some(text) = job.properties.get(name) else { return vec![] };
            let number =
                if text.starts_with(|c: char| c.is_ascii_digit()) { text.parse().ok() } else { None };
            vec![Has { text: text.clone(), number, is_text: true }]
        }
        Operand::Field(Field::Name) => text(&job.name),
        Operand::Field(Field::Project) => text(job.project.as_str()),
        Operand::Field(Field::Host) => job.host.as_deref().map(text).unwrap_or_default(),
        Operand::Field(Field::Tag) => job.tags.iter().flat_map(|tag| text(tag.as_str())).collect(),
        Operand::Field(Field::Created) => number(Some(job.created_micros.0 as f64)),
        Operand::Field(Field::Started) => number(job.started_micros.map(|micros| micros.0 as f64)),
        Operand::Field(Field::Ended) => number(job.ended_micros.map(|micros| micros.0 as f64)),
        Operand::Field(Field::Attempt) => number(job.attempt.map(|attempt| f64::from(attempt.0))),
        Operand::Field(Field::State) => number(Some(f64::from(job.state as u8))),
        Operand::Field(Field::Duration) => {
            let until = job.ended_micros.unwrap_or(NOW).0;
            number(job.started_micros.map(|started| (until - started.0).max(0) as f64))
        }
        other => panic!("{other} is not asked here"),
    }
}

/// What a job is ordered by.
pub(crate) fn key_of(row: &Row, operand: &Operand) -> KeyValue {
    match has(row, operand).pop() {
        None => KeyValue::Absent,
        Some(Has { number: Some(number), .. }) => KeyValue::Number(number),
        Some(Has { text, .. }) => KeyValue::Text(text),
    }
}

fn compare_numbers(compare: Compare, a: f64, b: f64) -> bool {
    match compare {
        Compare::Equal => a == b,
        Compare::Differs => a != b && !a.is_nan(),
        Compare::Less => a < b,
        Compare::LessOrEqual => a <= b,
        Compare::Greater => a > b,
        Compare::GreaterOrEqual => a >= b,
    }
}

fn compare_texts(compare: Compare, a: &str, b: &str) -> bool {
    match compare {
        Compare::Equal => a == b,
        Compare::Differs => a != b,
        Compare::Less => a < b,
        Compare::LessOrEqual => a <= b,
        Compare::Greater => a > b,
        Compare::GreaterOrEqual => a >= b,
    }
}

fn reads_as_number(text: &str) -> Option<f64> {
    if text.starts_with(|c: char| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A text in quotes: exactly this text where the value is one, a number where it is a number and the text reads as one.
fn equals(has: &Has, text: &str) -> bool {
    match (has.number, reads_as_number(text)) {
        (Some(number), Some(with)) if !has.is_text => number == with,
        _ => has.text == text,
    }
}

fn is_like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|from| is_like(&text[from..], rest)),
        Some(('_', rest)) => text.split_first().is_some_and(|(_, text)| is_like(text, rest)),
        Some((c, rest)) => text.split_first().is_some_and(|(first, text)| first == c && is_like(text, rest)),
    }
}

impl Condition {
    pub(crate) fn holds(&self, row: &Row) -> bool {
        match self {
            Condition::And(parts) => parts.iter().all(|part| part.holds(row)),
            Condition::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Condition::Not(inner) => !inner.holds(row),
            Condition::Number(operand, compare, with) => {
                has(row, operand).iter().any(|has| match has.number {
                    Some(number) => compare_numbers(*compare, number, *with),
                    // A text is compared with what was written; it has no order among numbers.
                    None => match compare {
                        Compare::Equal => has.text == format!("{with:?}"),
                        Compare::Differs => has.text != format!("{with:?}"),
                        _ => false,
                    },
                })
            }
            Condition::NumberIn(operand, numbers, negated) => has(row, operand).iter().any(|has| {
                let number = has.number.unwrap();
                !number.is_nan() && numbers.contains(&number) != *negated
            }),
            Condition::Text(operand, compare, text) => {
                let all = has(row, operand);
                if *operand == field(Field::Tag) {
                    return all.iter().any(|has| has.text == *text) != (*compare == Compare::Differs);
                }
                all.iter().any(|has| match (compare, has.number, reads_as_number(text)) {
                    (Compare::Equal, ..) => equals(has, text),
                    (Compare::Differs, Some(number), Some(_)) if !has.is_text => {
                        !number.is_nan() && !equals(has, text)
                    }
                    (Compare::Differs, ..) => !equals(has, text),
                    (_, Some(number), Some(with)) => compare_numbers(*compare, number, with),
                    _ => compare_texts(*compare, &has.text, text),
                })
            }
            Condition::TextIn(operand, texts, negated) => {
                let all = has(row, operand);
                let contains = |has: &Has| texts.iter().any(|text| equals(has, text) || has.text == *text);
                if *operand == field(Field::Tag) {
                    return all.iter().any(contains) != *negated;
                }
                all.iter().any(|has| !has.number.is_some_and(f64::is_nan) && contains(has) != *negated)
            }
            Condition::Like(operand, pattern, fold, negated) => {
                let chars = |text: &str| -> Vec<char> {
                    if *fold { text.to_lowercase().chars().collect() } else { text.chars().collect() }
                };
                self.any_text(row, operand, *negated, |text| is_like(&chars(text), &chars(pattern)))
            }
            Condition::Regex(operand, regex, negated) => {
                let regex = regex::Regex::new(regex).unwrap();
                self.any_text(row, operand, *negated, |text| regex.is_match(text))
            }
            Condition::Null(operand, negated) => has(row, operand).is_empty() != *negated,
            Condition::Nan(operand, negated) => has(row, operand)
                .iter()
                .any(|has| has.number.is_some_and(|number| number.is_nan() != *negated)),
        }
    }

    fn any_text(&self, row: &Row, operand: &Operand, negated: bool, test: impl Fn(&str) -> bool) -> bool {
        let all = has(row, operand);
        if *operand == field(Field::Tag) {
            return all.iter().any(|has| test(&has.text)) != negated;
        }
        all.iter().any(|has| test(&has.text) != negated)
    }
}
