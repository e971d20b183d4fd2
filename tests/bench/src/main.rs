//! `cargo xtask bench`: the rows of the speed targets, measured on this machine against the real server.
//!
//! Each row prints what was measured, the target and the floor. Every run says how durable acknowledgements were (they
//! always wait for the sync), how busy the machine was, and what the bare disk did in the same minute, because a figure
//! without these means nothing. The load generator runs on the same machine as the server.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to a terminal")]

mod disk;
mod fill;
mod report;
mod rows;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use report::Report;

/// Measures Neptune against its speed targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these rows, by number; all when absent.
    rows: Vec<u32>,
    /// Seconds of sustained load in row 1.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Also writes the figures as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::begin(disk::measure()?);
    for (number, measure) in rows::ALL {
        if arguments.rows.is_empty() || arguments.rows.contains(number) {
            eprintln!("row {number} …");
            match measure(&rows::Load { seconds: arguments.seconds }) {
                Ok(figures) => report.extend(figures),
                Err(error) => report.fail(*number, &error),
            }
        }
    }
    print!("{}", report.table());
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?)?;
    }
    anyhow::ensure!(report.complete(), "some rows could not be measured");
    Ok(())
}
