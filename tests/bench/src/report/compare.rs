//! The figures of an earlier run, as `--json` wrote them, beside those of this one.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Figure;

/// An earlier run.
#[derive(Debug, Deserialize)]
pub(crate) struct Earlier {
    revision: String,
    figures: Vec<EarlierFigure>,
}

#[derive(Debug, Deserialize)]
struct EarlierFigure {
    row: u32,
    what: String,
    /// Null where it was not a number.
    value: Option<f64>,
    p99: Option<f64>,
}

impl Earlier {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("--against {}", path.display()))?;
        Self::parse(&text)
            .with_context(|| format!("--against {}: what --json writes is wanted", path.display()))
    }

    /// Reads the text of one.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// How a figure changed, to be put behind it. Figures are the same if they measure the same under the same conditions.
    pub(crate) fn change(&self, figure: &Figure) -> String {
        let same = |earlier: &&EarlierFigure| earlier.row == figure.row && earlier.what == figure.what;
        let Some(earlier) = self.figures.iter().find(same) else {
            return format!("  new since {}", self.revision);
        };
        let percent = |now: f64, before: Option<f64>| match before {
            Some(before) if before != 0.0 => format!("{:+.0} %", (now / before - 1.0) * 100.0),
            _ => "?".into(),
        };
        let value = percent(figure.value, earlier.value);
        match figure.p99 {
            Some(p99) => format!("  {value} / {} since {}", percent(p99, earlier.p99), self.revision),
            None => format!("  {value} since {}", self.revision),
        }
    }
}
