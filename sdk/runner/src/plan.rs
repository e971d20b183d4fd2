//! A job before it exists: everything that can be wrong with it is found here, and nothing has been registered yet.

mod limits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neptune_client::writer::LogStream;
use neptune_wire::job::Param;
use neptune_wire::name::NAME_BYTES;
use neptune_wire::{CreateJob, ProjectKey};

use crate::config::{Config, LogChannel};
use crate::params::{self, Given, ParamsError};
use crate::program::{self, Program, ProgramError, Surroundings};
use crate::project::ProjectName;
use crate::snapshot::{Rules, SnapshotError, Tree};

/// What is said of a job, by all levels together.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// All levels of settings, laid over each other.
    pub config: Config,
    /// The main file, when the command line names one.
    pub main: Option<PathBuf>,
    /// The command line's say on params.
    pub given: Given,
    /// Where things are looked for.
    pub surroundings: Surroundings,
    /// Most bytes of a snapshot.
    pub snapshot_limit_bytes: u64,
    /// Where job folders wait; never part of a snapshot.
    pub spool_root: PathBuf,
}

/// A job that can be registered and run.
#[derive(Debug)]
pub struct Plan {
    /// Its project.
    pub project: ProjectName,
    /// Its program.
    pub program: Program,
    /// The folder whose sources are registered, and where it runs unless `storage` says otherwise.
    pub folder: PathBuf,
    /// Where its copy is made and run.
    pub storage: Option<PathBuf>,
    /// Streams that become log channels.
    pub streams: Vec<LogStream>,
    /// Numeric channels made of printed lines.
    pub log_channels: Vec<LogChannel>,
    /// Its source tree.
    pub tree: Tree,
    /// What a person should know before it runs.
    pub notes: Vec<String>,
    name: String,
    params: Vec<Param>,
    environment: BTreeMap<String, String>,
    config: Config,
}

/// Why a job cannot be planned; the person who wrote it can mend it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Params.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The main file.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The source tree.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The copy of a job would lack its own main file.
    #[error("main file: {} is not in the snapshot, so its copy could not run; {why}", main.display())]
    NotInCopy {
        /// The main file.
        main: PathBuf,
        /// What to change.
        why: &'static str,
    },
    /// More than the server would take.
    #[error("{key}: {text}")]
    TooLong {
        /// Which setting.
        key: String,
        /// Its limit.
        text: String,
    },
}

impl Plan {
    /// Checks everything and hashes the source tree.
    ///
    /// # Errors
    ///
    /// [`PlanError`]
    pub fn make(settings: PlanSettings) -> Result<Plan, PlanError> {
        let PlanSettings { config, given, surroundings, .. } = settings;
        let folder = surroundings.folder.clone();
        limits::check_config(&config)?;
        let name = config.name.clone().unwrap_or_else(|| name_of(&folder));
        limits::check_text("name", Some(&name), NAME_BYTES)?;
        let (main, before) = main_and_arguments(settings.main, &config);
        let resolved = params::resolve(config.parameters.as_ref(), &given)?;
        let arguments = before.into_iter().chain(resolved.arguments).collect();
        let program = Program::find(main.as_deref(), arguments, &surroundings)?;
        let environment = program::read_facts(&program, &folder);
        limits::check_spec(&resolved.params, &program.command_line(), &environment)?;
        let storage = config.storage.as_ref().map(|storage| folder.join(storage));
        let rules = Rules {
            exclude: config.exclude.clone(),
            only: only(&config, &program),
            outside: storage
                .iter()
                .chain([&settings.spool_root])
                .map(|folder| resolved_path(folder))
                .collect(),
            size_limit_bytes: settings.snapshot_limit_bytes,
        };
        let tree = Tree::scan(&folder, &rules)?;
        let mut notes = [config.notes.clone(), resolved.notes, tree.notes().to_vec()].concat();
        if !tree.contains(&program.main) {
            let outside = program.main.is_absolute() || program.main.starts_with("..");
            let why = if outside { "run it from its own folder" } else { "an exclude rule leaves it out" };
            if storage.is_some() {
                return Err(PlanError::NotInCopy { main: program.main, why });
            }
            notes.push(format!("main file {} is not in the snapshot: {why}", program.main.display()));
        }
        let stream = |disabled: Option<bool>, stream| (!disabled.unwrap_or(false)).then_some(stream);
        let streams = [
            stream(config.disable_stdout_channel, LogStream::Stdout),
            stream(config.disable_stderr_channel, LogStream::Stderr),
        ];
        Ok(Plan {
            project: ProjectName::of(&config),
            name,
            streams: streams.into_iter().flatten().collect(),
            log_channels: config.log_channels.clone(),
            params: resolved.params,
            environment,
            program,
            folder,
            storage,
            tree,
            notes,
            config,
        })
    }

    /// What the server is asked to register, for a project that exists; the snapshot is added once it is there.
    pub fn create_job(&self, project: ProjectKey) -> CreateJob {
        CreateJob {
            uid: Some(neptune_client::new_job_uid()),
            project,
            name: self.name.clone(),
            description: self.config.description.clone().unwrap_or_default(),
            params: self.params.clone(),
            tags: self.config.tags.clone(),
            properties: self.config.properties.clone(),
            snapshot: None,
            command: self.program.command_line(),
            environment: self.environment.clone(),
            metric: self.config.metric.clone(),
            created_micros: None,
        }
    }
}

/// A folder as a walk of its parents meets it; one that is not there yet is met by nobody.
fn resolved_path(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.into())
}

/// The main file and the arguments that come with it: the command line's, else `executable`, else `command` (2.x).
fn main_and_arguments(main: Option<PathBuf>, config: &Config) -> (Option<PathBuf>, Vec<String>) {
    if let Some(main) = main.or_else(|| config.executable.clone()) {
        return (Some(main), Vec::new());
    }
    match config.command.split_first() {
        Some((main, arguments)) => (Some(main.into()), arguments.to_vec()),
        None => (None, Vec::new()),
    }
}

/// With `paths-to-copy` a snapshot is the main file and those paths; without, everything.
fn only(config: &Config, program: &Program) -> Vec<PathBuf> {
    match config.paths.is_empty() {
        true => Vec::new(),
        false => std::iter::once(program.main.clone()).chain(config.paths.iter().cloned()).collect(),
    }
}

/// A job without a name is called like its folder.
fn name_of(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "job".into(), |name| name.to_string_lossy().into_owned())
}
