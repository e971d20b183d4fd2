//! `neptune project retention`: which jobs of a project are deleted by themselves.

use clap::Args;
use neptune_client::rest::Blocking;
use neptune_wire::{JobState, ProjectKey, Retention, RetentionRule, Tag};

use crate::error::{CliError, say};
use crate::output::{Cell, Output, Table};

#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    /// The project's key
    project: ProjectKey,
    /// A rule: jobs of this state (repeatable) [default: every ended one but lost]
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<JobState>,
    /// A rule: jobs that ended so many days ago
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// A rule: all but the newest so many
    #[arg(long, value_name = "COUNT")]
    keep_last: Option<u32>,
    /// A rule: none with this tag (repeatable)
    #[arg(long = "keep-tag", value_name = "TAG")]
    keep_tagged: Vec<Tag>,
    /// Keep the rules there are, beside the one given
    #[arg(long)]
    add: bool,
    /// Remove all rules
    #[arg(long, conflicts_with_all = ["states", "older_than", "keep_last", "keep_tagged", "add"])]
    clear: bool,
    /// Only list what the rules, or the one given, would delete now
    #[arg(long)]
    dry_run: bool,
}

fn state(text: &str) -> Result<JobState, String> {
    let found = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| format!("states are {}", JobState::ALL.map(JobState::as_str).join(", ")))
}

/// Shows, replaces or tries rules.
pub(crate) fn run(args: &RetentionArgs, server: &Blocking, out: &mut Output) -> Result<(), CliError> {
    let (rest, project) = (server.rest(), &args.project);
    let given = RetentionRule {
        states: args.states.clone(),
        older_than_days: args.older_than,
        keep_last: args.keep_last,
        keep_tagged: args.keep_tagged.clone(),
    };
    let wanted = match (args.clear, given == RetentionRule::default()) {
        (true, _) => Some(Retention::default()),
        (false, true) => None,
        (false, false) if args.add => {
            let mut there = server.wait(rest.read_retention(project))?;
            there.rules.push(given);
            Some(there)
        }
        (false, false) => Some(Retention { rules: vec![given] }),
    };
    if args.dry_run {
        let preview = server.wait(rest.preview_retention(project, wanted.as_ref()))?;
        if out.json {
            return out.json(&preview);
        }
        say(format_args!("{} jobs would be deleted", preview.jobs.len()));
        let mut table = Table::new(&["job", "name", "why"]).flexible(&[1, 2]);
        for doomed in preview.jobs {
            let id = doomed.job.to_string();
            table.row(vec![Cell::new(id), Cell::new(doomed.name), Cell::new(doomed.reason)]);
        }
        return out.table(&table);
    }
    let rules = match wanted {
        Some(wanted) => server.wait(rest.replace_retention(project, &wanted))?,
        None => server.wait(rest.read_retention(project))?,
    };
    if out.json {
        return out.json(&rules);
    }
    if rules.rules.is_empty() {
        say("no rules: jobs stay until somebody deletes them");
        return Ok(());
    }
    let mut table = Table::new(&["states", "older than", "keep last", "keep tagged"]);
    for rule in rules.rules {
        let states: Vec<&str> = rule.states.iter().map(|state| state.as_str()).collect();
        let tags: Vec<&str> = rule.keep_tagged.iter().map(Tag::as_str).collect();
        table.row(vec![
            Cell::new(if states.is_empty() { "ended".into() } else { states.join(",") }),
            Cell::new(rule.older_than_days.map_or(String::new(), |days| format!("{days} d"))),
            Cell::new(rule.keep_last.map_or(String::new(), |last| last.to_string())),
            Cell::new(tags.join(",")),
        ]);
    }
    out.table(&table)
}
