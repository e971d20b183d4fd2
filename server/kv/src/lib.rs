//! Ordered bytes: the one narrow cut between what Neptune means and where it is kept.
//!
//! A backend offers point reads, page-wise scans, snapshots and one conditional, atomic, durable [`Kv::commit`].
//! Everything else (tables, encodings, chunks) is built above it, so a backend is judged by one suite alone:
//! `tests/kv-conformance`, which [`MemoryKv`] and every real backend pass.
//!
//! Keys are ordered as unsigned bytes inside a [`Family`]; families share nothing but the atomicity of a batch.
//!
//! Knows nothing of what the bytes mean or of any database; of files only that a copy can be asked for.

mod commit;
mod key;
mod memory;
mod read;

pub use commit::{Batch, CheckpointError, CommitError, Kv, Limits, TooLarge};
pub use key::{Family, Key, KeyRange};
pub use memory::MemoryKv;
pub use read::{KvRead, Order, Page, ReadError, Scan};

/// What the backend itself said, kept for whoever reads the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
