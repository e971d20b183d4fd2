//! What the pages know, as plain values: no browser, no clock, no network. Compiled and tested natively.

pub mod address;
pub mod ansi;
pub mod filter;
pub mod format;
pub mod jobs;
pub mod lines;
pub mod link;
pub mod timing;
pub mod window;
pub mod zoom;
