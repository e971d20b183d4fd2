//! Rust core of every SDK: talks to a server, never blocks a training loop, keeps on disk what cannot be sent.
//!
//! - [`Rest`]: typed requests, one answer each; [`Blocking`] for programs without a runtime.
//! - [`Writer`]: one session of one attempt. Points go into memory in well under a microsecond; a background thread
//!   makes frames, sends them, resends them after a reconnect, and spools them when the server is away.
//! - [`Control`]: a runner's beats up, the server's wishes down.
//! - [`JobFolder`] and [`sync()`]: a job that could not be registered, or not finished, waits in a folder and is uploaded
//!   later, every point exactly once.
//! - [`live::Live`]: what a browser hears, for programs that follow a job.
//! - [`environment`]: what a runner tells the program it starts.
//!
//! This crate does not know that a database exists, how programs are started, or what a command line looks like.

pub mod environment;
pub mod notice;

mod backoff;
mod random;
mod session;
mod socket;
mod spool;
mod tls;

#[cfg(test)]
#[path = "../tests/it/small_disk.rs"]
mod small_disk;

pub mod rest;

mod fork;
pub mod writer;

pub mod control;
pub mod folder;
pub mod live;
pub mod sync;

pub use control::{Control, ControlEvent, ControlSettings};
pub use environment::Environment;
pub use folder::JobFolder;
pub use notice::{Notice, Notices};
pub use random::{new_claim_id, new_job_uid, new_session_id};
pub use rest::{Access, Blocking, Rest, RestError};
pub use sync::{SyncReport, SyncSettings, sync};
pub use writer::{
    Flushed, ImageChannel, ImageData, LogChannel, LogStream, NumericChannel, Stats, TextChannel, Writer,
    WriterSettings,
};
