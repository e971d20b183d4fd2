//! A planned job's way: registered or put aside for later, run, its end reported, what is left uploaded.
//!
//! The server is asked for a few seconds at the start. When it is away the program runs all the same, and everything of
//! the job waits in its folder ([`JobFolder`]) for `neptune sync`. Once the program runs, the network can no longer
//! change anything for it.

mod finish;
mod register;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use neptune_client::control::{Control, ControlEvent, ControlSettings};
use neptune_client::folder::JobFolder;
use neptune_client::rest::{Access, RestError};
use neptune_client::writer::{Writer, WriterSettings, now};
use neptune_client::{Environment, Notices, environment};
use neptune_wire::control::{Holding, Phase};
use neptune_wire::job::Exit;
use neptune_wire::{AttemptNumber, JobId, JobUid};
use nix::sys::signal::Signal;
use tokio::sync::mpsc as async_mpsc;

use crate::attempt::{self, AttemptSettings, Heard, Outcome, Told};
use crate::plan::Plan;
use crate::snapshot::{SnapshotError, UploadError, UploadProgress};
use finish::Patience;
use register::Registration;

/// Directory of the copy that a job runs in; the program reads it as `ctx.storage_url`.
pub const STORAGE_URL: &str = "NEPTUNE_STORAGE_URL";

/// Variables that mean one thing to a runner and another to a program.
const OF_THE_RUNNER: [&str; 5] =
    [environment::URL, environment::TOKEN, environment::ATTEMPT, environment::JOB_FILE, STORAGE_URL];

/// Where a job is registered, and how.
#[derive(Debug, Clone)]
pub struct LaunchSettings {
    /// The server.
    pub access: Access,
    /// Whether the server is not even asked.
    pub offline: bool,
    /// Where job folders wait.
    pub spool_root: PathBuf,
    /// Who hears of trouble with the network.
    pub notices: Notices,
}

/// What a launch tells, in the order of its way.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// Sources are on their way to the server.
    Uploading(UploadProgress),
    /// The job exists.
    Registered {
        /// Its id.
        id: JobId,
        /// Its page.
        page: String,
    },
    /// The job runs without a server.
    Offline {
        /// Why.
        why: String,
        /// Where its data waits; absent when no disk takes it.
        folder: Option<PathBuf>,
    },
    /// The program.
    Attempt(Told),
    /// The program has ended, and so much of its data is still on the way; told once a second.
    Sending {
        /// Points, lines and images.
        points: u64,
    },
    /// Data is left on this machine.
    Waiting {
        /// Where.
        folder: PathBuf,
        /// Points, lines and images, when they were counted.
        points: Option<u64>,
    },
    /// Something else a person should know.
    Note(String),
}

/// A job that has run.
#[derive(Debug)]
pub struct Launched {
    /// Its id, when it is registered.
    pub id: Option<JobId>,
    /// How it ended.
    pub exit: Exit,
    /// The status a shell would see.
    pub status: u8,
}

/// Why a job was not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The server said no, or is none.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The snapshot changes too fast to be sent.
    #[error("{0}")]
    Upload(UploadError),
    /// The copy cannot be made.
    #[error(transparent)]
    Copy(#[from] SnapshotError),
    /// A signal came before the program was started.
    #[error("interrupted before the program was started")]
    Interrupted(Signal),
    /// The operating system has no thread or file descriptor left.
    #[error("the runner cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Registers and runs a planned job; answers after the last of its processes ended.
///
/// # Errors
///
/// [`LaunchError`]; then the program was not started.
pub fn launch(
    mut plan: Plan,
    settings: &LaunchSettings,
    mut signals: async_mpsc::Receiver<Signal>,
    tell: &mut dyn FnMut(News),
) -> Result<Launched, LaunchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let registration = runtime.block_on(register::register(&mut plan, settings, &mut signals, tell))?;
    drop(runtime);
    let mut job = Job::open(registration, settings, tell);
    let (outcome, heard) = job.run(plan, signals, tell);
    let status = outcome.status;
    let (id, exit) = finish::finish(job, outcome, Patience::new(heard), settings, tell);
    Ok(Launched { id, exit, status })
}

/// A job about to run, and its lines to the server.
struct Job {
    uid: JobUid,
    /// Id and page of a registered one.
    id: Option<JobId>,
    folder: Option<JobFolder>,
    environment: Environment,
    /// Where the program runs.
    place: PathBuf,
    in_copy: bool,
    writer: Writer,
    control: Option<Control>,
    wishes: Option<async_mpsc::Receiver<ControlEvent>>,
    holding: Holding,
}

impl Job {
    fn open(registration: Registration, settings: &LaunchSettings, tell: &mut dyn FnMut(News)) -> Self {
        let Registration { uid, registered, folder, place, in_copy } = registration;
        let attempt = registered.as_ref().map_or(AttemptNumber(1), |registered| registered.attempt);
        let token = registered.as_ref().map(|registered| registered.token.clone());
        let access = token.map(|token| Access { url: settings.access.url.clone(), token: Some(token) });
        let environment = Environment {
            access: access.clone(),
            job: uid.into(),
            attempt,
            spool_dir: settings.spool_root.join(uid.to_string()),
            job_file: folder.as_ref().map(JobFolder::job_file),
        };
        if folder.is_none() {
            tell(News::Note(
                "the program cannot read its params: the job's folder could not be written".into(),
            ));
        }
        let writer_settings =
            WriterSettings { notices: settings.notices.clone(), ..WriterSettings::from(environment.clone()) };
        let holding = Holding {
            job: uid,
            attempt,
            phase: Phase::Preparing,
            since_micros: now(),
            pid: None,
            exit: None,
        };
        let control = access.map(|access| {
            let notices = settings.notices.clone();
            Control::open(ControlSettings { access, job: uid.into(), attempt, notices }, holding.clone())
        });
        let (control, wishes) = control.unzip();
        let id = registered.map(|registered| registered.id);
        let writer = Writer::open(writer_settings);
        Self { uid, id, folder, environment, place, in_copy, writer, control, wishes, holding }
    }

    fn run(
        &mut self,
        plan: Plan,
        signals: async_mpsc::Receiver<Signal>,
        tell: &mut dyn FnMut(News),
    ) -> (Outcome, Receiver<Heard>) {
        let mut command = plan.program.command(&self.place);
        // What the runner itself was told is not the program's: above all not its user's token.
        for name in OF_THE_RUNNER {
            command.env_remove(name);
        }
        command.envs(self.environment.variables());
        if self.in_copy {
            command.env(STORAGE_URL, &self.place);
        }
        if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            // The terminal is the runner's: the program would take from the shell what is typed for it.
            command.stdin(std::process::Stdio::null());
        }
        if let Some(folder) = &mut self.folder
            && let Err(error) = folder.record_started(now())
        {
            tell(News::Note(format!("{}: {error}", folder.path().display())));
        }
        let (sender, heard) = mpsc::channel();
        forward(signals, sender.clone(), |signal| Some(Heard::Signal(signal)));
        if let Some(wishes) = self.wishes.take() {
            forward(wishes, sender, |event| match event {
                ControlEvent::Stop(abort) => Some(Heard::Stop(abort)),
                ControlEvent::Superseded(problem) => Some(Heard::Superseded(problem.to_string())),
                ControlEvent::Forget => None,
            });
        }
        let settings = AttemptSettings { command, streams: plan.streams, log_channels: plan.log_channels };
        let (control, holding) = (&self.control, &mut self.holding);
        let outcome = attempt::run(settings, &self.writer, &heard, &mut |told| {
            match &told {
                Told::Running { pid } => {
                    holding.pid = Some(*pid);
                    beat(control, holding, Phase::Running);
                }
                Told::Ending { .. } => beat(control, holding, Phase::Ending),
                _ => {}
            }
            tell(News::Attempt(told));
        });
        (outcome, heard)
    }
}

fn beat(control: &Option<Control>, holding: &mut Holding, phase: Phase) {
    (holding.phase, holding.since_micros) = (phase, now());
    if let Some(control) = control {
        control.update(holding.clone());
    }
}

/// Passes events on until their source closes or nobody listens.
fn forward<T: Send + 'static>(
    mut from: async_mpsc::Receiver<T>,
    to: Sender<Heard>,
    heard: impl Fn(T) -> Option<Heard> + Send + 'static,
) {
    let pass = move || {
        while let Some(event) = from.blocking_recv() {
            if heard(event).is_some_and(|heard| to.send(heard).is_err()) {
                return;
            }
        }
    };
    let name = "neptune-events".to_string();
    thread::Builder::new()
        .name(name)
        .spawn(pass)
        .expect("a runner that has just opened a writer can start a thread");
}

/// How long the server may take for its first answer.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
