//! `neptune abort`: end jobs that run.

use clap::Args;
use neptune_wire::JobRef;
use neptune_wire::job::AbortJob;

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    /// Their ids, such as TRIG-12
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobRef>,
    /// Shown on the job
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Seconds between SIGTERM and SIGKILL, at most 600
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=600))]
    grace: Option<u64>,
}

/// Asks for all of them; a job that cannot be aborted does not spare the others.
pub(crate) fn run(args: &AbortArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let abort =
        AbortJob { reason: args.reason.clone(), grace_millis: args.grace.map(|seconds| seconds * 1_000) };
    let mut jobs = Vec::new();
    let mut first_error = None;
    for job in &args.jobs {
        match server.wait(server.rest().abort_job(job, &abort)) {
            Ok(job) => {
                say(format_args!("{} {}", job.id, job.state));
                jobs.push(job);
            }
            Err(error) if first_error.is_none() => first_error = Some((job, error)),
            Err(error) => say(format_args!("{job}: {error}")),
        }
    }
    if out.json {
        out.json(&jobs)?;
    }
    match first_error {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}
