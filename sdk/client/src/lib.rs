//! Rust core of every SDK: never blocks, spools, resumes.
