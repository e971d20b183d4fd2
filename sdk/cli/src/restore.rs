//! `neptune restore`: bring deleted jobs back.

use clap::Args;
use neptune_wire::JobRef;

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Their ids, such as TRIG-12; `neptune ls --deleted` lists them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobRef>,
}

/// Restores all of them; a job that is gone does not spare the others.
pub(crate) fn run(args: &RestoreArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let mut jobs = Vec::new();
    let mut first_error = None;
    for job in &args.jobs {
        match server.wait(server.rest().restore_job(job)) {
            Ok(job) => {
                say(format_args!("{} is back: {}", job.id, job.state));
                jobs.push(job);
            }
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => say(format_args!("{job}: {error}")),
        }
    }
    if out.json {
        out.json(&jobs)?;
    }
    first_error.map_or(Ok(()), |error| Err(error.into()))
}
