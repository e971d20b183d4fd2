//! `neptune tag`: add or remove tags of a job.

use clap::Args;
use neptune_wire::job::PatchJob;
use neptune_wire::{JobRef, Tag};

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// The job's id, such as TRIG-12
    job: JobRef,
    /// Tags to add
    tags: Vec<Tag>,
    /// Tag to remove (repeatable)
    #[arg(long = "remove", short = 'r', value_name = "TAG")]
    remove: Vec<Tag>,
}

/// Changes tags, and prints those the job has then.
pub(crate) fn run(args: &TagArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let patch =
        PatchJob { add_tags: args.tags.clone(), remove_tags: args.remove.clone(), ..PatchJob::default() };
    let job = match args.tags.is_empty() && args.remove.is_empty() {
        true => server.wait(server.rest().read_job(&args.job))?,
        false => server.wait(server.rest().patch_job(&args.job, &patch))?,
    };
    if out.json {
        return out.json(&job.tags);
    }
    job.tags.iter().try_for_each(|tag| out.line(tag.as_str()))
}
