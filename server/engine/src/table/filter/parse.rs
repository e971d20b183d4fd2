//! The parser: recursive descent over characters, one function per line of the grammar in docs/filter.md.

use super::operand::is_bare;
use super::pattern::Room;
use super::{
    Check, Compare, DEPTH, Expr, Field, FilterError, Operand, PatternKind, Stat, TESTS, TEXT_BYTES, Test,
    Value,
};

const KINDS: &str = "metric.NAME, param.NAME, property.NAME";

/// Reads a filter. Blank text is the filter that everything passes.
///
/// # Errors
///
/// [`FilterError`] at the first character that cannot be right.
pub(crate) fn parse_filter(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser::new(text)?;
    if parser.peek().is_none() {
        return Ok(Expr::And(vec![]));
    }
    let expr = parser.or(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.expected("and, or, or the end")),
    }
}

/// Reads a list of columns, separated by commas, each with `-` before it for the other way round.
///
/// # Errors
///
/// [`FilterError`].
pub(crate) fn parse_sort(text: &str) -> Result<Vec<(Operand, bool)>, FilterError> {
    let mut parser = Parser::new(text)?;
    parser.list(|parser| {
        let descending = parser.eat('-');
        Ok((parser.operand()?, descending))
    })
}

/// Reads a list of columns, separated by commas.
///
/// # Errors
///
/// [`FilterError`].
pub(crate) fn parse_operands(text: &str) -> Result<Vec<Operand>, FilterError> {
    Parser::new(text)?.list(Parser::operand)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    /// What the patterns of the filter may still take.
    room: Room,
    tests: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Parser, FilterError> {
        if text.len() > TEXT_BYTES {
            return Err(FilterError::new(1, format!("must be at most {TEXT_BYTES} bytes")));
        }
        Ok(Parser { chars: text.chars().collect(), at: 0, room: Room::new(), tests: 0 })
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        while self.here().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.here()
    }

    fn here(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes a keyword, in either case, if it stands here as a whole word.
    fn eat_word(&mut self, word: &str) -> bool {
        self.peek();
        let end = self.at + word.len();
        let Some(found) = self.chars.get(self.at..end) else { return false };
        let same = found.iter().zip(word.chars()).all(|(a, b)| a.eq_ignore_ascii_case(&b));
        let whole = self.chars.get(end).is_none_or(|c| !is_bare(*c));
        if same && whole {
            self.at = end;
        }
        same && whole
    }

    fn expected(&mut self, wanted: &str) -> FilterError {
        let found = match self.peek() {
            None => "the text ends".to_owned(),
            Some(c) if is_bare(c) => {
                let word: String =
                    self.chars[self.at..].iter().take_while(|c| is_bare(**c)).take(40).collect();
                format!("found {word:?}")
            }
            Some(c) => format!("found {c:?}"),
        };
        FilterError::new(self.column(), format!("expected {wanted}; {found}"))
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Parser) -> Result<T, FilterError>,
    ) -> Result<Vec<T>, FilterError> {
        let mut items = vec![item(self)?];
        while self.eat(',') {
            items.push(item(self)?);
        }
        match self.peek() {
            None => Ok(items),
            Some(_) => Err(self.expected("a comma or the end")),
        }
    }

    fn or(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.and(depth)?];
        while self.eat_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.not(depth)?];
        while self.eat_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Expr, FilterError> {
        if depth > DEPTH {
            let wanted = format!("expected at most {DEPTH} conditions inside each other");
            return Err(FilterError::new(self.column(), wanted));
        }
        if self.eat_word("not") {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.eat('(') {
            let inner = self.or(depth + 1)?;
            if !self.eat(')') {
                return Err(self.expected("and, or, or a closing parenthesis"));
            }
            return Ok(inner);
        }
        Ok(Expr::Test(self.test()?))
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        if self.tests == TESTS {
            self.peek();
            let wanted =
                format!("expected at most {TESTS} conditions; a list of values goes into one `in (…)`");
            return Err(FilterError::new(self.column(), wanted));
        }
        self.tests += 1;
        let start = self.at;
        if self.eat_word("exists") {
            if self.eat('(') {
                let operand = self.operand()?;
                if !self.eat(')') {
                    return Err(self.expected("a closing parenthesis"));
                }
                return Ok(Test { operand, at: start + 1, negated: true, check: Check::Null });
            }
            self.at = start;
        }
        let operand = self.operand()?;
        self.peek();
        let at = self.column();
        let negated = self.eat_word("not");
        let (negated, check) = self.check(negated)?;
        Ok(Test { operand, at, negated, check })
    }

    fn check(&mut self, negated: bool) -> Result<(bool, Check), FilterError> {
        if self.eat_word("in") {
            return Ok((negated, Check::In(self.values()?)));
        }
        if self.eat_word("like") {
            return Ok((negated, self.pattern(PatternKind::Like)?));
        }
        if self.eat_word("ilike") {
            return Ok((negated, self.pattern(PatternKind::Ilike)?));
        }
        if self.eat('~') {
            return Ok((negated, self.pattern(PatternKind::Regex)?));
        }
        if negated {
            return Err(self.expected("in, like, ilike or ~ after not"));
        }
        if self.eat_word("is") {
            let negated = self.eat_word("not");
            if self.eat_word("null") {
                return Ok((negated, Check::Null));
            }
            if self.eat_word("nan") {
                return Ok((negated, Check::Nan));
            }
            return Err(self.expected("null or nan"));
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(bool, Check), FilterError> {
        let rest: String = self.chars[self.at..].iter().take(2).collect();
        let found = [
            ("==", Compare::Equal),
            ("!=", Compare::Differs),
            ("<>", Compare::Differs),
            ("<=", Compare::LessOrEqual),
            (">=", Compare::GreaterOrEqual),
            ("=", Compare::Equal),
            ("<", Compare::Less),
            (">", Compare::Greater),
        ]
        .into_iter()
        .find(|(text, _)| rest.starts_with(text));
        if rest == "!~" {
            self.at += 2;
            return Ok((true, self.pattern(PatternKind::Regex)?));
        }
        let Some((text, compare)) = found else {
            return Err(self.expected("=, !=, <, <=, >, >=, ~, in, like, ilike or is"));
        };
        self.at += text.len();
        if matches!(compare, Compare::Equal | Compare::Differs) && self.eat_word("null") {
            return Ok((compare == Compare::Differs, Check::Null));
        }
        Ok((false, Check::Compare(compare, self.value()?)))
    }

    fn pattern(&mut self, kind: PatternKind) -> Result<Check, FilterError> {
        let value = self.value()?;
        Ok(Check::Matches(self.room.compile(kind, value)?))
    }

    fn values(&mut self) -> Result<Vec<Value>, FilterError> {
        if !self.eat('(') {
            return Err(self.expected("a list in parentheses"));
        }
        let mut values = vec![self.value()?];
        while self.eat(',') {
            values.push(self.value()?);
        }
        if !self.eat(')') {
            return Err(self.expected("a comma or a closing parenthesis"));
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Value, FilterError> {
        let first = self.peek();
        let at = self.column();
        if let Some('"' | '\'') = first {
            return Ok(Value { at, text: self.quoted()?, quoted: true });
        }
        let text = self.bare();
        if text.is_empty() {
            return Err(self.expected("a value: a number, a word, or a text in quotes"));
        }
        if text.eq_ignore_ascii_case("nan") {
            return Err(FilterError::new(at, "NaN equals nothing; expected `is nan` or `is not nan`"));
        }
        if text.eq_ignore_ascii_case("null") {
            return Err(FilterError::new(at, "null can only be asked with =, != or is; expected a value"));
        }
        Ok(Value { at, text, quoted: false })
    }

    fn bare(&mut self) -> String {
        let text: String = self.chars[self.at..].iter().take_while(|c| is_bare(**c)).collect();
        self.at += text.chars().count();
        text
    }

    /// A text in quotes; a quote within it is written twice.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let begins = self.column();
        let quote = self.chars[self.at];
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.here() {
                None => {
                    return Err(FilterError::new(
                        begins,
                        format!("expected a closing {quote} for the quote here"),
                    ));
                }
                Some(c) if c == quote => {
                    self.at += 1;
                    if self.here() != Some(quote) {
                        return Ok(text);
                    }
                    text.push(quote);
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
        }
    }

    /// A column: a word, or a kind and a name.
    fn operand(&mut self) -> Result<Operand, FilterError> {
        self.peek();
        let at = self.column();
        let word: String =
            self.chars[self.at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        if word.is_empty() {
            return Err(self.expected(&format!("a column: {KINDS}, or one of {}", fields())));
        }
        self.at += word.chars().count();
        let kind = word.to_ascii_lowercase();
        let dotted = self.here() == Some('.');
        if !dotted {
            if self.here() == Some('(') {
                return Err(FilterError::new(at, format!("no function {word:?}; expected exists(COLUMN)")));
            }
            return Field::find(&word).ok_or_else(|| unknown(at, &word));
        }
        self.at += 1;
        match kind.as_str() {
            "metric" | "metrics" => self.metric(),
            "param" | "params" | "parameter" | "parameters" => Ok(Operand::Param(self.name()?)),
            "property" | "properties" | "tag" | "tags" => Ok(Operand::Property(self.name()?)),
            "attribute" | "attributes" | "attr" | "run" | "job" => {
                let (at, name) = (self.column(), self.name()?);
                Field::find(&name).ok_or_else(|| unknown(at, &name))
            }
            "dataset" | "datasets" => {
                Err(FilterError::new(at, "jobs have no datasets; expected a property or a param"))
            }
            _ => Err(unknown(at, &word)),
        }
    }

    /// A name behind the dot, with all its dots.
    fn name(&mut self) -> Result<String, FilterError> {
        let name = match self.here() {
            Some('"' | '\'' | '`') => self.quoted()?,
            _ => self.bare(),
        };
        if name.is_empty() {
            return Err(self.expected("a name, in quotes if it has blanks"));
        }
        if self.here() == Some('.') {
            return Err(FilterError::new(
                self.column(),
                "expected an operator; only a metric has .last and the like",
            ));
        }
        self.no_function("functions of a column are not there yet; expected an operator")?;
        Ok(name)
    }

    fn no_function(&mut self, wanted: &str) -> Result<(), FilterError> {
        if self.here() == Some('(') { Err(FilterError::new(self.column(), wanted)) } else { Ok(()) }
    }

    fn metric(&mut self) -> Result<Operand, FilterError> {
        let quoted = matches!(self.here(), Some('"' | '\'' | '`'));
        let mut name = if quoted { self.quoted()? } else { self.bare() };
        let mut stat = Stat::Last;
        if quoted && self.here() == Some('.') {
            self.at += 1;
            let (at, word) = (self.column(), self.bare());
            self.no_function(FUNCTIONS)?;
            stat = Stat::find(&word)
                .ok_or_else(|| FilterError::new(at, format!("found {word:?}; expected {}", stats())))?;
        } else if let (false, Some((before, last))) = (quoted, name.rsplit_once('.'))
            && self.here() != Some('(')
            && let Some(found) = Stat::find(last)
        {
            stat = found;
            name = before.to_owned();
        }
        if name.is_empty() {
            return Err(self.expected("the name of a metric, in quotes if it has blanks"));
        }
        self.no_function(FUNCTIONS)?;
        Ok(Operand::Metric { name, stat })
    }
}

const FUNCTIONS: &str = "functions of a metric, such as quantile(0.9), are not there yet; expected .last, .min, .max, .mean or .count";

fn unknown(at: usize, word: &str) -> FilterError {
    FilterError::new(at, format!("no column {word:?}; expected {KINDS}, or one of {}", fields()))
}

fn fields() -> String {
    let names: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
    names.join(", ")
}

fn stats() -> String {
    let names: Vec<&str> = Stat::ALL.iter().map(|stat| stat.as_str()).collect();
    names.join(", ")
}
