//! `neptune diff`: what two jobs do not have in common, parameters first, then sources.

use std::collections::BTreeMap;

use clap::Args;
use neptune_wire::problem::Code;
use neptune_wire::snapshot::{Change, FileDiff, SnapshotDiff};
use neptune_wire::{Job, JobRef};
use serde::Serialize;

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::{Cell, Output, Table, plain};
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The older job
    job: JobRef,
    /// The newer job
    other: JobRef,
}

#[derive(Debug, PartialEq, Serialize)]
struct ParamDiff {
    name: String,
    job: Option<String>,
    other: Option<String>,
}

#[derive(Serialize)]
struct Diff<'a> {
    params: &'a [ParamDiff],
    files: &'a [FileDiff],
}

pub(crate) fn run(args: &DiffArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let rest = server.rest();
    let job = server.wait(rest.read_job(&args.job))?;
    let other = server.wait(rest.read_job(&args.other))?;
    let sources = match server.wait(rest.diff_snapshots(&args.job, &args.other)) {
        Ok(sources) => sources,
        Err(error) if error.code() == Some(Code::UnknownSnapshot) => {
            say("one of the two has no source snapshot; only parameters are compared");
            SnapshotDiff { files: Vec::new() }
        }
        Err(error) => return Err(error.into()),
    };
    let params = param_diffs(&job, &other);
    if out.json {
        return out.json(&Diff { params: &params, files: &sources.files });
    }
    if params.is_empty() && sources.files.is_empty() {
        say(format_args!("{} and {} have the same parameters and sources", job.id, other.id));
    }
    if !params.is_empty() {
        let mut table = Table::new(&["parameter", "old", "new"]).flexible(&[2, 1, 0]);
        let cell = |value: &Option<String>| Cell::new(value.as_deref().unwrap_or("-"));
        params
            .iter()
            .for_each(|diff| table.row(vec![Cell::new(&diff.name), cell(&diff.job), cell(&diff.other)]));
        out.table(&table)?;
    }
    sources.files.iter().try_for_each(|file| write_file(out, file))
}

fn param_diffs(job: &Job, other: &Job) -> Vec<ParamDiff> {
    let mut both: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for param in &job.params {
        both.entry(param.name.to_string()).or_default().0 = Some(param.value.to_string());
    }
    for param in &other.params {
        both.entry(param.name.to_string()).or_default().1 = Some(param.value.to_string());
    }
    let changed = both.into_iter().filter(|(_, (job, other))| job != other);
    changed.map(|(name, (job, other))| ParamDiff { name, job, other }).collect()
}

fn write_file(out: &mut Output, file: &FileDiff) -> Result<(), CliError> {
    let what = match file.change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Modified => "modified",
    };
    out.line(&format!("{what}: {}", plain(&file.path)))?;
    match &file.unified {
        Some(unified) => unified.lines().try_for_each(|line| out.line(&plain_but_tabs(line))),
        None => Ok(()),
    }
}

/// Source lines keep their tabs.
fn plain_but_tabs(line: &str) -> String {
    line.split('\t').map(plain).collect::<Vec<_>>().join("\t")
}
