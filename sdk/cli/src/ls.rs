//! `neptune ls`: jobs as a table.

use clap::Args;
use neptune_wire::job::JobsQuery;
use neptune_wire::{Job, ProjectKey};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::{Cell, Colour, Output, Table};
use crate::{target, time};

/// Jobs in one request.
const PAGE: u32 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Words that must all occur in a job's id, name, description, tags, host or parameters
    words: Vec<String>,
    /// Only this project, by its key
    #[arg(long)]
    project: Option<ProjectKey>,
    /// Only jobs with this tag (repeatable: all of them)
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only jobs in this state (repeatable: any of them)
    #[arg(long = "state", value_name = "STATE", value_parser = parse_state)]
    states: Vec<String>,
    /// created, name, state or id; with - before it the other way round
    #[arg(long, default_value = "-created", allow_hyphen_values = true)]
    sort: String,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 50, conflicts_with = "all", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them
    #[arg(long)]
    all: bool,
}

fn parse_state(text: &str) -> Result<String, String> {
    use neptune_wire::JobState;
    let known = JobState::ALL.map(JobState::as_str);
    known.contains(&text).then(|| text.to_string()).ok_or(format!("the states are {}", known.join(", ")))
}

pub(crate) fn run(args: &LsArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let joined = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(","));
    let mut query = JobsQuery {
        project: args.project.clone(),
        search: (!args.words.is_empty()).then(|| args.words.join(" ")),
        tags: joined(&args.tags),
        states: joined(&args.states),
        sort: Some(args.sort.clone()),
        ..JobsQuery::default()
    };
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let mut jobs: Vec<Job> = Vec::new();
    let mut total = 0;
    while jobs.len() < wanted {
        query.limit = Some((wanted - jobs.len()).min(PAGE as usize) as u32);
        let page = server.wait(server.rest().list_jobs(&query))?;
        (total, query.cursor) = (page.total, page.next);
        jobs.extend(page.items);
        if query.cursor.is_none() {
            break;
        }
    }
    if out.json {
        return out.json(&jobs);
    }
    if jobs.is_empty() {
        say("no such jobs");
        return Ok(());
    }
    out.table(&table(&jobs))?;
    if total > jobs.len() as u64 {
        say(format_args!("{} of {total} jobs; --limit N or --all shows more", jobs.len()));
    }
    Ok(())
}

fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&["id", "name", "state", "tags", "created", "duration"]).flexible(&[1, 3]);
    for job in jobs {
        let tags: Vec<_> = job.tags.iter().map(|tag| tag.as_str()).collect();
        table.row(vec![
            Cell::new(job.id.to_string()),
            Cell::new(&job.name),
            state(job),
            Cell::new(tags.join(" ")),
            Cell::new(time::moment(job.created_micros)),
            Cell::new(time::run_time(job).unwrap_or_default()),
        ]);
    }
    table
}

/// The state, and since when nothing was heard of it.
pub(crate) fn state(job: &Job) -> Cell {
    match job.silent_since_micros {
        Some(_) if job.state.is_live() => {
            Cell::coloured(format!("{}, not responding", job.state), Colour::Yellow)
        }
        _ => Cell::coloured(job.state.as_str(), Colour::of_state(job.state)),
    }
}
