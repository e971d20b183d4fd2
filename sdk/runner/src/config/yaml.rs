//! A YAML document as a small tree that remembers lines, so that every refusal can point at its place.
//!
//! Scalars stay as they were written: `007`, `1.10` and `yes` mean what the key they stand under says, not what a YAML
//! version guesses. Anchors and aliases work; a document is bounded in depth and size.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Levels of nesting; a job file has four.
const DEPTH: usize = 32;
/// Nodes of a document, aliases counted each time they are used.
const NODES: usize = 100_000;

/// One value and the line it begins on, from 1.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Text as written; `quoted` when it stood in quotes or a block, where `null` and `5` are plain text.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// Why a text is no document for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Node {
    /// The kind of value, in words for a refusal.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Whether it is an unquoted empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }
}

/// Reads the one document of `source`; an empty one is an empty map.
///
/// # Errors
///
/// [`Malformed`] with the line where it stops being YAML, or for what we do not take: several documents, keys that are
/// no plain text, a key twice.
pub(crate) fn parse(source: &str) -> Result<Node, Malformed> {
    let mut reader = Reader { parser: Parser::new_from_str(source), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event if document.is_none() => document = Some(reader.node(event, line, 0)?),
            _ => return Err(malformed(line, "a second document; keep one in the file")),
        }
    }
    let empty = || Node { line: 1, value: Value::Map(Vec::new()) };
    Ok(document.filter(|node| !node.is_null()).unwrap_or_else(empty))
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Malformed> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(malformed(error.marker().line(), error.info())),
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Malformed> {
        if depth > DEPTH {
            return Err(malformed(line, "nested too deeply"));
        }
        self.count(1, line)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                (anchor, Value::Scalar { text: text.into_owned(), quoted })
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| malformed(line, "an alias inside its own anchor"))?;
                self.count(size(&node), line)?;
                return Ok(node);
            }
            _ => return Err(malformed(line, "the document ends in the middle")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Malformed> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Malformed> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, line, depth + 1)?;
            let Value::Scalar { text: name, .. } = key.value else {
                return Err(malformed(line, "a key must be a plain text"));
            };
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
                let text =
                    format!("the key {name:?} stands here a second time; line {} has the first", first.line);
                return Err(Malformed { line, text });
            }
            let (event, value_line) = self.next()?;
            let node = self.node(event, value_line, depth + 1)?;
            entries.push((Key { line, name }, node));
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Malformed> {
        self.nodes += nodes;
        if self.nodes > NODES { Err(malformed(line, "too many values for a job file")) } else { Ok(()) }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + size(node)).sum::<usize>(),
    }
}

fn malformed(line: usize, text: &str) -> Malformed {
    Malformed { line, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Scalar { text, quoted } => {
                format!("{}{text}@{}", if *quoted { "'" } else { "" }, node.line)
            }
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entry = |(key, node): &(Key, Node)| format!("{}@{}={}", key.name, key.line, show(node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn check(source: &str, expect: Expect) {
        let shown = match parse(source) {
            Ok(node) => show(&node),
            Err(error) => format!("{}: {}", error.line, error.text),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn scalars_keep_their_spelling_and_line() {
        check(
            "version: 1.10\nflag: yes\nid: '007'\nlist:\n  - a\n  - ~\n",
            expect!["{version@1=1.10@1 flag@2=yes@2 id@3='007@3 list@4=[a@5 ~@6]}"],
        );
        check("# nothing\n", expect!["{}"]);
        check("a: &x {b: 1}\nc: *x\n", expect!["{a@1={b@1=1@1} c@2={b@1=1@1}}"]);
    }

    #[test]
    fn what_is_no_document_names_its_line() {
        check("a: 1\na: 2\n", expect![[r#"2: the key "a" stands here a second time; line 1 has the first"#]]);
        check("a: 1\n---\nb: 2\n", expect!["3: a second document; keep one in the file"]);
        check("[a, b]: 1\n", expect!["1: a key must be a plain text"]);
        check("a: &x [*x]\n", expect!["1: an alias inside its own anchor"]);
        check(&format!("{}1", "[".repeat(100)), expect!["1: nested too deeply"]);
        check("a: [1, 2\nb: 3\n", expect!["2: illegal placement of ':' indicator"]);
        check("a: 1\n b: 2\n", expect!["2: mapping values are not allowed in this context"]);
        check("a: \"open\n", expect!["1: while scanning a quoted scalar, found unexpected end of stream"]);
        check("\ta: 1\n", expect!["{a@1=1@1}"]);
    }

    #[test]
    fn aliases_cannot_grow_without_end() {
        let mut source = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(9);
            source.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(parse(&source).unwrap_err().text.contains("too many"));
    }
}
