//! One file per row, numbered as in the table of targets.

mod channels;
mod clients;
mod filled;
mod ingest;
mod jobs;
mod lines;
mod live;
mod overlay;
mod python;
mod query;
mod send;
mod start;
mod storage;

use anyhow::Result;

use crate::report::Figure;
use filled::Filled;

/// How much load rows put on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Of sustained ingest.
    pub seconds: u64,
    /// Of row 2.
    pub clients: usize,
    /// Of row 3.
    pub channels: u64,
    /// Of the longest channel.
    pub points: u64,
    /// Of the job table.
    pub jobs: u64,
}

/// What rows find, and what one row leaves for another: a full folder takes minutes to fill.
pub(crate) struct World {
    /// How much load rows put on the machine.
    pub load: Load,
    filled: Option<Filled>,
}

impl World {
    /// Nothing is filled yet.
    pub(crate) fn new(load: Load) -> Self {
        Self { load, filled: None }
    }
}

type Measure = fn(&mut World) -> Result<Vec<Figure>>;

/// The rows that exist by now.
pub(crate) const ALL: &[(u32, Measure)] = &[
    (1, ingest::measure_library),
    (1, ingest::measure_protocol),
    (2, clients::measure),
    (3, channels::measure),
    (4, lines::measure),
    (5, send::measure),
    (5, python::measure),
    (6, live::measure_quiet),
    (6, live::measure_loaded),
    (7, query::measure),
    (8, overlay::measure),
    (9, storage::measure),
    (10, jobs::measure),
    (11, start::measure_empty),
    (11, start::measure_full),
];

/// The Python that has the browser's library and our module.
pub(crate) fn python() -> String {
    std::env::var("NEPTUNE_PYTHON").unwrap_or("python3".into())
}
