//! The end of a job's life: deletions, the rules that make them, and when something was found to be needed by nobody.

use neptune_wire::project::{Retention, RetentionRule};
use neptune_wire::{JobState, Micros, Tag};
use serde::{Deserialize, Serialize};

use super::{Record, disk};

/// A job that was deleted: hidden and restorable at first, then being removed. Its last record to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRecord {
    /// When it was deleted.
    pub since: Micros,
    /// Until when it can be restored.
    pub until: Micros,
    /// Who or which rule wanted it so.
    pub reason: String,
    /// It is being removed: what is left of it is to be cleared, and nobody may see it any more.
    pub removing: bool,
}

impl Record for DeletedRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "deletion";
}

/// Since when a blob or a snapshot of a project is named by no job. Absent, as an empty value, while it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnneededRecord {
    /// When that was found first.
    pub since: Micros,
}

impl Record for UnneededRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "unneeded";
}

/// A project's rules of retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRecord {
    rules: Vec<DiskRule>,
}

impl Record for RetentionRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "retention";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DiskRule {
    states: Vec<DiskState>,
    older_than_days: Option<u32>,
    keep_last: Option<u32>,
    keep_tagged: Vec<Tag>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DiskState(#[serde(with = "disk::state")] JobState);

impl From<&Retention> for RetentionRecord {
    fn from(retention: &Retention) -> Self {
        let rule = |rule: &RetentionRule| DiskRule {
            states: rule.states.iter().copied().map(DiskState).collect(),
            older_than_days: rule.older_than_days,
            keep_last: rule.keep_last,
            keep_tagged: rule.keep_tagged.clone(),
        };
        Self { rules: retention.rules.iter().map(rule).collect() }
    }
}

impl From<RetentionRecord> for Retention {
    fn from(record: RetentionRecord) -> Self {
        let rule = |rule: DiskRule| RetentionRule {
            states: rule.states.into_iter().map(|DiskState(state)| state).collect(),
            older_than_days: rule.older_than_days,
            keep_last: rule.keep_last,
            keep_tagged: rule.keep_tagged,
        };
        Self { rules: record.rules.into_iter().map(rule).collect() }
    }
}
