//! Data on standard output: tables for people, tab-separated lines for pipes, JSON when asked for.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use neptune_wire::JobState;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::args::Global;
use crate::error::CliError;

/// Between columns of a table.
const GAP: &str = "  ";
/// A column that may be cut is not cut below this.
const NARROWEST: usize = 12;

/// Standard output and what it is.
pub(crate) struct Output {
    out: Box<dyn Write>,
    /// Whether `--json` was given.
    pub(crate) json: bool,
    terminal: bool,
    colour: bool,
    width: usize,
}

/// Rows of cells under headings.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<Cow<'static, str>>,
    /// The column that is cut first when the terminal is too narrow.
    flexible: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

/// A text and perhaps a colour, which never says anything that the text does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Green,
    Red,
    Yellow,
    Blue,
    Dim,
}

impl Output {
    pub(crate) fn open(global: &Global) -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        Self { out: Box::new(out), json: global.json, terminal, colour, width }
    }

    /// An output that goes elsewhere and is no terminal.
    #[cfg(test)]
    pub(crate) fn to(out: impl Write + 'static, json: bool, terminal: bool) -> Self {
        Self { out: Box::new(out), json, terminal, colour: false, width: 80 }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// Writes a value as JSON, indented on a terminal, on one line else.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = match self.terminal {
            true => serde_json::to_string_pretty(value),
            false => serde_json::to_string(value),
        };
        self.line(&text.expect("what the wire crate names always serialises"))
    }

    /// Whether a person reads it as it comes.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a table; without a terminal the cells are whole and separated by tabs.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), CliError> {
        let text = match self.terminal {
            true => table.for_terminal(self.width, self.colour),
            false => table.for_pipe(),
        };
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.iter().map(|heading| Cow::Borrowed(*heading)).collect(), ..Self::default() }
    }

    /// A table whose headings are known only now.
    pub(crate) fn with_headings(headings: impl IntoIterator<Item = String>) -> Self {
        Self { headings: headings.into_iter().map(Cow::Owned).collect(), ..Self::default() }
    }

    /// Columns that are cut when the terminal is too narrow, the first first.
    pub(crate) fn flexible(mut self, columns: &[usize]) -> Self {
        self.flexible = columns.into();
        self
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// A table of facts has no headings.
    fn is_headed(&self) -> bool {
        self.headings.iter().any(|heading| !heading.is_empty())
    }

    fn for_pipe(&self) -> String {
        let mut text = if self.is_headed() { self.headings.join("\t") + "\n" } else { String::new() };
        for row in &self.rows {
            text += &row.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join("\t");
            text.push('\n');
        }
        text
    }

    fn for_terminal(&self, width: usize, colour: bool) -> String {
        let widths = self.widths(width);
        let headings: Vec<Cell> = self.headings.iter().map(|text| Cell::dim(text.to_uppercase())).collect();
        let mut text = String::new();
        for row in self.is_headed().then_some(&headings).into_iter().chain(&self.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let last = column + 1 == row.len();
                let shown = cut(&cell.text, *width);
                let padding = if last { 0 } else { width - shown.width() };
                text += &cell.painted(&shown, colour);
                text += &" ".repeat(padding);
                text += if last { "\n" } else { GAP };
            }
        }
        text
    }

    /// The widest cell of each column, cut down to the terminal where it may be.
    fn widths(&self, available: usize) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].text.width()).max().unwrap_or(0);
            cells.max(self.headings[column].width())
        };
        let mut widths: Vec<usize> = (0..self.headings.len()).map(widest).collect();
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        for column in &self.flexible {
            let needed = widths.iter().sum::<usize>() + gaps;
            let over = needed.saturating_sub(available);
            let narrowest = NARROWEST.min(widths[*column]);
            widths[*column] = widths[*column].saturating_sub(over).max(narrowest);
        }
        widths
    }
}

impl Cell {
    /// A text from anywhere; what could steer a terminal is shown instead of obeyed.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), colour: None }
    }

    pub(crate) fn coloured(text: impl AsRef<str>, colour: Colour) -> Self {
        Self { colour: Some(colour), ..Self::new(text) }
    }

    pub(crate) fn dim(text: impl AsRef<str>) -> Self {
        Self::coloured(text, Colour::Dim)
    }

    fn painted(&self, shown: &str, colour: bool) -> String {
        match self.colour.filter(|_| colour) {
            Some(colour) => format!("\x1b[{}m{shown}\x1b[0m", colour.code()),
            None => shown.into(),
        }
    }
}

impl Colour {
    fn code(self) -> u8 {
        match self {
            Self::Green => 32,
            Self::Red => 31,
            Self::Yellow => 33,
            Self::Blue => 34,
            Self::Dim => 2,
        }
    }

    /// The colour that goes with a state's word.
    pub(crate) fn of_state(state: JobState) -> Self {
        match state {
            JobState::Succeeded => Self::Green,
            JobState::Failed | JobState::Lost => Self::Red,
            JobState::Aborted | JobState::Aborting => Self::Yellow,
            JobState::Running | JobState::Preparing | JobState::Dispatched => Self::Blue,
            JobState::Created | JobState::Queued => Self::Dim,
        }
    }
}

/// Shows control characters as their names; line breaks become blanks.
pub(crate) fn plain(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => " ".to_string(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Cuts to a width in columns, with an ellipsis where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars() {
        let next = format!("{shown}{c}");
        if next.width() + 1 > width {
            break;
        }
        shown = next;
    }
    shown + "…"
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["id", "name", "state"]).flexible(&[1]);
        let row = |id: &str, name: &str, state| {
            vec![Cell::new(id), Cell::new(name), Cell::coloured(state, Colour::Green)]
        };
        table.row(row("TRIG-1", "a short name", "succeeded"));
        table.row(row("TRIG-12", "a very long name that does not fit into the line", "running"));
        table.row(row("X-3", "日本語の長い名前はここで切られる", "failed"));
        table
    }

    #[test]
    fn a_table_fits_its_terminal() {
        expect![[r#"
            ID       NAME                  STATE
            TRIG-1   a short name          succeeded
            TRIG-12  a very long name th…  running
            X-3      日本語の長い名前は…   failed
        "#]]
        .assert_eq(&table().for_terminal(40, false));
        expect![[r#"
            ID       NAME          STATE
            TRIG-1   a short name  succeeded
            TRIG-12  a very long…  running
            X-3      日本語の長…   failed
        "#]]
        .assert_eq(&table().for_terminal(20, false));
        assert!(table().for_terminal(40, false).lines().all(|line| line.width() <= 40));
    }

    #[test]
    fn a_pipe_gets_everything() {
        assert!(
            table()
                .for_pipe()
                .contains("TRIG-12\ta very long name that does not fit into the line\trunning\n")
        );
    }

    #[test]
    fn colour_is_only_added() {
        let coloured = table().for_terminal(40, true);
        let without: String = coloured.replace("\x1b[32m", "").replace("\x1b[2m", "").replace("\x1b[0m", "");
        assert_eq!(without, table().for_terminal(40, false));
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\nc\u{9b}"), "a\\u{1b}[31mb c\\u{9b}");
        assert_eq!(plain("größe 日本"), "größe 日本");
    }
}
