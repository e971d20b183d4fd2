//! How a process comes to its job: by what a runner put into the environment, or, offline, by a job folder of its own.
//!
//! Offline the process plays the runner's part in that folder: `job.json` at the start, the exit at the end, and
//! `neptune sync` does the rest. Its child processes find the folder through [`OFFLINE_JOB`] and write into the same job.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neptune_client::environment::{self, Environment};
use neptune_client::folder::{JobFile, JobFolder};
use neptune_client::writer::{self, Writer, WriterSettings};
use neptune_client::{new_claim_id, new_job_uid};
use neptune_wire::job::{Exit, ExitKind};
use neptune_wire::name::NAME_BYTES;
use neptune_wire::{AttemptNumber, CreateJob, JobRef, Number, Param, ParamName, ParamValue, ProjectKey};
use nix::unistd::geteuid;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::exit_status;
use crate::offline_log::{self, OfflineLog};

/// Folder of the job that works offline, for child processes of the one that began it; set by Python, whose
/// `os.environ` they inherit.
const OFFLINE_JOB: &str = "NEPTUNE_OFFLINE_JOB";
/// Project of a job that works offline, by its key.
const PROJECT: &str = "NEPTUNE_PROJECT";
/// Key and name of the project of a job that nobody gave one; `neptune run` has the same.
const DEFAULT_PROJECT: (&str, &str) = ("SANDBOX", "Sandbox");
/// Server of a job that works offline, unless the environment says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8420";

/// Params, command and environment of a job that a server takes; without what the metric and the snapshot may take.
const SPEC_BYTES: usize = (512 << 10) - 1024;
/// The command line is for people; its start tells them what ran.
const COMMAND_BYTES: usize = 64 << 10;
/// What a text or a number and its surroundings take at most on the server's disk, beside a text's own bytes.
const ITEM_BYTES: usize = 16;

/// The signal of Ctrl-C, by which Python ends itself after it.
const SIGINT: i32 = 2;

/// What Python knows of the program, for a job that works offline.
pub(crate) struct OfflineStart {
    /// The job's name.
    pub(crate) name: String,
    /// The command line, program first.
    pub(crate) command: Vec<String>,
    /// Facts about where it was started.
    pub(crate) environment: BTreeMap<String, String>,
}

/// A process's place in its job.
pub(crate) struct Membership {
    pub(crate) writer: Writer,
    /// The registered job's id.
    pub(crate) id: Option<String>,
    pub(crate) file: Option<JobFile>,
    pub(crate) offline: Option<Offline>,
    pub(crate) log: Option<OfflineLog>,
}

/// A job that works offline.
pub(crate) struct Offline {
    /// The process that began it; a child shares the folder and ends nothing.
    owner: Option<Arc<Owner>>,
}

struct Owner {
    process: u32,
    folder: Mutex<JobFolder>,
}

impl Owner {
    /// Whether this process is it, and not a forked child.
    fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    fn folder(&self) -> MutexGuard<'_, JobFolder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how the program ended.
    fn end(&self, how: ExitKind, reason: Option<String>) {
        if !self.is_here() {
            return;
        }
        let exit = Exit { how, ended_micros: writer::now(), aborted: reason.is_some(), reason };
        if let Err(error) = self.folder().record_exit(&exit) {
            say(format_args!("how the program ended is not kept: {error}"));
        }
    }
}

impl Membership {
    /// Joins the job of the environment, or begins one offline; says once what a person should know. No trouble with
    /// network or disk is an error: a program that cannot keep anything still runs.
    ///
    /// # Errors
    ///
    /// Those of `start`, which is asked only when the job begins here.
    pub(crate) fn find(start: impl FnOnce() -> PyResult<OfflineStart>) -> PyResult<Self> {
        let why = match Environment::read() {
            Ok(Some(environment)) => return Ok(Self::join(environment)),
            Ok(None) => "not started by `neptune run`".to_owned(),
            Err(error) => error.to_string(),
        };
        match std::env::var_os(OFFLINE_JOB).and_then(join_offline) {
            Some(joined) => Ok(joined),
            None => Ok(Self::offline(start()?, &why)),
        }
    }

    fn join(environment: Environment) -> Self {
        let file = environment.job_file.as_deref().and_then(|path| {
            let read = read_job_file(path);
            read.inspect_err(|error| say(format_args!("{}: {error}; the job has no params", path.display())))
                .ok()
        });
        let registered = file.as_ref().and_then(|file| file.registered.as_ref());
        let id = match (registered, &environment.job) {
            (Some(registered), _) => Some(registered.id.to_string()),
            (None, JobRef::Id(id)) => Some(id.to_string()),
            (None, JobRef::Uid(_)) => None,
        };
        Self { writer: Writer::open(environment.into()), id, file, offline: None, log: None }
    }

    fn offline(start: OfflineStart, why: &str) -> Self {
        let file = new_job_file(start);
        let uid = file.create.uid.expect("new_job_file makes one");
        let (folder, path) = make_folder(&file);
        let (folder, upload) = folder.unzip();
        match upload {
            Some(upload) => {
                say(format_args!("offline: {why}; data waits in {}, `{upload}` uploads it", path.display()));
            }
            None => say(format_args!("offline: {why}; no folder can be written, what is sent is lost")),
        }
        let log = OfflineLog::create(Path::new("."));
        let log =
            log.inspect_err(|error| say(format_args!("{} is not written: {error}", offline_log::FILE_NAME)));
        let owner = folder.map(|folder| {
            let owner = Arc::new(Owner { process: std::process::id(), folder: Mutex::new(folder) });
            let ending = Arc::clone(&owner);
            exit_status::watch(move |code| ending.end(ExitKind::Code { code }, None));
            owner
        });
        let settings = WriterSettings::new(uid.into(), AttemptNumber(1), None, path);
        Self {
            writer: Writer::open(settings),
            id: None,
            file: Some(file),
            offline: Some(Offline { owner }),
            log: log.ok(),
        }
    }
}

/// Joins the offline job of a parent process, if its folder is one.
fn join_offline(path: OsString) -> Option<Membership> {
    let path = PathBuf::from(path);
    let file = read_job_file(&path.join("job.json")).ok()?;
    let settings = WriterSettings::new(file.create.uid?.into(), AttemptNumber(1), None, path);
    let offline = Some(Offline { owner: None });
    Some(Membership { writer: Writer::open(settings), id: None, file: Some(file), offline, log: None })
}

impl Offline {
    /// Adds to the params in `job.json`; those of a name that is there already are replaced.
    pub(crate) fn add_params(&self, params: &[(String, Bound<'_, PyAny>)]) {
        let Some(owner) = self.owner() else { return };
        let mut folder = owner.folder();
        let mut all = folder.file().create.params.clone();
        for (name, value) in params {
            let name = match ParamName::new(name) {
                Ok(name) => name,
                Err(error) => {
                    say(format_args!("{error}; it is not kept"));
                    continue;
                }
            };
            all.retain(|param| param.name != name);
            let value = param_from_object(value);
            all.push(Param { name, value, description: String::new(), required: false, default: None });
            // What the server refuses would keep the whole job here for ever.
            if spec_bytes(&folder.file().create, &all) > SPEC_BYTES
                && let Some(param) = all.pop()
            {
                let why = "the parameters of a job take 512 KiB together at most";
                say(format_args!("parameter {:?} is too long and not kept: {why}", param.name.as_str()));
            }
        }
        if let Err(error) = folder.record_params(all) {
            say(format_args!("the params are not kept: {error}"));
        }
    }

    /// Records that the program ends because a person interrupted it. Other ends are recorded as they happen.
    pub(crate) fn end_interrupted(&self) {
        if let Some(owner) = &self.owner {
            owner.end(ExitKind::Signal { signal: SIGINT }, Some("interrupted (Ctrl-C)".into()));
        }
    }

    /// The folder, for the process that began it.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        Some(self.owner()?.folder().path().to_owned())
    }

    fn owner(&self) -> Option<&Owner> {
        self.owner.as_deref().filter(|owner| owner.is_here())
    }
}

/// Says one line to the person at the program's standard error.
pub(crate) fn say(what: impl Display) {
    // Standard error may be closed; there is nobody left to tell then.
    let _ = writeln!(io::stderr(), "neptune: {what}");
}

fn read_job_file(path: &Path) -> io::Result<JobFile> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// The start of a text, whole characters of it.
fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// How much of a job never changes, in bytes as the server counts them, or a few more.
fn spec_bytes(create: &CreateJob, params: &[Param]) -> usize {
    let text = |text: &str| text.len() + ITEM_BYTES;
    let value = |param: &Param| match &param.value {
        ParamValue::String(value) => text(value),
        _ => ITEM_BYTES,
    };
    let params = params.iter().map(|param| text(param.name.as_str()) + value(param));
    let command = create.command.iter().map(|argument| text(argument));
    let environment = create.environment.iter().map(|(key, fact)| text(key) + text(fact));
    params.chain(command).chain(environment).sum()
}

/// As much of a command line as is kept.
fn cut_command(command: Vec<String>) -> Vec<String> {
    let (mut bytes, all) = (0, command.len());
    let fits = |argument: &String| {
        bytes += argument.len() + ITEM_BYTES;
        bytes <= COMMAND_BYTES
    };
    let kept: Vec<String> = command.into_iter().take_while(fits).collect();
    if kept.len() < all {
        say(format_args!("of the command line {} of {all} arguments are kept: it is too long", kept.len()));
    }
    kept
}

fn new_job_file(start: OfflineStart) -> JobFile {
    let (project, project_name) = project();
    JobFile {
        url: std::env::var(environment::URL).unwrap_or_else(|_| DEFAULT_URL.into()),
        create: CreateJob {
            uid: Some(new_job_uid()),
            project,
            name: cut(start.name, NAME_BYTES),
            description: String::new(),
            params: vec![],
            tags: vec![],
            properties: BTreeMap::new(),
            snapshot: None,
            command: cut_command(start.command),
            environment: start.environment,
            metric: None,
            created_micros: Some(writer::now()),
        },
        project_name: Some(project_name),
        project_by_name: false,
        claim: new_claim_id(),
        host: std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned()),
        started_micros: Some(writer::now()),
        registered: None,
    }
}

/// The project that the environment names by its key, else the default one; with the name it gets if it is new.
fn project() -> (ProjectKey, String) {
    let (key, name) = DEFAULT_PROJECT;
    let default = || (ProjectKey::new(key).expect("it is a project key"), name.to_owned());
    let Ok(named) = std::env::var(PROJECT) else { return default() };
    match ProjectKey::new(&named) {
        Ok(key) => (key, named),
        Err(error) => {
            say(format_args!("{PROJECT}: {error}; using {key}"));
            default()
        }
    }
}

/// The job's folder under the spool root, or, where that cannot be written, under the folder for temporary files; with the
/// command that uploads it.
fn make_folder(file: &JobFile) -> (Option<(JobFolder, String)>, PathBuf) {
    let root = environment::spool_root();
    let first = match JobFolder::create(&root, file.clone()) {
        Ok(folder) => return with_path(folder, "neptune sync".into()),
        Err(error) => error,
    };
    say(format_args!("{} cannot be written: {first}", root.display()));
    let last = environment::last_spool_root();
    match own_folder(&last).and_then(|()| JobFolder::create(&last, file.clone())) {
        // Found without `--spool` as well, but not where TMPDIR is another.
        Ok(folder) => return with_path(folder, format!("neptune sync --spool {}", last.display())),
        Err(error) => say(format_args!("{} cannot be written: {error}", last.display())),
    }
    let uid = file.create.uid.map(|uid| uid.to_string()).unwrap_or_default();
    (None, root.join(uid))
}

fn with_path(folder: JobFolder, upload: String) -> (Option<(JobFolder, String)>, PathBuf) {
    let path = folder.path().to_owned();
    (Some((folder, upload)), path)
}

/// Makes a folder in a place where others may write, or takes the one that is there if nobody else can have made it.
fn own_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        let text = "it is there, and not this user's alone";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// A value of any type as a param: the four types as they are, everything else as its text.
fn param_from_object(value: &Bound<'_, PyAny>) -> ParamValue {
    let plain = if value.is_instance_of::<PyBool>() {
        value.extract().map(ParamValue::Boolean)
    } else if value.is_instance_of::<PyInt>() {
        value.extract().map(ParamValue::Integer)
    } else if value.is_instance_of::<PyFloat>() {
        value.extract().map(|value| ParamValue::Double(Number(value)))
    } else {
        value
            .cast::<PyString>()
            .map(|text| ParamValue::String(text.to_string_lossy().into_owned()))
            .map_err(Into::into)
    };
    plain.unwrap_or_else(|_| {
        let text = value.str().map(|text| text.to_string_lossy().into_owned());
        ParamValue::String(text.unwrap_or_default())
    })
}
