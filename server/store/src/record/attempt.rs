//! Attempts and the tokens that speak for them; administrators' tokens.

use neptune_wire::id::ClaimId;
use neptune_wire::job::{Exit, ExitKind};
use neptune_wire::{AttemptNumber, JobUid, Micros};
use serde::{Deserialize, Serialize};

use super::{Record, disk};

/// One try of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The claim that made it; repeating the claim answers the same token.
    #[serde(with = "disk::claim_id")]
    pub claim: ClaimId,
    /// `self` for a job by hand.
    pub executor: String,
    /// The machine's name.
    pub host: Option<String>,
    /// When it was claimed.
    pub claimed: Micros,
    /// How it ended.
    #[serde(serialize_with = "exit::serialize", deserialize_with = "exit::deserialize")]
    pub exit: Option<Exit>,
}

impl Record for AttemptRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "attempt";
}

/// For whom an attempt's token speaks; stored under the token's hash, never under the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The job.
    #[serde(with = "disk::job_uid")]
    pub job: JobUid,
    /// Which try.
    pub attempt: AttemptNumber,
}

impl Record for TokenRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "attempt token";
}

/// An administrator's token, under its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminTokenRecord {
    /// For people.
    pub name: String,
    /// When it was made.
    pub created: Micros,
}

impl Record for AdminTokenRecord {
    const VERSION: u8 = 1;
    const NAME: &'static str = "administrator token";
}

#[derive(Serialize, Deserialize)]
struct DiskExit {
    how: DiskExitKind,
    ended: Micros,
    aborted: bool,
    reason: Option<String>,
}

/// The order of the variants is on disk.
#[derive(Serialize, Deserialize)]
enum DiskExitKind {
    Code(i32),
    Signal(i32),
    NotStarted,
}

impl From<&Exit> for DiskExit {
    fn from(exit: &Exit) -> Self {
        let how = match exit.how {
            ExitKind::Code { code } => DiskExitKind::Code(code),
            ExitKind::Signal { signal } => DiskExitKind::Signal(signal),
            ExitKind::NotStarted => DiskExitKind::NotStarted,
        };
        Self { how, ended: exit.ended_micros, aborted: exit.aborted, reason: exit.reason.clone() }
    }
}

impl From<DiskExit> for Exit {
    fn from(exit: DiskExit) -> Self {
        let how = match exit.how {
            DiskExitKind::Code(code) => ExitKind::Code { code },
            DiskExitKind::Signal(signal) => ExitKind::Signal { signal },
            DiskExitKind::NotStarted => ExitKind::NotStarted,
        };
        Self { how, ended_micros: exit.ended, aborted: exit.aborted, reason: exit.reason }
    }
}

mod exit {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(exit: &Option<Exit>, s: S) -> Result<S::Ok, S::Error> {
        disk::mirrored::option::<_, DiskExit, S>(exit, s)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Exit>, D::Error> {
        disk::mirrored::read_option::<_, DiskExit, D>(d)
    }
}
