//! Real servers for tests and benchmarks: the released binary, on port 0, in a folder of its own.
//!
//! A server's log goes to a file beside its data and is printed only when something went wrong. Every wait has a
//! deadline. Processes end with the value that stands for them.

#![allow(clippy::print_stderr, reason = "a failing test prints the server's log")]

mod server;

pub use server::{Server, ServerOptions, binary};
