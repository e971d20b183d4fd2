//! Nouns and contract v1 between the server and everything that talks to it.
//!
//! One word per idea, used in every room: **project**, **job** (`TRIG-12`), **param**, **tag**, **property**,
//! **channel** (numeric, text, image: a series of **points** `(x, y, time)`), **chart** of **series**, **snapshot**
//! (content-addressed source tree), **blob**, **attempt** (one try of a job; its number fences writes), **session**
//! (one writer's numbered **frames**).
//!
//! JSON carries control, [`frame`] and [`columns`] carry numbers. Times are microseconds since the Unix epoch, UTC,
//! in names that end in `_micros`. A JSON shape only ever gains optional fields; byte tags are never reused.
//!
//! This crate does not know storage, any HTTP library, files, sockets or the clock. It builds for wasm32.

pub mod id;
pub mod name;
pub mod number;

pub mod channel;
pub mod chart;
pub mod job;
pub mod life;
pub mod problem;
pub mod project;
pub mod query;
pub mod server;
pub mod snapshot;
pub mod table;

pub mod control;
pub mod ingest;
pub mod live;

pub mod columns;
pub mod frame;

pub use channel::{Channel, ChannelKind, ChannelOrigin, ChannelSummary, CreateChannel};
pub use chart::{Chart, CreateChart, Line, Series};
pub use id::{AttemptNumber, Digest, JobId, JobRef, JobUid, SessionId};
pub use job::{CreateJob, Job, JobState, Param, ParamValue};
pub use life::{DeleteReceipt, Deleted};
pub use name::{ChannelName, ParamName, ProjectKey, Tag};
pub use number::{Micros, Number};
pub use problem::{Code, Problem};
pub use project::{CreateProject, Project, Retention, RetentionRule};
