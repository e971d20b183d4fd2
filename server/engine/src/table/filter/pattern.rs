//! Patterns of texts (`like`, `ilike`, `~`), compiled when a filter is read: once, however often it is asked.
//!
//! `regex` matches in linear time. What it takes of memory is bounded here, for each expression and for all of a filter.

use regex::{Regex, RegexBuilder};

use super::{FilterError, Value};

/// Patterns of one filter.
const PATTERNS: usize = 32;
/// Memory that all of them may take together, as they are compiled.
const ALL_BYTES: usize = 4 << 20;
/// What one may take; the smallest of these that it fits in is what it is counted as.
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Memory that matching may take beside it, for each thread that does.
const CACHE_BYTES: usize = 256 << 10;

/// How a pattern is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternKind {
    /// Of the whole text; `%` stands for any text, `_` for one character.
    Like,
    /// The same, whatever the case.
    Ilike,
    /// A regular expression that matches somewhere.
    Regex,
}

/// A pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) kind: PatternKind,
    pub(crate) value: Value,
    /// Clones share what is compiled.
    pub(crate) regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.kind == other.kind && self.value == other.value
    }
}

/// What is left for the patterns of a filter.
pub(super) struct Room {
    patterns: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { patterns: PATTERNS, bytes: ALL_BYTES }
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for a text that is no regular expression, is too large, or one too many.
    pub(super) fn compile(&mut self, kind: PatternKind, value: Value) -> Result<Pattern, FilterError> {
        if self.patterns == 0 {
            let wanted = format!("expected at most {PATTERNS} of like, ilike and ~ in one filter");
            return Err(FilterError::new(value.at, wanted));
        }
        let text = match kind {
            PatternKind::Like | PatternKind::Ilike => regex_from_like(&value.text),
            PatternKind::Regex => value.text.clone(),
        };
        let wrong = |why: &str| FilterError::new(value.at, format!("expected a regular expression; {why}"));
        for size in SIZES {
            if size > self.bytes {
                return Err(wrong("with those before it, it is too large"));
            }
            let built = RegexBuilder::new(&text)
                .case_insensitive(kind == PatternKind::Ilike)
                .size_limit(size)
                .dfa_size_limit(CACHE_BYTES)
                .build();
            match built {
                Ok(regex) => {
                    self.patterns -= 1;
                    self.bytes -= size;
                    return Ok(Pattern { kind, value, regex });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => {
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default().trim().replace("error: ", "");
                    return Err(wrong(&why));
                }
            }
        }
        Err(wrong("it is too large"))
    }
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
