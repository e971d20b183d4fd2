//! What one condition asks of a value: its texts read as what the column holds, ready to be put to every value of it.
//!
//! Lists are searched, not gone through: a filter may name thousands of ids or numbers.

use std::collections::HashSet;

use neptune_wire::{JobId, JobState, JobUid, Micros};

use super::coded::{Entry, Kind};
use super::filter::{Check, Compare, Field, FilterError, Test, Value, read_length, read_moment};
use super::paged::Cell as _;
use super::plan::Plan;
use super::rows::Rows;

pub(super) type EntryTest<'t> = Box<dyn Fn(&Entry) -> bool + 't>;
pub(super) type TextTest = Box<dyn Fn(&str) -> bool>;

/// A condition on a number. NaN passes none but its own.
#[derive(Debug, Clone)]
pub(crate) enum NumberTest {
    Compare(Compare, f64),
    In(Numbers, bool),
    Nan(bool),
}

/// A set of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Numbers(Vec<f64>);

impl Numbers {
    fn new(values: impl Iterator<Item = f64>) -> Numbers {
        // NaN equals nothing; adding zero makes -0.0 positive.
        let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).map(|value| value + 0.0).collect();
        values.sort_unstable_by(f64::total_cmp);
        Numbers(values)
    }

    fn contains(&self, value: f64) -> bool {
        self.0.binary_search_by(|other| other.total_cmp(&(value + 0.0))).is_ok()
    }
}

impl NumberTest {
    pub(super) fn passes(&self, value: f64) -> bool {
        match self {
            NumberTest::Compare(compare, with) => compare_numbers(*compare, value, *with),
            NumberTest::In(values, negated) => !value.is_nan() && values.contains(value) != *negated,
            NumberTest::Nan(negated) => value.is_nan() != *negated,
        }
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

/// The test without its negation, which is made of the whole set.
pub(super) fn positive(test: &Test) -> Test {
    let check = match &test.check {
        Check::Compare(Compare::Differs, value) => Check::Compare(Compare::Equal, value.clone()),
        check => check.clone(),
    };
    Test { negated: false, check, ..test.clone() }
}

pub(super) fn number_test(
    test: &Test,
    read: impl Fn(&Value) -> Result<f64, FilterError>,
) -> Result<NumberTest, FilterError> {
    match &test.check {
        Check::Compare(compare, value) => Ok(NumberTest::Compare(*compare, read(value)?)),
        Check::In(values) => {
            let values: Vec<f64> = values.iter().map(read).collect::<Result<_, _>>()?;
            Ok(NumberTest::In(Numbers::new(values.into_iter()), test.negated))
        }
        Check::Nan => Ok(NumberTest::Nan(test.negated)),
        Check::Matches(_) | Check::Null => Err(FilterError::new(
            test.at,
            format!("{} is a number; expected =, !=, <, <=, >, >=, in or is", test.operand),
        )),
    }
}

pub(super) fn read_number(value: &Value) -> Result<f64, FilterError> {
    value.number().ok_or_else(|| wrong(value, "a number such as 0.1, 1e-3 or -inf"))
}

pub(super) fn read_time(value: &Value, now: Micros, scale: f64) -> Result<f64, FilterError> {
    if let Some(number) = value.number().filter(|number| number.is_finite()) {
        return Ok(number * scale);
    }
    if let Some(length) = read_length(&value.text) {
        return Ok(now.0.saturating_add(length) as f64);
    }
    let moment = read_moment(&value.text);
    moment.map(|micros| micros as f64).ok_or_else(|| {
        wrong(value, "a time such as -7d (ago), 2026-11-24, \"2026-11-24 10:30\" or 2026-11-24T10:30:00Z")
    })
}

pub(super) fn read_duration(value: &Value) -> Result<f64, FilterError> {
    let length = read_length(&value.text).or_else(|| (value.text == "0").then_some(0));
    length.map(|micros| micros as f64).ok_or_else(|| wrong(value, "a length of time such as 90s or 1h30m"))
}

fn wrong(value: &Value, wanted: &str) -> FilterError {
    FilterError::new(value.at, format!("expected {wanted}; found {:?}", value.text))
}

/// A state by our name or MLflow's.
pub(super) fn read_state(value: &Value, text: &str) -> Result<String, FilterError> {
    let name = text.to_ascii_lowercase();
    let name = match name.as_str() {
        "finished" => "succeeded",
        "killed" => "aborted",
        "scheduled" => "queued",
        name => name,
    };
    let known = JobState::ALL.map(JobState::as_str);
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(wrong(value, &format!("one of {}", known.join(", "))))
}

/// A condition on a text; `read` gives values of `=` and the like their form in the column.
pub(super) fn text_test(
    test: &Test,
    read: impl Fn(&Value, &str) -> Result<String, FilterError>,
) -> Result<TextTest, FilterError> {
    let negated = test.negated;
    Ok(match &test.check {
        Check::Compare(compare, value) => {
            let (compare, with) = (*compare, read(value, &value.text)?);
            Box::new(move |text| compare_texts(compare, text, &with))
        }
        Check::In(values) => {
            let values: HashSet<String> =
                values.iter().map(|value| read(value, &value.text)).collect::<Result<_, _>>()?;
            Box::new(move |text| values.contains(text) != negated)
        }
        Check::Matches(pattern) => {
            let regex = pattern.regex.clone();
            Box::new(move |text| regex.is_match(text) != negated)
        }
        Check::Nan | Check::Null => {
            return Err(FilterError::new(
                test.at,
                format!("{} is a text; only a number can be NaN", test.operand),
            ));
        }
    })
}

/// A condition on a param or property, which may be a number or a text.
///
/// A value that reads as a number is compared with numbers as a number, quoted or not; MLflow's params are all texts.
pub(super) fn mixed_test<'t>(test: &Test) -> Result<EntryTest<'t>, FilterError> {
    let negated = test.negated;
    Ok(match &test.check {
        Check::Nan => Box::new(move |entry| is_number(entry) && entry.number.is_nan() != negated),
        Check::Compare(compare, value) => {
            let (compare, with) = (*compare, Mixed::new(value));
            Box::new(move |entry| !is_nan(entry) && with.passes(compare, entry))
        }
        Check::In(values) => {
            let any = AnyOf::new(values);
            Box::new(move |entry| !is_nan(entry) && any.contains(entry) != negated)
        }
        Check::Matches(_) | Check::Null => {
            let test = text_test(test, |_, text| Ok(text.to_owned()))?;
            Box::new(move |entry| test(&entry.text))
        }
    })
}

fn is_number(entry: &Entry) -> bool {
    !entry.number.is_absent()
}

/// Whether its value is NaN; what is no number is not.
fn is_nan(entry: &Entry) -> bool {
    is_number(entry) && entry.number.is_nan()
}

/// What a param or property is compared with.
struct Mixed {
    text: String,
    number: Option<f64>,
    quoted: bool,
}

impl Mixed {
    fn new(value: &Value) -> Mixed {
        Mixed { text: value.text.clone(), number: value.number(), quoted: value.quoted }
    }

    fn passes(&self, compare: Compare, entry: &Entry) -> bool {
        match compare {
            Compare::Equal => self.equals(entry),
            Compare::Differs => !self.equals(entry),
            compare => match self.number {
                Some(number) if is_number(entry) => compare_numbers(compare, entry.number, number),
                // A number has no order among texts; in quotes it is a text to texts.
                Some(_) if !self.quoted => false,
                None if is_number(entry) => false,
                _ => compare_texts(compare, &entry.text, &self.text),
            },
        }
    }

    fn equals(&self, entry: &Entry) -> bool {
        match self.number {
            // In quotes it means this very text, where a text is what it is compared with.
            Some(number) if is_number(entry) && !(self.quoted && entry.kind == Kind::Text) => {
                entry.number == number
            }
            _ => *entry.text == *self.text,
        }
    }
}

/// A list of values: whether one of them is equal, by [`Mixed::equals`].
struct AnyOf {
    texts: HashSet<String>,
    bare: Numbers,
    all: Numbers,
}

impl AnyOf {
    fn new(values: &[Value]) -> AnyOf {
        let numbers =
            |values: &mut dyn Iterator<Item = &Value>| Numbers::new(values.filter_map(Value::number));
        AnyOf {
            // Of equal texts the numbers are equal, so nothing is found by its text that is not by its number.
            texts: values.iter().map(|value| value.text.clone()).collect(),
            bare: numbers(&mut values.iter().filter(|value| !value.quoted)),
            all: numbers(&mut values.iter()),
        }
    }

    fn contains(&self, entry: &Entry) -> bool {
        let numbers = if entry.kind == Kind::Text { &self.bare } else { &self.all };
        self.texts.contains(&*entry.text) || is_number(entry) && numbers.contains(entry.number)
    }
}

/// Jobs that are named by their ids or uids; found by looking at a row, so that the table is not searched for each.
struct Named {
    uids: HashSet<JobUid>,
    /// Ordered.
    ids: Vec<(u64, String)>,
}

impl Named {
    fn read(values: &[Value]) -> Result<Named, FilterError> {
        let mut named = Named { uids: HashSet::new(), ids: Vec::new() };
        for value in values {
            // Either form of an id will do, as everywhere.
            if let Ok(uid) = value.text.parse::<JobUid>() {
                named.uids.insert(uid);
            } else if let Ok(id) = value.text.parse::<JobId>() {
                named.ids.push((id.number, id.project.as_str().to_owned()));
            } else {
                return Err(wrong(value, "a job's id such as TRIG-12, or its uid"));
            }
        }
        named.ids.sort_unstable();
        Ok(named)
    }

    fn contains(&self, rows: &Rows, row: u32) -> bool {
        if !self.uids.is_empty() && self.uids.contains(&rows.uid(row)) {
            return true;
        }
        let number = rows.numbers.number.get(row, 0) as u64;
        let first = self.ids.partition_point(|(other, _)| *other < number);
        let mut same = self.ids[first..].iter().take_while(|(other, _)| *other == number);
        same.any(|(_, project)| rows.texts.project.find(row).is_some_and(|entry| *entry.text == **project))
    }
}

/// A condition on an id or uid. One that names whole ids is a look at rows, not at texts.
pub(super) fn id_test<'t>(rows: &'t Rows, field: Field, test: &Test) -> Result<Plan<'t>, FilterError> {
    let named = match &test.check {
        Check::Compare(Compare::Equal, value) => Some((std::slice::from_ref(value), false)),
        Check::Compare(Compare::Differs, value) => Some((std::slice::from_ref(value), true)),
        Check::In(values) => Some((&values[..], test.negated)),
        _ => None,
    };
    if let Some((values, negated)) = named {
        let named = Named::read(values)?;
        return Ok(Plan::Rows(Box::new(move |row| named.contains(rows, row) != negated)));
    }
    let test = text_test(test, |_, text| Ok(text.to_owned()))?;
    Ok(Plan::Rows(Box::new(move |row| match field {
        Field::Uid => test(&rows.uid(row).to_string()),
        _ => rows.id(row).is_some_and(|id| test(&id.to_string())),
    })))
}
