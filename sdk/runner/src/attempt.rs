//! One try of a job on this machine, from the program's start to the last process's end.
//!
//! A single loop owns the process tree and hears of everything in one order: the program's end, a signal to the runner, a
//! wish of the server. That order decides: an end that came first is the true end, an abort that came first makes the
//! end `aborted` whatever status it has. Logs are relayed by threads of their own (`attempt/relay.rs`).

mod ending;
mod numbers;
mod relay;

use std::io;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use neptune_client::writer::{LogStream, NumericChannel, Writer, now};
use neptune_wire::channel::ChannelOrigin;
use neptune_wire::control::{Abort, GRACE_MILLIS, StopMode};
use neptune_wire::job::{Exit, ExitKind};
use neptune_wire::{ChannelName, Micros};
use nix::sys::signal::Signal;

use crate::config::LogChannel;
use crate::process::{Member, Meter, Pipes, ProcessTree, exit_kind};
use ending::Ending;
use relay::Relay;

/// How often the tree's use of the machine is measured.
pub const MEASURE_EVERY: Duration = Duration::from_secs(3);
/// The first measurement comes early, so that a short job has one.
const MEASURE_FIRST: Duration = Duration::from_secs(1);
/// Helpers of a program (a pool's resource tracker) end by themselves in this time after it.
const LEFTOVER_AFTER: Duration = Duration::from_millis(500);
/// Between looks at the program; one system call each.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pipes end with their last holder; one outside the tree is not waited for longer.
const PIPES_WITHIN: Duration = Duration::from_secs(2);

/// What is run, and what becomes channels.
#[derive(Debug)]
pub struct AttemptSettings {
    /// Program, arguments, folder, environment.
    pub command: Command,
    /// Streams that become log channels.
    pub streams: Vec<LogStream>,
    /// Numeric channels made of printed lines.
    pub log_channels: Vec<LogChannel>,
}

/// What an attempt hears while it runs.
#[derive(Debug)]
pub enum Heard {
    /// The runner itself was signalled: Ctrl-C, a closed terminal, SIGTERM.
    Signal(Signal),
    /// The server wants the tree ended.
    Stop(Abort),
    /// A newer attempt of the job exists.
    Superseded(String),
}

/// What an attempt tells while it runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// The program runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// The tree is being ended.
    Ending {
        /// By whom or why.
        reason: String,
        /// Until SIGKILL.
        grace: Duration,
    },
    /// The program ended and left processes running, which are being ended now.
    Leftovers {
        /// Their names and process ids.
        processes: Vec<String>,
    },
    /// Something else a person should know.
    Note(String),
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the server is told.
    pub exit: Exit,
    /// The status a shell would see: the program's, or 128 + signal.
    pub status: u8,
}

/// Runs a program to its end; no process of its tree is left afterwards.
pub fn run(
    settings: AttemptSettings,
    writer: &Writer,
    heard: &Receiver<Heard>,
    tell: &mut dyn FnMut(Told),
) -> Outcome {
    let mut command = settings.command;
    let started = Instant::now();
    let (tree, pipes) = match ProcessTree::start(&mut command) {
        Ok(started) => started,
        Err(error) => return not_started(&command, &error),
    };
    tell(Told::Running { pid: tree.pid() });
    let Pipes { stdout, stderr, .. } = pipes;
    let relay = |stream| {
        let wanted = settings.streams.contains(&stream);
        Relay::new(stream, wanted.then_some(writer), &settings.log_channels, started)
    };
    let relays = [
        relay(LogStream::Stdout).spawn(Box::new(stdout), writer),
        relay(LogStream::Stderr).spawn(Box::new(stderr), writer),
    ];
    let mut attempt = Attempt { tree, ending: None, ended: None, leftovers: None };
    let measure = Measure::open(writer, started);
    attempt.watch(measure, heard, tell);
    let outcome = attempt.outcome();
    if !relays.into_iter().all(|relay| relay.join_within(PIPES_WITHIN)) {
        tell(Told::Note(
            "a process outside the job's tree keeps its output open; what it prints is not recorded".into(),
        ));
    }
    outcome
}

fn not_started(command: &Command, error: &io::Error) -> Outcome {
    let program = command.get_program().to_string_lossy();
    let exit = Exit {
        how: ExitKind::NotStarted,
        ended_micros: now(),
        aborted: false,
        reason: Some(format!("{program} cannot be started: {error}")),
    };
    // What a shell answers for a command that is not there, and for one that is no program.
    let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Outcome { exit, status }
}

struct Attempt {
    tree: ProcessTree,
    ending: Option<Ending>,
    ended: Option<End>,
    /// What the program left running.
    leftovers: Option<Vec<String>>,
}

/// The program's own end.
struct End {
    status: ExitStatus,
    at: Instant,
    micros: Micros,
    /// The reason, when an abort came first; it is the runner's own, or the server's and known there.
    aborted: Option<Option<String>>,
}

impl Attempt {
    fn watch(&mut self, mut measure: Measure, heard: &Receiver<Heard>, tell: &mut dyn FnMut(Told)) {
        loop {
            self.look(tell);
            if self.is_over(tell) {
                return;
            }
            measure.take_if_due(&self.tree);
            match heard.recv_timeout(LOOK_EVERY) {
                Ok(event) => {
                    // An end that came before the wish is the true one.
                    self.look(tell);
                    self.hear(event, tell);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Notices the program's end and sends the signals that are due.
    fn look(&mut self, tell: &mut dyn FnMut(Told)) {
        if let (None, Some(status)) = (&self.ended, self.tree.ended()) {
            let aborted = self.ending.as_ref().map(|ending| ending.own_reason.clone());
            self.ended = Some(End { status, at: Instant::now(), micros: now(), aborted });
        }
        let due = self.ending.as_mut().and_then(|ending| ending.due(Instant::now()));
        match due {
            Some(Signal::SIGKILL) => {
                if let Err(alive) = self.tree.kill() {
                    let names = named(&alive).join(", ");
                    tell(Told::Note(format!("SIGKILL did not end {names}; the kernel holds them")));
                }
                self.ending.as_mut().expect("the signal came from it").killed = true;
            }
            Some(signal) => self.tree.signal(signal),
            None => {}
        }
    }

    /// Whether nothing is left; begins to end what a program left behind.
    fn is_over(&mut self, tell: &mut dyn FnMut(Told)) -> bool {
        let Some(end) = &self.ended else { return false };
        let members = self.tree.members();
        // What survives SIGKILL is beyond us; it was told.
        if members.is_empty() || self.ending.as_ref().is_some_and(|ending| ending.killed) {
            return true;
        }
        if self.ending.is_none() && end.at.elapsed() > LEFTOVER_AFTER {
            let processes = named(&members);
            tell(Told::Leftovers { processes: processes.clone() });
            self.leftovers = Some(processes);
            self.ending = Some(Ending::graceful(Signal::SIGTERM, Duration::from_millis(GRACE_MILLIS)));
        }
        false
    }

    fn hear(&mut self, event: Heard, tell: &mut dyn FnMut(Told)) {
        let (ending, reason) = match event {
            Heard::Signal(signal) => {
                let reason = match signal {
                    Signal::SIGINT => "Ctrl-C at the runner".to_string(),
                    Signal::SIGHUP => "the runner's terminal was closed".to_string(),
                    other => format!("{other} to the runner"),
                };
                let first = if signal == Signal::SIGINT { Signal::SIGINT } else { Signal::SIGTERM };
                // The second time is an order to stop waiting.
                let ending = match &self.ending {
                    Some(_) => Ending::kill(),
                    None => Ending::graceful(first, Duration::from_millis(GRACE_MILLIS)),
                };
                (ending.because(&reason), reason)
            }
            Heard::Stop(abort) => {
                let ending = match abort.mode {
                    StopMode::Graceful if self.ending.is_some() => return,
                    StopMode::Graceful => {
                        Ending::graceful(Signal::SIGTERM, Duration::from_millis(abort.grace_millis))
                    }
                    StopMode::Kill => Ending::kill(),
                };
                (ending, abort.reason)
            }
            Heard::Superseded(reason) => {
                (Ending::graceful(Signal::SIGTERM, Duration::from_millis(GRACE_MILLIS)), reason)
            }
        };
        // A wish that comes after the program's end hastens the end of what it left, and changes nothing else.
        if self.ended.is_none() {
            tell(Told::Ending { reason, grace: ending.grace() });
        }
        self.ending = Some(match self.ending.take() {
            Some(first) => ending.instead_of(first),
            None => ending,
        });
        self.look(tell);
    }

    fn outcome(mut self) -> Outcome {
        let end = self.ended.take().expect("an attempt is over only after its program's end was noticed");
        let how = exit_kind(end.status);
        let status = match how {
            ExitKind::Code { code } => code as u8,
            ExitKind::Signal { signal } => (128 + signal) as u8,
            ExitKind::NotStarted => 126,
        };
        let aborted = end.aborted.is_some();
        let left = self.leftovers.take();
        let left = left.map(|left| format!("ended processes it left running: {}", left.join(", ")));
        let reason = end.aborted.flatten().or(left);
        Outcome { exit: Exit { how, ended_micros: end.micros, aborted, reason }, status }
    }
}

fn named(members: &[Member]) -> Vec<String> {
    members.iter().map(|member| format!("{} ({})", member.name, member.pid)).collect()
}

/// CPU and memory of the tree as two system channels; x is seconds since the start.
struct Measure {
    meter: Meter,
    channels: Option<(NumericChannel, NumericChannel)>,
    started: Instant,
    next: Instant,
}

impl Measure {
    fn open(writer: &Writer, started: Instant) -> Self {
        let open = |name| {
            let name = ChannelName::new(name).ok()?;
            writer.open_numeric(&name, ChannelOrigin::System).ok()
        };
        let channels = open("sys/cpu_percent").zip(open("sys/memory_bytes"));
        Self { meter: Meter::default(), channels, started, next: started + MEASURE_FIRST }
    }

    fn take_if_due(&mut self, tree: &ProcessTree) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + MEASURE_EVERY;
        let usage = self.meter.look(&tree.members());
        if let Some((cpu, memory)) = &self.channels {
            let (x, time) = (self.started.elapsed().as_secs_f64(), now());
            cpu.send(x, usage.cpu_percent, time);
            memory.send(x, usage.memory_bytes as f64, time);
        }
    }
}
