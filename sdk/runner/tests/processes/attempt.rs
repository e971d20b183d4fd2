//! Whole attempts of real programs; what they send goes into a real spool.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use neptune_client::writer::{LogStream, Writer, WriterSettings};
use neptune_client::{Notices, new_job_uid};
use neptune_runner::attempt::{AttemptSettings, Heard, Outcome, Told, run};
use neptune_runner::config::LogChannel;
use neptune_wire::control::{Abort, StopMode};
use neptune_wire::job::ExitKind;
use neptune_wire::{AttemptNumber, JobUid};
use nix::sys::signal::Signal;

use crate::alone::{alone, is_alone};

struct Ran {
    outcome: Outcome,
    told: Vec<Told>,
    took: Duration,
    sent_points: u64,
}

/// Runs a shell script; `act` is called once its line `ready` has come through.
fn run_script(script: &str, act: impl FnOnce(&Sender<Heard>)) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let settings = WriterSettings {
        notices: Notices::silent(),
        ..WriterSettings::new(new_job_uid().into(), AttemptNumber(1), None, folder.path().join("spool"))
    };
    let writer = Writer::open(settings);
    let flag = folder.path().join("ready");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).env("READY", &flag).stdin(Stdio::null());
    let settings = AttemptSettings {
        command,
        streams: vec![LogStream::Stdout, LogStream::Stderr],
        log_channels: vec![LogChannel::parse("loss:").unwrap()],
    };
    let (sender, heard) = mpsc::channel();
    let (mut told, began) = (Vec::new(), Instant::now());
    let outcome = thread::scope(|scope| {
        let (writer, told) = (&writer, &mut told);
        let running = scope.spawn(move || run(settings, writer, &heard, &mut |news| told.push(news)));
        crate::alone::wait_for("ready", || flag.exists() || running.is_finished());
        act(&sender);
        running.join().unwrap()
    });
    let took = began.elapsed();
    let sent_points = writer.stats().sent_points;
    Ran { outcome, told, took, sent_points }
}

fn abort(mode: StopMode, grace_millis: u64) -> Heard {
    let job = JobUid::from_bytes([0; 16]);
    Heard::Stop(Abort {
        job,
        attempt: AttemptNumber(1),
        mode,
        grace_millis,
        reason: "no longer needed".into(),
    })
}

fn nothing(_: &Sender<Heard>) {}

#[test]
fn a_status_is_passed_on() {
    alone("attempt::a_status_is_passed_on", || {
        for code in [0, 1, 7, 255] {
            let ran = run_script(&format!("exit {code}"), nothing);
            assert_eq!(ran.outcome.exit.how, ExitKind::Code { code });
            assert_eq!((ran.outcome.status, ran.outcome.exit.aborted), (code as u8, false));
            assert_eq!(ran.outcome.exit.reason, None);
        }
        let ran = run_script("kill -SEGV $$", nothing);
        assert_eq!((ran.outcome.exit.how, ran.outcome.status), (ExitKind::Signal { signal: 11 }, 139));
    });
}

#[test]
fn a_program_that_cannot_start_says_why() {
    alone("attempt::a_program_that_cannot_start_says_why", || {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(WriterSettings {
            notices: Notices::silent(),
            ..WriterSettings::new(new_job_uid().into(), AttemptNumber(1), None, folder.path().into())
        });
        let (_sender, heard) = mpsc::channel();
        let command = Command::new("/nowhere/program");
        let settings = AttemptSettings { command, streams: vec![], log_channels: vec![] };
        let outcome = run(settings, &writer, &heard, &mut |_| {});
        assert_eq!((outcome.exit.how, outcome.status), (ExitKind::NotStarted, 127));
        assert!(outcome.exit.reason.unwrap().contains("/nowhere/program"));
    });
}

#[test]
fn an_abort_ends_a_normal_program_within_two_seconds() {
    alone("attempt::an_abort_ends_a_normal_program_within_two_seconds", || {
        let ran = run_script("sleep 60 & touch $READY; wait", |heard| {
            heard.send(abort(StopMode::Graceful, 10_000)).unwrap();
        });
        assert!(ran.took < Duration::from_secs(2), "{:?}", ran.took);
        let exit = ran.outcome.exit;
        assert_eq!((exit.how, exit.aborted, exit.reason), (ExitKind::Signal { signal: 15 }, true, None));
        assert_eq!(ran.outcome.status, 143);
        assert!(
            ran.told
                .iter()
                .any(|told| matches!(told, Told::Ending { reason, .. } if reason == "no longer needed"))
        );
    });
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    alone("attempt::a_program_that_ignores_sigterm_is_killed_after_the_grace", || {
        let ran = run_script("trap '' TERM; touch $READY; while :; do sleep 0.1; done", |heard| {
            heard.send(abort(StopMode::Graceful, 500)).unwrap();
        });
        assert!(
            ran.took >= Duration::from_millis(500) && ran.took < Duration::from_secs(4),
            "{:?}",
            ran.took
        );
        assert_eq!(ran.outcome.exit.how, ExitKind::Signal { signal: 9 });
        assert!(ran.outcome.exit.aborted);
    });
}

#[test]
fn a_kill_does_not_wait() {
    alone("attempt::a_kill_does_not_wait", || {
        let ran = run_script("trap '' TERM; touch $READY; while :; do sleep 0.1; done", |heard| {
            heard.send(abort(StopMode::Graceful, 60_000)).unwrap();
            heard.send(abort(StopMode::Kill, 0)).unwrap();
        });
        assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
        assert!(ran.outcome.exit.aborted);
    });
}

#[test]
fn ctrl_c_lets_a_program_save_its_work() {
    alone("attempt::ctrl_c_lets_a_program_save_its_work", || {
        let script = "exec python3 -c '
import os, sys, time
try:
    open(os.environ[\"READY\"], \"w\").close()
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(5)
'";
        let ran = run_script(script, |heard| heard.send(Heard::Signal(Signal::SIGINT)).unwrap());
        let exit = ran.outcome.exit;
        assert_eq!((exit.how, exit.aborted), (ExitKind::Code { code: 5 }, true));
        assert_eq!(exit.reason.as_deref(), Some("Ctrl-C at the runner"));
    });
}

#[test]
fn a_second_ctrl_c_kills() {
    alone("attempt::a_second_ctrl_c_kills", || {
        let ran = run_script("trap '' INT TERM; touch $READY; while :; do sleep 0.1; done", |heard| {
            heard.send(Heard::Signal(Signal::SIGINT)).unwrap();
            heard.send(Heard::Signal(Signal::SIGINT)).unwrap();
        });
        assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
        assert_eq!(ran.outcome.exit.how, ExitKind::Signal { signal: 9 });
    });
}

#[test]
fn an_end_that_came_first_is_the_true_end() {
    alone("attempt::an_end_that_came_first_is_the_true_end", || {
        // The program is over; its daemon still is not. The abort then ends the daemon and changes no end.
        let ran = run_script("(trap '' TERM; touch $READY; exec sleep 60) & sleep 0.2; exit 0", |heard| {
            thread::sleep(Duration::from_millis(400));
            heard.send(abort(StopMode::Kill, 0)).unwrap();
        });
        assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
        assert_eq!((ran.outcome.exit.how, ran.outcome.exit.aborted), (ExitKind::Code { code: 0 }, false));
    });
}

#[test]
fn what_a_program_leaves_is_ended_and_named() {
    alone("attempt::what_a_program_leaves_is_ended_and_named", || {
        let ran = run_script("setsid sleep 60 & sleep 0.2; exit 0", nothing);
        assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
        assert!(!ran.outcome.exit.aborted);
        let reason = ran.outcome.exit.reason.unwrap();
        assert!(reason.contains("sleep ("), "{reason}");
        assert!(ran.told.iter().any(|told| matches!(told, Told::Leftovers { .. })), "{:?}", ran.told);
    });
}

#[test]
fn helpers_that_end_by_themselves_are_no_leftovers() {
    alone("attempt::helpers_that_end_by_themselves_are_no_leftovers", || {
        let ran = run_script("(sleep 0.2) & exit 3", nothing);
        assert_eq!((ran.outcome.exit.how, ran.outcome.exit.reason), (ExitKind::Code { code: 3 }, None));
    });
}

#[test]
fn output_numbers_and_measures_are_sent() {
    alone("attempt::output_numbers_and_measures_are_sent", || {
        let ran = run_script("for i in 1 2 3; do echo loss: $i; done; echo oops >&2; sleep 1.2", nothing);
        // Three numbers, at least one piece of each log, one look at CPU and memory.
        assert!(ran.sent_points >= 3 + 2 + 2, "{}", ran.sent_points);
    });
}

#[test]
fn a_flood_of_output_comes_through_whole() {
    alone("attempt::a_flood_of_output_comes_through_whole", || {
        let began = Instant::now();
        let ran = run_script("head -c 50000000 /dev/zero | tr '\\0' 'x'; echo; exit 4", nothing);
        assert_eq!(ran.outcome.status, 4);
        assert!(began.elapsed() < Duration::from_secs(60));
    });
}

#[test]
fn an_output_held_open_outside_the_tree_is_not_waited_for() {
    // A process that was there before, and is not below the runner, gets the pipe's end over a socket: as a container's
    // daemon would. It is a child of the outer process; the inner one finds its socket by that process's id.
    let socket = |outer: u32| std::env::temp_dir().join(format!("neptune-held-{outer}"));
    let holder = (!is_alone()).then(|| Holder::start(&socket(std::process::id())));
    alone("attempt::an_output_held_open_outside_the_tree_is_not_waited_for", || {
        let socket = socket(nix::unistd::getppid().as_raw() as u32);
        let give = format!(
            "echo before; exec python3 -c 'import socket
c = socket.socket(socket.AF_UNIX); c.connect(\"{}\"); socket.send_fds(c, [b\"x\"], [1]); c.recv(1)'",
            socket.display()
        );
        let ran = run_script(&give, nothing);
        assert_eq!(ran.outcome.exit.how, ExitKind::Code { code: 0 });
        assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
        let noted = |told: &Told| matches!(told, Told::Note(text) if text.contains("keeps its output open"));
        assert!(ran.told.iter().any(noted), "{:?}", ran.told);
    });
    drop(holder);
}

/// Takes one file descriptor over a socket and keeps it until it is dropped.
struct Holder {
    process: std::process::Child,
    socket: std::path::PathBuf,
}

impl Holder {
    fn start(socket: &std::path::Path) -> Self {
        let script = "import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); print('up', flush=True)
c, _ = s.accept(); held = socket.recv_fds(c, 1, 4); c.send(b'k'); sys.stdin.read()";
        let mut process = Command::new("python3")
            .args(["-c", script])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        process.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        Self { process, socket: socket.into() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
