//! The real binary, on port 0, in folders of its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it is")]

mod backup;
mod commands;
mod disk_full;
mod door;
mod life;
mod server;
