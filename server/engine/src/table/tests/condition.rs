//! Conditions made at random, and what each means by a plain look at one job: docs/filter.md, not the code that is tested.

use std::fmt;

use neptune_wire::{JobState, ParamValue};
use proptest::prelude::*;

use super::super::filter::{Compare, Field, Operand, Stat, quote};
use super::super::order::KeyValue;
use super::NOW;
use super::model::{Row, TEXTS, blank, number, text};

/// A condition that can be written and looked at.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    /// Of a column of numbers alone: what is written, and which number it is.
    Number(Operand, Compare, String, f64),
    NumberIn(Operand, Vec<f64>, bool),
    Text(Operand, Compare, Literal),
    TextIn(Operand, Vec<Literal>, bool),
    Like(Operand, String, bool, bool),
    Regex(Operand, String, bool),
    Null(Operand, bool),
    Nan(Operand, bool),
}

/// A value as it is written, in quotes or not.
#[derive(Debug, Clone)]
pub(crate) struct Literal {
    text: String,
    quoted: bool,
    /// What it stands for, where that is another text: a state by MLflow's name, a job by its uid.
    means: Option<String>,
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { f.write_str(&quote(&self.text)) } else { f.write_str(&self.text) }
    }
}

fn field(field: Field) -> Operand {
    Operand::Field(field)
}

fn of_numbers() -> impl Strategy<Value = Operand> {
    let names = vec!["m", "n.min", "日本", "none"];
    let metric = (prop::sample::select(names), prop::sample::select(Stat::ALL.to_vec()))
        .prop_map(|(name, stat)| Operand::Metric { name: name.into(), stat });
    prop_oneof![4 => metric, 1 => Just(field(Field::Attempt))]
}

fn of_times() -> impl Strategy<Value = Operand> {
    prop::sample::select(vec![field(Field::Created), field(Field::Started), field(Field::Ended)])
}

fn of_values() -> impl Strategy<Value = Operand> {
    let params = prop::sample::select(vec!["p", "q q", "größe", "none"]);
    prop_oneof![
        params.prop_map(|name| Operand::Param(name.into())),
        prop::sample::select(vec!["k", "k.l", "none"]).prop_map(|name| Operand::Property(name.into())),
    ]
}

fn of_texts() -> impl Strategy<Value = Operand> {
    prop_oneof![
        of_values(),
        prop::sample::select(vec![
            field(Field::Name),
            field(Field::Description),
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
        of_times(),
        prop::sample::select(vec![
            field(Field::Id),
            field(Field::Name),
            field(Field::Description),
            field(Field::State),
            field(Field::Duration)
        ])
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    use Compare::{Differs, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    prop::sample::select(vec![Equal, Differs, Less, LessOrEqual, Greater, GreaterOrEqual])
}

/// A value for params, properties and texts.
fn literal() -> impl Strategy<Value = Literal> {
    let number = number().prop_filter("NaN is no literal", |number| !number.is_nan());
    let bare = |text: &&str| !text.is_empty() && !text.contains(['"', '\n']) && *text != "NaN";
    let words: Vec<&str> = TEXTS.into_iter().filter(bare).collect();
    prop_oneof![
        text().prop_map(|text| Literal { text, quoted: true, means: None }),
        prop::sample::select(words).prop_map(|word| Literal {
            text: word.into(),
            quoted: false,
            means: None
        }),
        (number, any::<bool>()).prop_map(|(number, quoted)| Literal {
            text: format!("{number:?}"),
            quoted,
            means: None
        }),
    ]
}

/// A number that is written as one.
fn written_number() -> impl Strategy<Value = (String, f64)> {
    number()
        .prop_filter("NaN is no literal", |number| !number.is_nan())
        .prop_map(|number| (format!("{number:?}"), number))
}

/// A moment near those of the jobs.
fn written_time() -> impl Strategy<Value = (String, f64)> {
    let ago = |micros: i64| format!("-{}us", NOW.0 - micros);
    (0_i64..4, 0..4_u8).prop_map(move |(micros, how)| {
        let written = match how {
            0 => micros.to_string(),
            1 => format!("1970-01-01T00:00:00.{micros:06}Z"),
            2 => format!("\"1970-01-01 01:00:00.{micros:06}+01:00\""),
            _ => ago(micros),
        };
        (written, micros as f64)
    })
}

/// A length of time near those of the jobs.
fn written_length() -> impl Strategy<Value = (String, f64)> {
    prop_oneof![
        (0_i64..4).prop_map(|micros| (format!("{micros}us"), micros as f64)),
        Just(("0".to_owned(), 0.0)),
        Just(("11d13h46m40s".to_owned(), NOW.0 as f64)),
        (0_i64..4).prop_map(|micros| (format!("{}us", NOW.0 - micros), (NOW.0 - micros) as f64)),
    ]
}

/// A state by one of its names.
fn state_literal() -> impl Strategy<Value = Literal> {
    let mut names: Vec<(&str, &str)> =
        JobState::ALL.iter().map(|state| (state.as_str(), state.as_str())).collect();
    names.extend([
        ("FINISHED", "succeeded"),
        ("KILLED", "aborted"),
        ("Scheduled", "queued"),
        ("RUNNING", "running"),
    ]);
    (prop::sample::select(names), any::<bool>()).prop_map(|((text, means), quoted)| Literal {
        text: text.into(),
        quoted,
        means: Some(means.into()),
    })
}

/// A job by its id or its uid, of this project or another.
fn id_literal() -> impl Strategy<Value = Literal> {
    (1_u64..60, 0..3_u8).prop_map(|(number, how)| {
        let id = format!("TRIG-{number}");
        let (text, means) = match how {
            0 => (blank(number).uid.to_string(), id),
            1 => (format!("COS-{number}"), format!("COS-{number}")),
            _ => (id.clone(), id),
        };
        Literal { text, quoted: false, means: Some(means) }
    })
}

/// A tag is a set: only whether one is in it can be asked.
fn fits(operand: &Operand, compare: Compare) -> bool {
    *operand != field(Field::Tag) || matches!(compare, Compare::Equal | Compare::Differs)
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    use Compare::{Differs, Equal};
    let like = prop::sample::select(vec!["a%", "%", "_", "%ö%", "A", "", "%\"%", "b_c", "0.%"]);
    let regex = prop::sample::select(vec!["a+b", "^$", ".", "^A", "ö", "(1|2)"]);
    let leaf = prop_oneof![
        (of_numbers(), compare(), written_number())
            .prop_map(|(operand, compare, (text, number))| Condition::Number(operand, compare, text, number)),
        (of_times(), compare(), written_time())
            .prop_map(|(operand, compare, (text, number))| Condition::Number(operand, compare, text, number)),
        (compare(), written_length()).prop_map(|(compare, (text, number))| Condition::Number(
            field(Field::Duration),
            compare,
            text,
            number
        )),
        (
            prop_oneof![of_numbers(), of_times()],
            prop::collection::vec(prop::sample::select(vec![0.0, -0.0, 1.0, 2.0, -1.0]), 1..3),
            any::<bool>()
        )
            .prop_map(|(operand, numbers, not)| Condition::NumberIn(operand, numbers, not)),
        (of_texts(), compare(), literal())
            .prop_filter("of a set", |(operand, compare, _)| fits(operand, *compare))
            .prop_map(|(operand, compare, literal)| Condition::Text(operand, compare, literal)),
        (of_texts(), prop::collection::vec(literal(), 1..4), any::<bool>())
            .prop_map(|(operand, literals, not)| Condition::TextIn(operand, literals, not)),
        (compare(), state_literal()).prop_map(|(compare, literal)| Condition::Text(
            field(Field::State),
            compare,
            literal
        )),
        (prop::collection::vec(state_literal(), 1..4), any::<bool>())
            .prop_map(|(literals, not)| Condition::TextIn(field(Field::State), literals, not)),
        (
            prop::sample::select(vec![Field::Id, Field::Uid]),
            prop::sample::select(vec![Equal, Differs]),
            id_literal()
        )
            .prop_map(|(id, compare, literal)| Condition::Text(field(id), compare, literal)),
        (
            prop::sample::select(vec![Field::Id, Field::Uid]),
            prop::collection::vec(id_literal(), 1..5),
            any::<bool>()
        )
            .prop_map(|(id, literals, not)| Condition::TextIn(field(id), literals, not)),
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
            Condition::Number(operand, compare, text, _) => write!(f, "{operand} {} {text}", sign(*compare)),
            Condition::NumberIn(operand, numbers, negated) => {
                let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
                write!(f, "{operand} {}in ({})", not(negated), numbers.join(", "))
            }
            Condition::Text(operand, compare, literal) => write!(f, "{operand}{}{literal}", sign(*compare)),
            Condition::TextIn(operand, literals, negated) => {
                let texts: Vec<String> = literals.iter().map(Literal::to_string).collect();
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

/// What a job has in a column.
struct Has {
    text: String,
    /// What it is as a number.
    number: Option<f64>,
    of: Of,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Numbers,
    Texts,
    /// Params and properties, where this one was written as a text.
    Written,
    /// The same, where it was something else.
    Typed,
}

fn has(row: &Row, operand: &Operand) -> Vec<Has> {
    let job = &row.job;
    let text = |text: &str| vec![Has { text: text.to_owned(), number: None, of: Of::Texts }];
    let some = |found: &str| if found.is_empty() { vec![] } else { text(found) };
    let number = |number: Option<f64>| -> Vec<Has> {
        let one = |number| Has { text: String::new(), number: Some(number), of: Of::Numbers };
        number.into_iter().map(one).collect()
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
            let (number, of) = match &param.value {
                ParamValue::Integer(value) => (Some(*value as f64), Of::Typed),
                ParamValue::Double(value) => (Some(value.0), Of::Typed),
                ParamValue::Boolean(_) => (None, Of::Typed),
                ParamValue::String(text) => (reads_as_number(text), Of::Written),
            };
            vec![Has { text: param.value.to_string(), number, of }]
        }
        Operand::Property(name) => {
            let Some(text) = job.properties.get(name) else { return vec![] };
            vec![Has { text: text.clone(), number: reads_as_number(text), of: Of::Written }]
        }
        Operand::Field(Field::Id) => text(&job.id.to_string()),
        Operand::Field(Field::Uid) => text(&job.uid.to_string()),
        Operand::Field(Field::Name) => text(&job.name),
        Operand::Field(Field::Description) => some(&job.description),
        Operand::Field(Field::Project) => text(job.project.as_str()),
        Operand::Field(Field::Host) => job.host.as_deref().map(text).unwrap_or_default(),
        Operand::Field(Field::State) => text(job.state.as_str()),
        Operand::Field(Field::Tag) => job.tags.iter().flat_map(|tag| text(tag.as_str())).collect(),
        Operand::Field(Field::Created) => number(Some(job.created_micros.0 as f64)),
        Operand::Field(Field::Started) => number(job.started_micros.map(|micros| micros.0 as f64)),
        Operand::Field(Field::Ended) => number(job.ended_micros.map(|micros| micros.0 as f64)),
        Operand::Field(Field::Attempt) => number(job.attempt.map(|attempt| f64::from(attempt.0))),
        Operand::Field(Field::Duration) => {
            let until = job.ended_micros.unwrap_or(NOW).0;
            number(job.started_micros.map(|started| (until - started.0).max(0) as f64))
        }
        other => panic!("{other} is not asked here"),
    }
}

/// What a job is ordered by.
pub(crate) fn key_of(row: &Row, operand: &Operand) -> KeyValue {
    match operand {
        // In the order of a job's life.
        Operand::Field(Field::State) => return KeyValue::Number(f64::from(row.job.state as u8)),
        // All are of one project.
        Operand::Field(Field::Id) => return KeyValue::Number(row.job.id.number as f64),
        _ => {}
    }
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

/// `0.1`, `1e-3`, `inf`; NaN is no number that anything is equal to.
fn reads_as_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

impl Has {
    fn is_nan(&self) -> bool {
        self.number.is_some_and(f64::is_nan)
    }

    fn equals(&self, literal: &Literal) -> bool {
        let text = literal.means.as_ref().unwrap_or(&literal.text);
        if self.is_nan() {
            return false;
        }
        match (self.of, self.number, reads_as_number(text)) {
            (Of::Texts, ..) => self.text == *text,
            // In quotes it is exact where the value is a text.
            (Of::Written, ..) if literal.quoted => self.text == *text,
            (_, Some(number), Some(with)) => number == with,
            _ => self.text == *text,
        }
    }

    fn compares(&self, compare: Compare, literal: &Literal) -> bool {
        let text = literal.means.as_ref().unwrap_or(&literal.text);
        match (compare, self.of, self.number, reads_as_number(text)) {
            _ if self.is_nan() => false,
            (Compare::Equal, ..) => self.equals(literal),
            (Compare::Differs, ..) => !self.equals(literal),
            (_, Of::Texts, ..) => compare_texts(compare, &self.text, text),
            (_, _, Some(number), Some(with)) => compare_numbers(compare, number, with),
            // A number has no order among texts; what is in quotes is a text to a text.
            (_, _, Some(_), None) => false,
            (_, _, None, Some(_)) if !literal.quoted => false,
            _ => compare_texts(compare, &self.text, text),
        }
    }
}

/// Either form of an id will do for both.
fn by_id(operand: &Operand) -> Operand {
    if *operand == field(Field::Uid) { field(Field::Id) } else { operand.clone() }
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
            Condition::Number(operand, compare, _, with) => {
                has(row, operand).iter().any(|has| compare_numbers(*compare, has.number.unwrap(), *with))
            }
            Condition::NumberIn(operand, numbers, negated) => has(row, operand).iter().any(|has| {
                let number = has.number.unwrap();
                !number.is_nan() && numbers.contains(&number) != *negated
            }),
            Condition::Text(operand, compare, literal) => {
                let (operand, all) = (by_id(operand), has(row, &by_id(operand)));
                if operand == field(Field::Tag) {
                    return all.iter().any(|has| has.equals(literal)) != (*compare == Compare::Differs);
                }
                all.iter().any(|has| has.compares(*compare, literal))
            }
            Condition::TextIn(operand, literals, negated) => {
                let (operand, all) = (by_id(operand), has(row, &by_id(operand)));
                let contains = |has: &Has| literals.iter().any(|literal| has.equals(literal));
                if operand == field(Field::Tag) {
                    return all.iter().any(contains) != *negated;
                }
                all.iter().any(|has| !has.is_nan() && contains(has) != *negated)
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
            Condition::Nan(operand, negated) => {
                has(row, operand).iter().any(|has| has.number.is_some() && has.is_nan() != *negated)
            }
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
