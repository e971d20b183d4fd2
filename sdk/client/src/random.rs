//! Ids that a client makes itself, from the operating system's randomness.

use neptune_wire::id::ClaimId;
use neptune_wire::{JobUid, SessionId};

/// A new job's uid.
pub fn new_job_uid() -> JobUid {
    JobUid::from_bytes(random_bytes())
}

/// A new session's id.
pub fn new_session_id() -> SessionId {
    SessionId::from_bytes(random_bytes())
}

/// A new claim's id.
pub fn new_claim_id() -> ClaimId {
    ClaimId::from_bytes(random_bytes())
}

/// Any bits.
pub(crate) fn random_u64() -> u64 {
    u64::from_le_bytes(random_bytes())
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness once it has started a process");
    bytes
}
