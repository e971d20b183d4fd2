//! A filter made ready for one look at the rows: columns found, values read as what the column holds, then page by page
//! a mask of the rows that pass.
//!
//! Each step is given the rows that are still open, so an `and` stops at the first condition that leaves none. A test of
//! texts is made once for each distinct value, when the first row with it is met.

use std::cell::RefCell;

use neptune_wire::{JobId, JobState, JobUid, Micros};
use regex::{Regex, RegexBuilder};

use super::coded::{Coded, Entry, Kind};
use super::column::Column;
use super::filter::{
    Check, Compare, Expr, Field, FilterError, Operand, Test, Value, read_length, read_moment,
};
use super::paged::{Cell as _, Mask, NONE, PAGE_ROWS, Paged, rows_of};
use super::rows::{Rows, Shown};

/// Memory one regular expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// A filter over the rows it was made for.
pub(crate) enum Plan<'t> {
    And(Vec<Plan<'t>>),
    Or(Vec<Plan<'t>>),
    Not(Box<Plan<'t>>),
    /// Passes no row: a column that no job has.
    Nothing,
    /// Whether the column has a value.
    Numbers {
        column: &'t Paged<f64>,
        lane: usize,
        test: NumberTest,
    },
    Duration {
        rows: &'t Rows,
        now: Micros,
        test: NumberTest,
    },
    Texts {
        column: &'t Coded,
        test: EntryTest<'t>,
        known: RefCell<Vec<u8>>,
    },
    /// Rows that have a value there.
    Held {
        column: Column<'t>,
    },
    /// Tags are never absent; no tags are the empty set.
    Tags {
        column: &'t Coded,
        test: EntryTest<'t>,
        known: RefCell<Vec<u8>>,
        none: bool,
    },
    Rows(RowTest<'t>),
    /// Rows of jobs that are asked about at all.
    Shown {
        rows: &'t Rows,
        shown: Shown,
    },
}

type EntryTest<'t> = Box<dyn Fn(&Entry) -> bool + 't>;
type RowTest<'t> = Box<dyn Fn(u32) -> bool + 't>;

/// A condition on a number. NaN passes none but its own.
#[derive(Debug, Clone)]
pub(crate) enum NumberTest {
    Compare(Compare, f64),
    In(Vec<f64>, bool),
    Nan(bool),
}

impl NumberTest {
    fn passes(&self, value: f64) -> bool {
        match self {
            NumberTest::Compare(compare, with) => compare_numbers(*compare, value, *with),
            NumberTest::In(values, negated) => !value.is_nan() && values.contains(&value) != *negated,
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

impl<'t> Plan<'t> {
    /// Makes a filter ready.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for a value or an operator that does not fit its column.
    pub(crate) fn new(rows: &'t Rows, expr: &Expr, now: Micros) -> Result<Plan<'t>, FilterError> {
        let all = |parts: &[Expr]| -> Result<Vec<_>, _> {
            parts.iter().map(|part| Plan::new(rows, part, now)).collect()
        };
        Ok(match expr {
            Expr::And(parts) => Plan::And(all(parts)?),
            Expr::Or(parts) => Plan::Or(all(parts)?),
            Expr::Not(inner) => Plan::Not(Box::new(Plan::new(rows, inner, now)?)),
            Expr::Test(test) => Plan::test(rows, test, now)?,
        })
    }

    /// Those of `open` that pass.
    pub(crate) fn select(&self, page: u32, open: &Mask) -> Mask {
        match self {
            Plan::And(parts) => {
                let mut left = *open;
                for part in parts {
                    if left == NONE {
                        break;
                    }
                    left = part.select(page, &left);
                }
                left
            }
            Plan::Or(parts) => {
                let mut found = NONE;
                for part in parts {
                    let rest = without(open, &found);
                    if rest == NONE {
                        break;
                    }
                    found = join(&found, &part.select(page, &rest));
                }
                found
            }
            Plan::Not(inner) => without(open, &inner.select(page, open)),
            Plan::Nothing => NONE,
            Plan::Shown { rows, shown } => rows.shown(page, open, *shown),
            Plan::Numbers { column, lane, test } => select_numbers(column, *lane, page, open, test),
            Plan::Duration { rows, now, test } => {
                let duration = Column::Duration { rows, now: *now };
                let mut found = NONE;
                duration.visit_numbers(page, open, |row, value| {
                    mark(&mut found, row, !value.is_absent() && test.passes(value));
                });
                found
            }
            Plan::Texts { column, test, known } => {
                column.codes.select_each(page, 0, open, |code| known_of(column, test, known, code))
            }
            Plan::Tags { column, test, known, none } => {
                let mut found = NONE;
                column.codes.visit(page, 0, open, |row, code| {
                    let passes = if code.is_absent() { *none } else { known_of(column, test, known, code) };
                    mark(&mut found, row, passes);
                });
                found
            }
            Plan::Held { column } => column.held(page, open),
            Plan::Rows(test) => {
                let base = page * PAGE_ROWS as u32;
                let mut found = NONE;
                rows_of(open).for_each(|at| mark(&mut found, base + at, test(base + at)));
                found
            }
        }
    }

    fn test(rows: &'t Rows, test: &Test, now: Micros) -> Result<Plan<'t>, FilterError> {
        let column = Column::find(rows, &test.operand, now);
        if test.check == Check::Null {
            let Some(column) = column else {
                return Ok(if test.negated { Plan::Nothing } else { Plan::And(vec![]) });
            };
            let held = Plan::Held { column };
            return Ok(if test.negated { held } else { Plan::Not(Box::new(held)) });
        }
        match &test.operand {
            Operand::Metric { .. } => {
                let test = number_test(test, read_number)?;
                Ok(numbers(column, test))
            }
            Operand::Param(_) | Operand::Property(_) => {
                let test = mixed_test(test)?;
                let Some(Column::Text { column }) = column else { return Ok(Plan::Nothing) };
                Ok(Plan::texts(column, test))
            }
            Operand::Field(Field::Attempt | Field::ExitCode | Field::Dropped) => {
                Ok(numbers(column, number_test(test, read_number)?))
            }
            Operand::Field(field) if field.is_time() => {
                Ok(numbers(column, number_test(test, |value| read_time(value, now, 1.0))?))
            }
            Operand::Millis(_) => {
                Ok(numbers(column, number_test(test, |value| read_time(value, now, 1_000.0))?))
            }
            Operand::Field(Field::Duration) => {
                Ok(Plan::Duration { rows, now, test: number_test(test, read_duration)? })
            }
            Operand::Field(Field::Tag) => {
                let negated = test.negated || matches!(test.check, Check::Compare(Compare::Differs, _));
                let any = text_test(&positive(test), |_, text| Ok(text.to_owned()))?;
                let passes = move |entry: &Entry| entry.text.lines().any(&any) != negated;
                let known = unknown(&rows.texts.tags);
                Ok(Plan::Tags { column: &rows.texts.tags, test: Box::new(passes), known, none: negated })
            }
            Operand::Field(Field::State) => {
                let test = text_test(test, read_state)?;
                Ok(Plan::texts(&rows.texts.state, Box::new(move |entry| test(&entry.text))))
            }
            Operand::Field(field @ (Field::Id | Field::Uid)) => id_test(rows, *field, test),
            Operand::Field(_) => {
                let test = text_test(test, |_, text| Ok(text.to_owned()))?;
                let Some(Column::Text { column }) = column else { return Ok(Plan::Nothing) };
                Ok(Plan::texts(column, Box::new(move |entry| test(&entry.text))))
            }
        }
    }

    /// Rows whose text passes.
    pub(crate) fn texts(column: &'t Coded, test: EntryTest<'t>) -> Plan<'t> {
        Plan::Texts { column, test, known: unknown(column) }
    }
}

const UNKNOWN: u8 = 0;
const FAILS: u8 = 1;
const PASSES: u8 = 2;

/// Nothing known yet of any code; untouched memory costs nothing.
pub(crate) fn unknown(column: &Coded) -> RefCell<Vec<u8>> {
    RefCell::new(vec![UNKNOWN; column.len()])
}

fn known_of(column: &Coded, test: &EntryTest<'_>, known: &RefCell<Vec<u8>>, code: u32) -> bool {
    let mut known = known.borrow_mut();
    let known = &mut known[code as usize];
    if *known == UNKNOWN {
        *known = if test(column.entry(code)) { PASSES } else { FAILS };
    }
    *known == PASSES
}

fn numbers<'t>(column: Option<Column<'t>>, test: NumberTest) -> Plan<'t> {
    match column {
        Some(Column::Number { column, lane, .. }) => Plan::Numbers { column, lane, test },
        _ => Plan::Nothing,
    }
}

/// One loop for each kind of test, so that the compiler sees a plain comparison.
fn select_numbers(column: &Paged<f64>, lane: usize, page: u32, open: &Mask, test: &NumberTest) -> Mask {
    use Compare::{Differs, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    match test {
        NumberTest::Compare(Less, with) => column.select(page, lane, open, |value| value < *with),
        NumberTest::Compare(LessOrEqual, with) => column.select(page, lane, open, |value| value <= *with),
        NumberTest::Compare(Greater, with) => column.select(page, lane, open, |value| value > *with),
        NumberTest::Compare(GreaterOrEqual, with) => column.select(page, lane, open, |value| value >= *with),
        NumberTest::Compare(Equal, with) => column.select(page, lane, open, |value| value == *with),
        NumberTest::Compare(Differs, _) | NumberTest::In(..) | NumberTest::Nan(_) => {
            column.select(page, lane, open, |value| test.passes(value))
        }
    }
}

pub(crate) fn without(open: &Mask, taken: &Mask) -> Mask {
    std::array::from_fn(|at| open[at] & !taken[at])
}

fn join(a: &Mask, b: &Mask) -> Mask {
    std::array::from_fn(|at| a[at] | b[at])
}

fn mark(mask: &mut Mask, row: u32, passes: bool) {
    let at = row as usize % PAGE_ROWS;
    mask[at / 64] |= u64::from(passes) << (at % 64);
}

/// The test without its negation, which is made of the whole set.
fn positive(test: &Test) -> Test {
    let check = match &test.check {
        Check::Compare(Compare::Differs, value) => Check::Compare(Compare::Equal, value.clone()),
        check => check.clone(),
    };
    Test { negated: false, check, ..test.clone() }
}

fn number_test(
    test: &Test,
    read: impl Fn(&Value) -> Result<f64, FilterError>,
) -> Result<NumberTest, FilterError> {
    match &test.check {
        Check::Compare(compare, value) => Ok(NumberTest::Compare(*compare, read(value)?)),
        Check::In(values) => {
            let values = values.iter().map(read).collect::<Result<_, _>>()?;
            Ok(NumberTest::In(values, test.negated))
        }
        Check::Nan => Ok(NumberTest::Nan(test.negated)),
        Check::Like { .. } | Check::Regex(_) | Check::Null => Err(FilterError::new(
            test.at,
            format!("{} is a number; expected =, !=, <, <=, >, >=, in or is", test.operand),
        )),
    }
}

fn read_number(value: &Value) -> Result<f64, FilterError> {
    value.number().ok_or_else(|| wrong(value, "a number such as 0.1, 1e-3 or -inf"))
}

fn read_time(value: &Value, now: Micros, scale: f64) -> Result<f64, FilterError> {
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

fn read_duration(value: &Value) -> Result<f64, FilterError> {
    let length = read_length(&value.text).or_else(|| (value.text == "0").then_some(0));
    length.map(|micros| micros as f64).ok_or_else(|| wrong(value, "a length of time such as 90s or 1h30m"))
}

fn wrong(value: &Value, wanted: &str) -> FilterError {
    FilterError::new(value.at, format!("expected {wanted}; found {:?}", value.text))
}

/// A state by our name or MLflow's.
fn read_state(value: &Value, text: &str) -> Result<String, FilterError> {
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

type TextTest = Box<dyn Fn(&str) -> bool>;

/// A condition on a text; `read` gives values of `=` and the like their form in the column.
fn text_test(
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
            let values: Vec<String> =
                values.iter().map(|value| read(value, &value.text)).collect::<Result<_, _>>()?;
            Box::new(move |text| values.iter().any(|value| value == text) != negated)
        }
        Check::Like { pattern, fold } => {
            let regex = compile(pattern, &regex_from_like(&pattern.text), *fold)?;
            Box::new(move |text| regex.is_match(text) != negated)
        }
        Check::Regex(value) => {
            let regex = compile(value, &value.text, false)?;
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

fn compile(value: &Value, pattern: &str, fold: bool) -> Result<Regex, FilterError> {
    let built = RegexBuilder::new(pattern)
        .case_insensitive(fold)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build();
    built.map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or_default().trim().replace("error: ", ""),
        };
        FilterError::new(value.at, format!("expected a regular expression; {why}"))
    })
}

/// SQL's pattern as a regular expression of the whole text.
fn regex_from_like(pattern: &str) -> String {
    let mut regex = String::from("(?s)^");
    for c in pattern.chars() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

/// A condition on a param or property, which may be a number or a text.
///
/// A value that reads as a number is compared with numbers as a number, quoted or not; MLflow's params are all texts.
fn mixed_test<'t>(test: &Test) -> Result<EntryTest<'t>, FilterError> {
    if test.check == Check::Nan {
        let negated = test.negated;
        return Ok(Box::new(move |entry| !entry.number.is_absent() && entry.number.is_nan() != negated));
    }
    let texts = text_test(&positive_in(test), |_, text| Ok(text.to_owned()))?;
    let negated = test.negated;
    Ok(match &test.check {
        Check::Compare(compare, value) => {
            let (compare, number, quoted) = (*compare, value.number(), value.quoted);
            let equality = matches!(compare, Compare::Equal | Compare::Differs);
            Box::new(move |entry| match number {
                // In quotes it means this very text, where a text is what it is compared with.
                Some(_) if quoted && equality && entry.kind == Kind::Text => texts(&entry.text),
                Some(with) if !entry.number.is_absent() => compare_numbers(compare, entry.number, with),
                // An order of numbers and texts is none; equal they may be as texts.
                Some(_) if !quoted && !equality => false,
                _ => texts(&entry.text),
            })
        }
        Check::In(values) => {
            let numbers: Vec<(f64, bool)> =
                values.iter().filter_map(|value| Some((value.number()?, value.quoted))).collect();
            Box::new(move |entry| {
                let as_number = |(number, quoted): &(f64, bool)| {
                    *number == entry.number && !(*quoted && entry.kind == Kind::Text)
                };
                let number = !entry.number.is_absent() && numbers.iter().any(as_number);
                // A NaN is in no list and not outside of one.
                let nan = !entry.number.is_absent() && entry.number.is_nan();
                !nan && (number || texts(&entry.text)) != negated
            })
        }
        Check::Like { .. } | Check::Regex(_) | Check::Null | Check::Nan => {
            Box::new(move |entry| texts(&entry.text))
        }
    })
}

/// A list is negated as a whole, by its caller; everything else by itself.
fn positive_in(test: &Test) -> Test {
    match test.check {
        Check::In(_) => Test { negated: false, ..test.clone() },
        _ => test.clone(),
    }
}

/// A condition on an id or uid. One that names whole ids is a search for rows, not for texts.
fn id_test<'t>(rows: &'t Rows, field: Field, test: &Test) -> Result<Plan<'t>, FilterError> {
    let named = match &test.check {
        Check::Compare(Compare::Equal, value) => Some((std::slice::from_ref(value), false)),
        Check::Compare(Compare::Differs, value) => Some((std::slice::from_ref(value), true)),
        Check::In(values) => Some((&values[..], test.negated)),
        _ => None,
    };
    if let Some((values, negated)) = named {
        let mut found = Vec::new();
        for value in values {
            // Either form of an id will do, as everywhere.
            let uid: Option<JobUid> = value.text.parse().ok();
            let id: Option<JobId> = value.text.parse().ok();
            match (uid, id) {
                (Some(uid), _) => found.extend(rows.find(&uid)),
                (None, Some(id)) => found.extend(row_of_id(rows, &id)),
                (None, None) => return Err(wrong(value, "a job's id such as TRIG-12, or its uid")),
            }
        }
        return Ok(Plan::Rows(Box::new(move |row| found.contains(&row) != negated)));
    }
    let test = text_test(test, |_, text| Ok(text.to_owned()))?;
    Ok(Plan::Rows(Box::new(move |row| match field {
        Field::Uid => test(&rows.uid(row).to_string()),
        _ => rows.id(row).is_some_and(|id| test(&id.to_string())),
    })))
}

fn row_of_id(rows: &Rows, id: &JobId) -> Option<u32> {
    let project = Plan::project(rows, id.project.as_str());
    let number = NumberTest::Compare(Compare::Equal, id.number as f64);
    let number = Plan::Numbers { column: &rows.numbers.number, lane: 0, test: number };
    let both = Plan::And(vec![number, project]);
    (0..rows.page_count()).find_map(|page| {
        let found = both.select(page, &rows.present(page));
        rows_of(&found).next().map(|at| page * PAGE_ROWS as u32 + at)
    })
}

impl<'t> Plan<'t> {
    /// Rows of one project.
    pub(crate) fn project(rows: &'t Rows, key: &str) -> Plan<'t> {
        let key = key.to_owned();
        Plan::texts(&rows.texts.project, Box::new(move |entry| *entry.text == key))
    }

    /// Rows of which the word, in lower case, is in the id, name, description, tags, host or params.
    pub(crate) fn word(rows: &'t Rows, word: &str) -> Plan<'t> {
        let contains = |column: &'t Coded| {
            let word = word.to_owned();
            Plan::texts(column, Box::new(move |entry| entry.text.to_lowercase().contains(&word)))
        };
        let texts = &rows.texts;
        let mut any = vec![
            contains(&texts.name),
            contains(&texts.tags),
            contains(&texts.host),
            contains(&texts.description),
        ];
        for (name, column) in &rows.params {
            let (word, name) = (word.to_owned(), name.clone());
            any.push(Plan::texts(
                column,
                Box::new(move |entry| format!("{name}={}", entry.text).to_lowercase().contains(&word)),
            ));
        }
        let word = word.to_owned();
        let id = move |row| rows.id(row).is_some_and(|id| id.to_string().to_lowercase().contains(&word));
        any.push(Plan::Rows(Box::new(id)));
        Plan::Or(any)
    }
}
