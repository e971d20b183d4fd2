//! The table at the end of `test` and `verify`, and the closing line `N passed, N failed`.

use std::io::{Write as _, stdout};
use std::time::Duration;

use crate::step::seconds;

/// What one suite or check came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) took: Duration,
}

impl Row {
    /// One thing that went well.
    pub(crate) fn passed(name: &str, took: Duration) -> Self {
        Self { name: name.to_owned(), passed: 1, failed: 0, skipped: 0, took }
    }

    /// One thing that went wrong.
    pub(crate) fn failed(name: &str, took: Duration) -> Self {
        Self { name: name.to_owned(), passed: 0, failed: 1, skipped: 0, took }
    }
}

/// Rows in the order they happened.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints table and closing line to stdout; answers whether something passed and nothing failed.
    pub(crate) fn print(&self, heading: &str) -> bool {
        let (text, good) = self.text(heading);
        let _ = stdout().write_all(text.as_bytes());
        let _ = stdout().flush();
        good
    }

    fn text(&self, heading: &str) -> (String, bool) {
        let width =
            self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(heading.len());
        let mut text = format!("\n{heading:<width$}  passed  failed  skipped  time\n");
        let (mut passed, mut failed) = (0, 0);
        for row in &self.rows {
            let mark = if row.failed > 0 { "  <- failed" } else { "" };
            text += &format!(
                "{:<width$}  {:>6}  {:>6}  {:>7}  {}{mark}\n",
                row.name,
                row.passed,
                row.failed,
                row.skipped,
                seconds(row.took)
            );
            passed += row.passed;
            failed += row.failed;
        }
        text += &format!("\n{passed} passed, {failed} failed\n");
        (text, passed > 0 && failed == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum() {
        let mut report = Report::default();
        assert_eq!(
            report.text("suite"),
            ("\nsuite  passed  failed  skipped  time\n\n0 passed, 0 failed\n".into(), false)
        );
        report.push(Row {
            name: "kv".into(),
            passed: 41,
            failed: 0,
            skipped: 2,
            took: Duration::from_secs(65),
        });
        report.push(Row::passed("format", Duration::from_millis(400)));
        let (text, good) = report.text("suite");
        assert!(good);
        assert_eq!(text.lines().nth(2).unwrap(), "kv          41       0        2  1 min 05 s");
        assert_eq!(text.lines().last().unwrap(), "42 passed, 0 failed");
        report.push(Row::failed("docs", Duration::ZERO));
        let (text, good) = report.text("suite");
        assert!(!good);
        assert_eq!(text.lines().last().unwrap(), "42 passed, 1 failed");
    }
}
