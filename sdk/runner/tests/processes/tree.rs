//! Trees of real processes that do not want to end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use neptune_runner::process::{Meter, Pipes, ProcessTree, exit_kind};
use neptune_wire::job::ExitKind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::alone::{alone, wait_for};

fn start(script: &str) -> (ProcessTree, Pipes) {
    ProcessTree::start(Command::new("bash").args(["-c", script]).stdin(Stdio::null())).unwrap()
}

fn python(script: &str) -> (ProcessTree, Pipes) {
    ProcessTree::start(Command::new("python3").args(["-c", script]).stdin(Stdio::null())).unwrap()
}

/// Waits for a line that says the tree stands.
fn ready(pipes: &mut Pipes) {
    let mut line = String::new();
    BufReader::new(&mut pipes.stdout).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
}

#[test]
fn a_program_ends_with_its_status() {
    alone("tree::a_program_ends_with_its_status", || {
        let (mut tree, _pipes) = start("exit 7");
        wait_for("end", || tree.ended().is_some());
        assert_eq!(exit_kind(tree.ended().unwrap()), ExitKind::Code { code: 7 });
        drop(tree);
        let (mut tree, _pipes) = start("kill -9 $$");
        wait_for("end", || tree.ended().is_some());
        assert_eq!(exit_kind(tree.ended().unwrap()), ExitKind::Signal { signal: 9 });
    });
}

#[test]
fn one_tree_at_a_time() {
    alone("tree::one_tree_at_a_time", || {
        let (tree, _pipes) = start("sleep 60");
        let again = ProcessTree::start(&mut Command::new("true"));
        assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(tree);
        ProcessTree::start(&mut Command::new("true")).unwrap();
        assert!(ProcessTree::start(&mut Command::new("/nowhere/program")).is_err());
        ProcessTree::start(&mut Command::new("true")).unwrap();
    });
}

#[test]
fn a_signal_reaches_the_whole_tree() {
    alone("tree::a_signal_reaches_the_whole_tree", || {
        let (mut tree, mut pipes) =
            start("sleep 60 & setsid sleep 60 & (sleep 60 & sleep 60 & wait) & sleep 0.2; echo ready; wait");
        ready(&mut pipes);
        assert!(tree.members().len() >= 6, "{:?}", tree.members());
        let began = Instant::now();
        tree.signal(Signal::SIGTERM);
        assert!(tree.wait_empty(Duration::from_secs(2)), "{:?}", tree.members());
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(exit_kind(tree.ended().unwrap()), ExitKind::Signal { signal: 15 });
    });
}

#[test]
fn a_daemon_that_left_its_session_and_parent_is_still_found() {
    alone("tree::a_daemon_that_left_its_session_and_parent_is_still_found", || {
        let daemon = "
import os, signal, sys, time
def daemon():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.environ.clear(); os.chdir('/')
    for fd in range(3): os.close(fd)
    time.sleep(60)
    os._exit(0)
for _ in range(3): daemon()
time.sleep(0.3)
print('ready', flush=True)
";
        let (mut tree, mut pipes) = python(daemon);
        ready(&mut pipes);
        wait_for("end of the program itself", || tree.ended().is_some());
        wait_for("three daemons", || tree.members().len() == 3);
        tree.signal(Signal::SIGTERM);
        assert!(!tree.wait_empty(Duration::from_millis(200)), "they ignore SIGTERM");
        tree.kill().unwrap();
        assert_eq!(tree.members(), []);
        let mut rest = String::new();
        pipes.stdout.read_to_string(&mut rest).unwrap();
    });
}

#[test]
fn a_chain_that_forks_and_exits_cannot_outrun_the_kill() {
    alone("tree::a_chain_that_forks_and_exits_cannot_outrun_the_kill", || {
        // Two runners of a relay: each generation lives for a moment. Bounded in length and time.
        let chain = "
import os, sys, time
end = time.monotonic() + 20
print('ready', flush=True)
for _ in range(2):
    if os.fork() == 0:
        for _ in range(200000):
            if time.monotonic() > end: os._exit(0)
            if os.fork(): os._exit(0)
        os._exit(0)
time.sleep(20)
";
        let (mut tree, mut pipes) = python(chain);
        ready(&mut pipes);
        std::thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        tree.kill().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(tree.members(), []);
    });
}

#[test]
fn three_hundred_processes_end_at_once() {
    alone("tree::three_hundred_processes_end_at_once", || {
        let (mut tree, mut pipes) =
            start("trap '' TERM; for i in $(seq 300); do sleep 60 & done; echo ready; wait");
        ready(&mut pipes);
        assert!(tree.members().len() >= 300);
        let began = Instant::now();
        tree.kill().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn a_stopped_process_is_continued_to_obey() {
    alone("tree::a_stopped_process_is_continued_to_obey", || {
        let (mut tree, mut pipes) = start("sleep 60 & echo ready; kill -STOP $!; kill -STOP $$");
        ready(&mut pipes);
        wait_for("stop", || tree.members().iter().any(|member| member.state == 'T'));
        tree.signal(Signal::SIGTERM);
        assert!(tree.wait_empty(Duration::from_secs(2)), "{:?}", tree.members());
    });
}

#[test]
fn what_was_there_before_is_left_alone() {
    alone("tree::what_was_there_before_is_left_alone", || {
        // As `exec neptune run … > >(tee log)` leaves `tee` below the runner, with a child of its own.
        let script = ["-c", "sleep 60 & echo $!; wait"];
        let mut before = Command::new("bash").args(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(before.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let child = Pid::from_raw(line.trim().parse().unwrap());
        let (mut tree, mut pipes) = start("echo ready; sleep 60; true");
        ready(&mut pipes);
        assert!(tree.members().iter().all(|member| member.pid.as_raw() != before.id() as i32));
        tree.kill().unwrap();
        assert!(before.try_wait().unwrap().is_none(), "it lives on");
        kill(child, Signal::SIGKILL).expect("and so does its child");
        before.wait().unwrap();
    });
}

#[test]
fn dropping_a_tree_ends_it() {
    alone("tree::dropping_a_tree_ends_it", || {
        let (tree, mut pipes) = start("trap '' TERM INT; setsid sleep 60 & echo ready; sleep 60");
        ready(&mut pipes);
        drop(tree);
        let mut rest = String::new();
        // The pipe ends only when its last holder is gone.
        pipes.stdout.read_to_string(&mut rest).unwrap();
    });
}

#[test]
fn adopted_orphans_leave_no_zombies() {
    alone("tree::adopted_orphans_leave_no_zombies", || {
        let (mut tree, mut pipes) =
            start("for i in $(seq 20); do (true & ) ; done; sleep 0.3; echo ready; sleep 60; true");
        ready(&mut pipes);
        wait_for("two members", || tree.members().len() == 2);
        // Each thread has its own children.
        let children = || {
            let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
            let read = |thread: std::path::PathBuf| std::fs::read_to_string(thread.join("children")).unwrap();
            threads.map(|thread| read(thread).split_whitespace().count()).sum::<usize>()
        };
        wait_for("one child", || {
            tree.members();
            children() == 1
        });
        tree.kill().unwrap();
    });
}

#[test]
fn the_meter_sees_work_and_memory() {
    alone("tree::the_meter_sees_work_and_memory", || {
        let (mut tree, mut pipes) = python(
            "
import os, time
held = bytearray(os.urandom(1)) * (64 << 20)
print('ready', flush=True)
end = time.monotonic() + 30
while time.monotonic() < end: pass
",
        );
        ready(&mut pipes);
        let mut meter = Meter::default();
        meter.look(&tree.members());
        // A busy machine may give the program little; it cannot give it nothing for ever.
        wait_for("CPU use", || {
            std::thread::sleep(Duration::from_millis(200));
            let usage = meter.look(&tree.members());
            assert!(usage.memory_bytes >= 64 << 20, "{usage:?}");
            assert!(usage.cpu_percent < 150.0, "one thread uses one core at most: {usage:?}");
            usage.cpu_percent > 10.0
        });
        tree.kill().unwrap();
    });
}
