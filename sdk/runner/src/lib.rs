//! Prepares a job, runs its process tree, relays logs, obeys aborts.
//!
//! Read in the order of a run: [`config`] (what the files say), [`params`] (typed inputs), then the workspace, the process
//! tree and the relays. The CLI and a machine's executor share all of it.
//!
//! This crate does not know how a command line looks on a terminal, and no HTTP: it speaks through `neptune-client`.

pub mod config;
pub mod params;

pub mod program;
pub mod project;
pub mod snapshot;

pub mod plan;

pub mod process;

pub mod attempt;

pub mod launch;
pub mod signals;

pub mod nearest;
