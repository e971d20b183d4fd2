//! `neptune export`: whole projects or single jobs as a folder of Parquet and other files ([`crate::parcel`]).

mod job;
mod lines;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use neptune_client::rest::{Rest, RestError};
use neptune_wire::job::JobsQuery;
use neptune_wire::life::ImportProject;
use neptune_wire::problem::Code;
use neptune_wire::{Job, JobRef, ProjectKey};
use serde::Serialize;

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::parcel::{PROJECT, Parcel};
use crate::{size, target};

/// Jobs in one request.
const PAGE: u32 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A project's key, such as TRIG, or a job's id, such as TRIG-12
    #[arg(value_name = "PROJECT|JOB")]
    what: What,
    /// Where to: an empty folder or a new one
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, Clone)]
enum What {
    Project(ProjectKey),
    Job(JobRef),
}

impl std::str::FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(key) = ProjectKey::new(text) {
            return Ok(Self::Project(key));
        }
        text.parse().map(Self::Job).map_err(|_| "must be a project's key or a job's id".to_owned())
    }
}

#[derive(Debug, Serialize)]
struct Exported {
    jobs: u64,
    files: u64,
    bytes: u64,
    left_out: LeftOut,
}

/// Jobs that the export is without.
#[derive(Debug, Default, Serialize)]
struct LeftOut {
    /// Deleted, and restorable.
    deleted: u64,
    /// Removed for good while it was made.
    removed: Vec<String>,
}

pub(crate) fn run(args: &ExportArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let listed = server.wait(list(server.rest(), &args.what))?;
    let mut parcel = Parcel::create(&args.to)?;
    let bar = bar("exporting");
    let exported = server.wait(export(server.rest(), listed, &mut parcel, &bar));
    bar.finish_and_clear();
    let (jobs, left_out) = exported?;
    let (files, bytes) = parcel.finish()?;
    if left_out.deleted > 0 {
        say(format_args!(
            "{} deleted jobs are left out; `neptune ls --deleted` lists them, `neptune restore` brings them back",
            left_out.deleted
        ));
    }
    for job in &left_out.removed {
        say(format_args!("{job} was removed for good meanwhile and is left out"));
    }
    if out.json {
        return out.json(&Exported { jobs, files, bytes, left_out });
    }
    say(format_args!("{jobs} jobs in {files} files of {}: {}", size::of(bytes), args.to.display()));
    Ok(())
}

/// A bar of jobs.
pub(crate) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} jobs {msg}");
    let bar = ProgressBar::new(0).with_prefix(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What there is to be exported, looked at before anything is written.
struct Listed {
    project: ImportProject,
    jobs: Vec<Job>,
    deleted: u64,
}

async fn list(rest: &Rest, what: &What) -> Result<Listed, CliError> {
    let (key, jobs, deleted) = match what {
        What::Project(key) => (key.clone(), list_jobs(rest, key).await?, count_deleted(rest, key).await?),
        What::Job(job) => {
            let job = rest.read_job(job).await?;
            if job.deleted.is_some() {
                let id = &job.id;
                return Err(CliError::refused(format_args!(
                    "{id} is deleted; `neptune restore {id}` brings it back, then export it"
                )));
            }
            (job.project.clone(), vec![job], 0)
        }
    };
    let retention = rest.read_retention(&key).await?;
    Ok(Listed {
        project: ImportProject { project: rest.read_project(&key).await?, retention },
        jobs,
        deleted,
    })
}

async fn export(
    rest: &Rest,
    listed: Listed,
    parcel: &mut Parcel,
    bar: &ProgressBar,
) -> Result<(u64, LeftOut), CliError> {
    let mut left_out = LeftOut { deleted: listed.deleted, ..LeftOut::default() };
    parcel.write_json(PROJECT, &listed.project)?;
    bar.set_length(listed.jobs.len() as u64);
    let mut count = 0;
    for job in listed.jobs {
        let (id, this) = (job.id.to_string(), JobRef::Uid(job.uid));
        bar.set_message(id.clone());
        match job::export(rest, job, parcel).await {
            Ok(()) => count += 1,
            Err(CliError::Rest(error)) if is_gone(rest, &this, &error).await => {
                parcel.leave_out(&id)?;
                left_out.removed.push(id);
            }
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    Ok((count, left_out))
}

/// Whether a job that was listed is not there any more; a deleted one can be read as long as it can be restored. Its files
/// are the project's, of which nothing says that they went with it, so whatever was refused, the job is looked at again.
async fn is_gone(rest: &Rest, job: &JobRef, error: &RestError) -> bool {
    let says_so = |code: Option<Code>| matches!(code, Some(Code::JobDeleted | Code::UnknownJob));
    match error {
        RestError::Refused(problem) if says_so(Some(problem.code)) => true,
        RestError::Refused(_) => rest.read_job(job).await.is_err_and(|error| says_so(error.code())),
        _ => false,
    }
}

async fn count_deleted(rest: &Rest, project: &ProjectKey) -> Result<u64, CliError> {
    let query = JobsQuery {
        project: Some(project.clone()),
        deleted: Some(true),
        limit: Some(1),
        ..JobsQuery::default()
    };
    Ok(rest.list_jobs(&query).await?.total)
}

/// All jobs of a project, oldest first; those that come meanwhile may be among them.
async fn list_jobs(rest: &Rest, project: &ProjectKey) -> Result<Vec<Job>, CliError> {
    let mut query = JobsQuery {
        project: Some(project.clone()),
        sort: Some("id".into()),
        limit: Some(PAGE),
        ..JobsQuery::default()
    };
    let mut jobs = Vec::new();
    loop {
        let page = rest.list_jobs(&query).await?;
        jobs.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(jobs);
        }
    }
}
