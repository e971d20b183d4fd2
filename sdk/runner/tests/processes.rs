//! Real processes: trees that do not want to end, and whole attempts.

#![allow(clippy::unwrap_used)] // a test crate outside `mod tests`

#[path = "processes/alone.rs"]
mod alone;
#[path = "processes/attempt.rs"]
mod attempt;
#[path = "processes/tree.rs"]
mod tree;
