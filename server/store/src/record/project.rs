//! Projects.

use neptune_wire::Micros;
use serde::{Deserialize, Serialize};

use super::Record;

/// A project and the counter that numbers its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// For people.
    pub name: String,
    /// When it was created.
    pub created: Micros,
    /// The number given last; only grows.
    pub last_number: u64,
    /// Jobs it holds now.
    pub jobs: u64,
}

impl Record for ProjectRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "project";
}
