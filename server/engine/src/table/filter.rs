//! The filter language: text in, a tree out. Knows names and shapes, not what any job holds.
//!
//! The grammar is in docs/filter.md. A column in an error counts characters from 1. Keywords may be written in either
//! case. What a value means (a number, a time, a text) depends on the column it is compared with, so it stays text here.
//!
//! Does not know columns of jobs, the engine, or the clock.

mod moment;
mod operand;
mod parse;
mod pattern;

pub(crate) use moment::{read_length, read_moment};
pub(crate) use operand::{Field, Operand, Stat, quote};
pub(crate) use parse::{parse_filter, parse_operands, parse_sort};
pub(crate) use pattern::{Pattern, PatternKind};

/// Longest filter, sort or list of columns, in bytes.
pub(crate) const TEXT_BYTES: usize = 16 << 10;
/// Parentheses and `not` inside each other.
pub(crate) const DEPTH: usize = 64;
/// Tests of one filter: each may keep a byte for every distinct text of its column.
pub(crate) const TESTS: usize = 128;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {wanted}")]
pub(crate) struct FilterError {
    /// The character at which it goes wrong, from 1.
    pub(crate) column: usize,
    /// What was found and what would be right.
    pub(crate) wanted: String,
}

impl FilterError {
    pub(crate) fn new(column: usize, wanted: impl Into<String>) -> FilterError {
        FilterError { column, wanted: wanted.into() }
    }
}

/// A condition on a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A condition on one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Test {
    pub(crate) operand: Operand,
    /// Where the operator stands.
    pub(crate) at: usize,
    /// `not in`, `not like`, `!~`, `is not`: the value must be there and differ.
    pub(crate) negated: bool,
    pub(crate) check: Check,
}

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    Compare(Compare, Value),
    In(Vec<Value>),
    /// Matches a pattern.
    Matches(Pattern),
    Null,
    Nan,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Differs,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) at: usize,
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

impl Value {
    /// The value as a number, if it reads as one.
    pub(crate) fn number(&self) -> Option<f64> {
        number_of(&self.text)
    }
}

/// A text as a number, if it reads as one: of a filter, a param or a property, by the same rule, so that equal texts are
/// equal numbers. `NaN` is a text: nothing is equal to the number.
pub(crate) fn number_of(text: &str) -> Option<f64> {
    let looks = text.trim_start_matches(['+', '-']);
    let begins = looks.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let infinite = looks.eq_ignore_ascii_case("inf") || looks.eq_ignore_ascii_case("infinity");
    if begins || infinite { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
