//! The levels of settings: the user's file, the job file, the command line.

use std::path::{Path, PathBuf};

use clap::Args;
use neptune_runner::config::{Config, LogChannel, find_job_file};

use super::RunArgs;
use crate::error::CliError;

/// Flags of earlier versions that change nothing for a job that runs here; each is taken with a note.
#[derive(Debug, Default, Args)]
pub(crate) struct OldFlags {
    #[arg(long, hide = true, value_name = "IMAGE")]
    docker_image: Option<String>,
    #[arg(long, hide = true, num_args = 1.., value_name = "LABEL")]
    requirements: Vec<String>,
    #[arg(long, short = 'e', hide = true)]
    environment: Option<String>,
    #[arg(long, short = 'w', hide = true)]
    worker: Option<String>,
    #[arg(long, short = 'i', hide = true)]
    input: Vec<String>,
    #[arg(long, short = 'b', hide = true)]
    backup: Vec<String>,
    #[arg(long, hide = true)]
    pip_requirements_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    ml_framework: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    open_webbrowser: Option<bool>,
}

impl OldFlags {
    fn notes(&self) -> Vec<String> {
        const QUEUED: &str = "has no effect on a job that runs here; it is for queued jobs";
        const NOT_DONE: &str = "is not done in this version";
        let given = [
            (self.docker_image.is_some(), "--docker-image", QUEUED),
            (!self.requirements.is_empty(), "--requirements", QUEUED),
            (self.environment.is_some(), "--environment", QUEUED),
            (self.worker.is_some(), "--worker", QUEUED),
            (!self.input.is_empty(), "--input", QUEUED),
            (self.pip_requirements_file.is_some(), "--pip-requirements-file", QUEUED),
            (!self.backup.is_empty(), "--backup", NOT_DONE),
            (self.ml_framework.is_some(), "--ml-framework", NOT_DONE),
        ];
        given.iter().filter(|(given, ..)| *given).map(|(_, flag, text)| format!("{flag} {text}")).collect()
    }
}

/// All levels laid over each other.
pub(super) fn config(args: &RunArgs, folder: &Path) -> Result<Config, CliError> {
    let home = std::env::home_dir();
    let global = Config::read_global(home.as_deref()).map_err(CliError::usage)?;
    let job_file = args.config.clone().or_else(|| find_job_file(folder, home.as_deref()));
    let job = match &job_file {
        Some(file) => Config::read_file(shown(file, folder)).map_err(CliError::usage)?,
        None => Config::default(),
    };
    Ok(command_line(args)?.over(job.over(global)))
}

/// A file as a person in this folder calls it.
fn shown<'a>(file: &'a Path, folder: &Path) -> &'a Path {
    file.strip_prefix(folder).unwrap_or(file)
}

fn command_line(args: &RunArgs) -> Result<Config, CliError> {
    let flag = |given: bool| given.then_some(true);
    let log_channels: Result<Vec<_>, _> =
        args.log_channels.iter().map(|text| LogChannel::parse(text)).collect();
    let log_channels = log_channels.map_err(|error| CliError::Usage(format!("--log-channel: {error}")))?;
    let storage = match (&args.storage, args.snapshot) {
        (Some(storage), _) => Some(neptune_runner::config::expand_home(storage)),
        (None, true) => Some(neptune_runner::config::expand_home("~/.neptune")),
        (None, false) => None,
    };
    Ok(Config {
        name: args.name.clone(),
        description: args.description.clone(),
        project: args.project.clone().filter(|project| !project.is_empty()),
        tags: [args.tag.clone(), args.tags.clone()].concat(),
        properties: args.properties.iter().cloned().collect(),
        exclude: args.exclude.clone(),
        paths: args.paths.clone(),
        storage,
        log_channels,
        disable_stdout_channel: flag(args.disable_stdout_channel),
        disable_stderr_channel: flag(args.disable_stderr_channel),
        notes: args.old.notes(),
        ..Config::default()
    })
}
