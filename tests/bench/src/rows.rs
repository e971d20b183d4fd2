//! One file per row, numbered as in the table of targets.

mod ingest;
mod live;
mod python;
mod query;
mod send;
mod start;

use anyhow::Result;

use crate::report::Figure;

/// How much load a row puts on the machine.
pub(crate) struct Load {
    /// Of sustained ingest.
    pub seconds: u64,
}

type Measure = fn(&Load) -> Result<Vec<Figure>>;

/// The rows that exist by now.
pub(crate) const ALL: &[(u32, Measure)] = &[
    (1, ingest::measure),
    (5, send::measure),
    (5, python::measure),
    (6, live::measure),
    (7, query::measure),
    (11, start::measure),
];
