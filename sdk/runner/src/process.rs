//! A program and every process it starts: begun together, measured together, ended together.
//!
//! The runner becomes a *subreaper*: a process whose parent dies becomes the runner's child, so everything the program ever
//! starts stays below the runner, whatever sessions and groups it moves to. Members are found by walking `/proc`
//! (`process/members.rs`, one read per process), signalled by process group first, because a group is signalled at one
//! instant and a process cannot outrun that by forking.
//!
//! One tree at a time per runner process: whatever is below the runner belongs to it, except what was there before, so a
//! runner starts nothing else while a program runs. A cgroup would also hold a process that is started for the tree by somebody else (a container
//! daemon, `systemd-run`); without one, such a process is not seen. Linux only.

mod members;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use neptune_wire::job::ExitKind;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpgrp, setsid};

use members::Bystanders;
pub use members::{Member, Meter, Usage};

/// Between looks at a tree that is being ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long SIGKILL may take; a process that survives it hangs in the kernel.
pub const KILL_WITHIN: Duration = Duration::from_secs(10);

static HELD: AtomicBool = AtomicBool::new(false);

/// A running program and all processes below it.
#[derive(Debug)]
pub struct ProcessTree {
    child: Child,
    ended: Option<ExitStatus>,
    /// A shell that became the runner (`exec neptune run … > >(tee log)`) leaves it its own children.
    bystanders: Bystanders,
    _hold: Hold,
}

/// The one tree of this process.
#[derive(Debug)]
struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        HELD.store(false, Ordering::Release);
    }
}

/// The program's ends of its pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Present when standard input was piped.
    pub stdin: Option<ChildStdin>,
    /// Standard output.
    pub stdout: ChildStdout,
    /// Standard error.
    pub stderr: ChildStderr,
}

impl ProcessTree {
    /// Starts a program in a session and process group of its own, its output piped.
    ///
    /// In the runner's session it would be a background group of the terminal, and whatever asks there for a password would
    /// stop for ever; in its own it has no terminal, and asking fails at once.
    ///
    /// # Errors
    ///
    /// What the operating system says of the program; `WouldBlock` while this process holds another tree.
    pub fn start(command: &mut Command) -> io::Result<(Self, Pipes)> {
        if HELD.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "one program at a time per runner process",
            ));
        }
        let hold = Hold;
        let bystanders = Bystanders::now();
        nix::sys::prctl::set_child_subreaper(true)?;
        // SAFETY: between fork and exec this makes one system call and touches no memory.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let piped = "standard output and error were piped a line above";
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().expect(piped),
            stderr: child.stderr.take().expect(piped),
        };
        Ok((Self { child, ended: None, bystanders, _hold: hold }, pipes))
    }

    /// Process id of the program itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the program itself ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // An error means that it was waited for elsewhere, which nothing here does.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// All living processes of the tree, the program among them. Reaps what was adopted and has died.
    pub fn members(&self) -> Vec<Member> {
        let members = members::below(Pid::this(), &self.bystanders);
        let (dead, living): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.is_dead());
        for member in dead {
            // The program itself is waited for by `ended`; the children of others by their parents.
            if member.parent == Pid::this() && member.pid.as_raw() as u32 != self.child.id() {
                let _ = waitpid(member.pid, Some(WaitPidFlag::WNOHANG));
            }
        }
        living
    }

    /// Signals every process of the tree; a stopped one is continued, so that it can obey.
    pub fn signal(&self, signal: Signal) {
        let members = self.members();
        send(&members, signal);
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCONT) {
            send(&members, Signal::SIGCONT);
        }
    }

    /// Kills until nothing is left.
    ///
    /// # Errors
    ///
    /// The processes that live on after [`KILL_WITHIN`].
    pub fn kill(&mut self) -> Result<(), Vec<Member>> {
        let deadline = Instant::now() + KILL_WITHIN;
        loop {
            let members = self.members();
            let _ = self.ended();
            if members.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(members);
            }
            send(&members, Signal::SIGKILL);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until no process of the tree is left; answers whether that came within `within`.
    pub fn wait_empty(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let _ = self.ended();
            if self.members().is_empty() {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for ProcessTree {
    /// Nothing of a tree outlives its runner, whatever went wrong before.
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.child.wait();
    }
}

/// What the wire says of an exit status.
pub fn exit_kind(status: ExitStatus) -> ExitKind {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitKind::Code { code },
        (None, Some(signal)) => ExitKind::Signal { signal },
        (None, None) => ExitKind::Code { code: 1 },
    }
}

/// Signals whole groups first, each at one instant, then every member by itself.
fn send(members: &[Member], signal: Signal) {
    let own = getpgrp();
    let mut groups: Vec<Pid> =
        members.iter().map(|member| member.group).filter(|group| *group != own).collect();
    groups.sort();
    groups.dedup();
    for group in groups {
        let _ = killpg(group, signal);
    }
    // A second SIGTERM would find a handler half-way; a second SIGKILL finds nothing.
    if signal == Signal::SIGKILL {
        for member in members {
            let _ = kill(member.pid, signal);
        }
    } else {
        for member in members.iter().filter(|member| member.group == own) {
            let _: Result<(), Errno> = kill(member.pid, signal);
        }
    }
}
