//! `neptune ls`: jobs as a table, or asked columns of them, or groups.

use clap::Args;
use neptune_wire::job::JobsQuery;
use neptune_wire::table::{JobGroup, JobRow, TableValue};
use neptune_wire::{Job, Micros, ProjectKey};
use serde::Serialize;

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
    /// Only deleted jobs, which are left out otherwise
    #[arg(long)]
    deleted: bool,
    /// Only jobs that meet a condition, such as 'metric.loss < 0.1 and param.lr >= 0.01' (docs/filter.md)
    #[arg(long, value_name = "CONDITION")]
    filter: Option<String>,
    /// Columns to order by, such as metric.loss,name; with - before one the other way round; groups also by jobs
    /// [default: -created]
    #[arg(long, value_name = "COLUMNS", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Columns to show, such as name,metric.loss.min,param.lr; of groups their counts, smallest and largest
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<String>,
    /// Show groups of the jobs that have the same values in these columns
    #[arg(long, value_name = "COLUMNS")]
    group: Option<String>,
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
    let query = JobsQuery {
        project: args.project.clone(),
        search: (!args.words.is_empty()).then(|| args.words.join(" ")),
        tags: joined(&args.tags),
        states: joined(&args.states),
        deleted: args.deleted.then_some(true),
        filter: args.filter.clone(),
        sort: args.sort.clone(),
        columns: args.columns.clone(),
        group: args.group.clone(),
        ..JobsQuery::default()
    };
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let rest = server.rest();
    match (&args.group, &args.columns) {
        (Some(_), _) => {
            let page = |query: JobsQuery| {
                let page = server.wait(rest.list_groups(&query))?;
                Ok((page.items, page.next, page.total, (page.group, page.columns)))
            };
            let (groups, total, names) = gather(&query, wanted, page)?;
            show(&groups, total, "groups", out, |groups| group_table(groups, names.unwrap_or_default()))
        }
        (None, Some(_)) => {
            let page = |query: JobsQuery| {
                let page = server.wait(rest.list_rows(&query))?;
                Ok((page.items, page.next, page.total, page.columns))
            };
            let (rows, total, columns) = gather(&query, wanted, page)?;
            show(&rows, total, "jobs", out, |rows| row_table(rows, columns.unwrap_or_default()))
        }
        (None, None) => {
            let page = |query: JobsQuery| {
                let page = server.wait(rest.list_jobs(&query))?;
                Ok((page.items, page.next, page.total, ()))
            };
            let (jobs, total, _) = gather(&query, wanted, page)?;
            show(&jobs, total, "jobs", out, table)
        }
    }
}

/// Asks for page after page until there are as many items as wanted; answers how many there are in all, too.
fn gather<T, N>(
    query: &JobsQuery,
    wanted: usize,
    mut page: impl FnMut(JobsQuery) -> Result<(Vec<T>, Option<String>, u64, N), CliError>,
) -> Result<(Vec<T>, u64, Option<N>), CliError> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        query.limit = Some((wanted - all.len()).min(PAGE as usize) as u32);
        let (items, next, total, names) = page(query.clone())?;
        all.extend(items);
        query.cursor = next;
        if query.cursor.is_none() || all.len() >= wanted {
            return Ok((all, total, Some(names)));
        }
    }
}

fn show<T: Serialize>(
    items: &[T],
    total: u64,
    what: &str,
    out: &mut Output,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<(), CliError> {
    if out.json {
        out.json(&items)?;
    } else if items.is_empty() {
        say(format_args!("no such {what}"));
        return Ok(());
    } else {
        out.table(&table(items))?;
    }
    // On standard error: whoever reads the output with a program is told, too, that it is not all.
    if total > items.len() as u64 {
        say(format_args!("{} of {total} {what}; --limit N or --all shows more", items.len()));
    }
    Ok(())
}

fn row_table(rows: &[JobRow], columns: Vec<String>) -> Table {
    let headings = std::iter::once("id".to_owned()).chain(columns.iter().cloned());
    let mut table = Table::with_headings(headings);
    for row in rows {
        let values = columns.iter().zip(&row.values);
        let cells = values.map(|(column, value)| Cell::new(value_text(column, value.as_ref())));
        table.row(std::iter::once(Cell::new(row.id.to_string())).chain(cells).collect());
    }
    table
}

fn group_table(groups: &[JobGroup], (keys, columns): (Vec<String>, Vec<String>)) -> Table {
    let summed = columns
        .iter()
        .flat_map(|column| ["count", "min", "mean", "max"].map(|what| format!("{column} {what}")));
    let headings = keys.iter().cloned().chain(std::iter::once("jobs".to_owned())).chain(summed);
    let mut table = Table::with_headings(headings);
    for group in groups {
        let values = keys.iter().zip(&group.values);
        let mut cells: Vec<Cell> =
            values.map(|(column, value)| Cell::new(value_text(column, value.as_ref()))).collect();
        cells.push(Cell::new(group.jobs.to_string()));
        for (name, column) in columns.iter().zip(&group.columns) {
            cells.push(Cell::new(column.count.to_string()));
            for number in [column.min, column.mean, column.max] {
                cells.push(Cell::new(value_text(name, number.map(TableValue::Number).as_ref())));
            }
        }
        table.row(cells);
    }
    table
}

/// A value for people: times as moments, lengths of time in their units; nothing where there is none.
fn value_text(column: &str, value: Option<&TableValue>) -> String {
    let micros = match value {
        Some(TableValue::Integer(micros)) => Some(*micros),
        Some(TableValue::Number(number)) if number.0.is_finite() => Some(number.0 as i64),
        _ => None,
    };
    match (column, micros) {
        ("created" | "started" | "ended", Some(micros)) => return time::moment(Micros(micros)),
        ("duration", Some(micros)) => return time::duration(Micros(0), Micros(micros)),
        _ => {}
    }
    match value {
        None => String::new(),
        Some(TableValue::Boolean(value)) => value.to_string(),
        Some(TableValue::Integer(value)) => value.to_string(),
        Some(TableValue::Number(value)) => format!("{:?}", value.0),
        Some(TableValue::Text(value)) => value.clone(),
        Some(TableValue::Tags(tags)) => tags.join(" "),
    }
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
