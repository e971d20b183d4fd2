//! `cargo xtask bench`: the rows of the speed targets, measured on this machine against the real server.
//!
//! Each row prints what was measured, the target and the floor. Every run says how durable acknowledgements were (they
//! always wait for the sync), how busy the machine was, and what the bare disk did in the same minute, because a figure
//! without these means nothing. The load generator runs on the same machine as the server. docs/bench.md says what each
//! row measures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to a terminal")]

mod arguments;
mod data;
mod disk;
mod fill;
mod http;
mod peer;
mod process;
mod report;
mod rows;
mod swarm;

use std::process::ExitCode;

use anyhow::{Result, bail};

use arguments::Arguments;
use report::{Earlier, Report, merge};
use rows::World;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; answers whether everything that was asked for could be measured.
fn run(arguments: &Arguments) -> Result<bool> {
    let earlier = arguments.against.as_deref().map(Earlier::read).transpose()?;
    if let Some(row) = arguments.rows.iter().find(|row| rows::ALL.iter().all(|(known, _)| known != *row)) {
        let known: Vec<String> = rows::ALL.iter().map(|(row, _)| row.to_string()).collect();
        bail!("there is no row {row} to measure; the rows are {}", known.join(", "));
    }
    let mut report = Report::begin();
    let mut world = World::new(arguments.load());
    for (number, measure) in rows::ALL {
        if !arguments.wants(*number) {
            continue;
        }
        let row = format!("row {number}");
        eprintln!("{row} …");
        report.note_conditions(&row, disk::measure()?);
        let runs: Result<Vec<_>> = (0..arguments.repeat).map(|_| measure(&mut world)).collect();
        match runs {
            Ok(runs) => report.extend(merge(runs)),
            Err(error) => report.fail(&row, &error),
        }
    }
    drop(world);
    peer::measure(arguments.peers(), arguments.runs, &mut report);
    print!("{}", report.table(earlier.as_ref()));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(report.complete())
}
