//! The rules of Neptune: who may do what, what a job may become, what is stored and what is answered.
//!
//! [`Engine`] is the one door. Every function that touches data takes a [`Grant`], which only [`access`] makes, and the
//! present time as a value; nothing here reads a clock, draws randomness or looks at the environment.
//!
//! Does not know HTTP, JSON, which database lies below, or the wall clock.

pub mod access;
pub mod refused;

mod blobs;
mod channels;
mod control;
mod engine;
mod envelope;
mod heads;
mod imports;
mod ingest;
mod jobs;
mod life;
mod live;
pub mod patience;
mod projects;
mod query;
mod registry;
mod seal;
mod series;
mod snapshots;
pub mod step;
mod table;
#[cfg(test)]
mod testing;

pub use access::{Access, Grant};
pub use blobs::BlobRead;
pub use control::Control;
pub use engine::{Engine, Stats, Times};
pub use imports::ImportFrames;
pub use ingest::{IngestEvent, IngestEvents, IngestSink, RefusedChannelWhy};
pub use life::BlobsKept;
pub use live::{LiveEvent, LivePoints, Subscription};
pub use query::PointsPage;
pub use refused::Refused;
pub use snapshots::SnapshotFile;
