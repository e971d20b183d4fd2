//! Programs that are killed and programs that fork.
//!
//! The programs are this test binary again, with a role in its environment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use neptune_client::{JobFolder, Notices, Writer};
use neptune_wire::Micros;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::peer::Peer;
use super::support::{LONG, files, job_file, name, numeric, settings, upload, wait_until};

const ROLE: &str = "NEPTUNE_TEST_ROLE";
const URL: &str = "NEPTUNE_TEST_URL";
const SPOOL: &str = "NEPTUNE_TEST_SPOOL";

fn start(role: &str, url: &str, spool: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "it::processes::program", "--nocapture", "--test-threads=1"])
        .envs([(ROLE, role), (URL, url)])
        .env(SPOOL, spool)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the programs do; without a role there is nothing to do.
#[test]
fn program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (url, spool) = (std::env::var(URL).unwrap(), std::env::var(SPOOL).unwrap());
    let (mut settings, _) = settings(&url, Path::new(&spool));
    settings.notices = Notices::silent();
    let writer = Writer::open(settings);
    match role.as_str() {
        "writes until killed" => write_until_killed(&writer),
        "forks" => fork_and_write(writer),
        "leaves a child behind" => leave_a_child_behind(&writer),
        other => panic!("no role {other:?}"),
    }
}

/// Sends 100 points every millisecond and says how many were sent, a second and a half after it sent them.
fn write_until_killed(writer: &Writer) {
    let (channel, text) = (numeric(writer, "loss"), writer.open_text(&name("notes")).unwrap());
    let mut sent = 0_u32;
    let mut said = std::collections::VecDeque::new();
    loop {
        for _ in 0..100 {
            channel.send(f64::from(sent), 0.25, Micros(0));
            sent += 1;
        }
        text.send(None, "a line", Micros(0));
        said.push_back((Instant::now(), sent));
        while let Some((when, count)) = said.front()
            && when.elapsed() > Duration::from_millis(1500)
        {
            writeln!(std::io::stdout(), "\nsafe {count} acked {}", channel.acked_points()).unwrap();
            said.pop_front();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn fork_and_write(writer: Writer) {
    let channel = numeric(&writer, "loss");
    for x in 0..1000 {
        channel.send(f64::from(x), 1.0, Micros(0));
    }
    // Some of these points are in buffers, some in frames, and the background thread holds who knows what.
    // SAFETY: the child uses what a forked child of a program with threads uses in Python: allocation, threads, sockets.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            for x in 0..500 {
                channel.send(f64::from(10_000 + x), 2.0, Micros(0));
            }
            numeric(&writer, "of the child").send(1.0, 1.0, Micros(0));
            wait_until("all of the child's is there", || writer.flush(LONG).all_acked);
            let flushed = writer.close(LONG);
            // Ends like a Python worker: nothing more runs.
            std::process::exit(if flushed.all_acked { 7 } else { 8 });
        }
        ForkResult::Parent { child } => {
            for x in 1000..2000 {
                channel.send(f64::from(x), 1.0, Micros(0));
            }
            wait_until("all of the parent's is there", || writer.flush(LONG).all_acked);
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            // A child that never used the writer may drop it without a wait and without a trace.
            // SAFETY: as above.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let begun = Instant::now();
                    drop((writer, channel));
                    std::process::exit(if begun.elapsed() < Duration::from_secs(1) { 9 } else { 8 });
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 9));
                }
            }
            assert!(writer.close(LONG).all_acked);
        }
    }
}

/// Forks a child that never uses the writer and outlives its parent, once there is a spool.
fn leave_a_child_behind(writer: &Writer) {
    let channel = numeric(writer, "loss");
    channel.send(0.0, 1.0, Micros(0));
    wait_until("there is a spool", || writer.stats().spool_bytes > 0);
    // SAFETY: the child does nothing but sleep.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            std::thread::sleep(LONG);
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            writeln!(std::io::stdout(), "\nchild {child}").unwrap();
            std::thread::sleep(LONG);
        }
    }
}

#[test]
fn a_child_that_is_left_behind_holds_nothing() {
    let (mut peer, root) = (Peer::absent(), tempfile::tempdir().unwrap());
    let folder = JobFolder::create(root.path(), job_file(&peer.url(), true)).unwrap();
    let mut program = start("leaves a child behind", &peer.url(), folder.path());
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let child = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("child ")?.parse().ok()).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    drop(folder);
    peer.restart();
    // The child may have to run once before it has closed its copies.
    wait_until("the folder is done", || upload(&peer, root.path()).done.len() == 1);
    kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child still lives");
    assert_eq!(peer.xs("loss"), [0.0]);
}

#[test]
fn a_killed_program_loses_at_most_a_moment() {
    for away in [true, false] {
        let (mut peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
        if away {
            peer.kill();
        } else {
            // It answers, and its disk never does.
            peer.set(|faults| faults.mute = true);
        }
        let folder = JobFolder::create(root.path(), job_file(&peer.url(), true)).unwrap();
        let mut program = start("writes until killed", &peer.url(), folder.path());
        let (mut safe, begun) = (0, Instant::now());
        for line in BufReader::new(program.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(said) = line.strip_prefix("safe ") {
                safe = said.split(' ').next().unwrap().parse::<usize>().unwrap();
            }
            if begun.elapsed() > Duration::from_secs(4) && safe > 0 {
                break;
            }
        }
        program.kill().unwrap();
        program.wait().unwrap();
        drop(folder);
        if away {
            peer.restart();
        }
        peer.set(|faults| faults.mute = false);
        let report = upload(&peer, root.path());
        assert!(report.failed.is_empty() && report.done.len() == 1, "{report:?}");
        let xs = peer.xs("loss");
        assert!(xs.len() >= safe && safe > 10_000, "{} arrived, {safe} were sent a moment before", xs.len());
        assert!(xs.iter().enumerate().all(|(i, x)| *x == i as f64), "each once and in order");
        assert_eq!(files(root.path()), Vec::<String>::new());
    }
}

#[test]
fn a_forked_child_has_a_session_of_its_own() {
    for late in [false, true] {
        let (mut peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
        if late {
            peer.kill();
        }
        let mut program = start("forks", &peer.url(), root.path());
        if late {
            wait_until("both have a spool", || {
                files(root.path()).iter().filter(|file| file.contains("frames-")).count() == 2
            });
            peer.restart();
        }
        let status = program.wait().unwrap();
        assert!(status.success(), "{status:?}");
        let mut xs = peer.xs("loss");
        xs.sort_by(f64::total_cmp);
        let expected: Vec<_> = (0..2000).chain(10_000..10_500).map(f64::from).collect();
        assert!(xs == expected, "{} points", xs.len());
        assert_eq!(peer.xs("of the child"), [1.0]);
        assert_eq!(peer.state().sessions.len(), 2);
        assert!(peer.state().sessions.values().all(|kept| kept.closed));
        assert_eq!(files(root.path()), Vec::<String>::new());
    }
}

#[test]
fn a_spool_in_use_is_left_alone() {
    let (mut peer, root) = (Peer::absent(), tempfile::tempdir().unwrap());
    let folder = JobFolder::create(root.path(), job_file(&peer.url(), true)).unwrap();
    let mut program = start("writes until killed", &peer.url(), folder.path());
    wait_until("there is a spool", || files(folder.path()).iter().any(|file| file.contains("frames-")));
    peer.restart();
    // The runner's lock, then the program's.
    assert_eq!(upload(&peer, root.path()).in_use.len(), 1);
    drop(folder);
    let report = upload(&peer, root.path());
    assert_eq!((report.in_use.len(), report.done.len()), (1, 0), "{report:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    let report = upload(&peer, root.path());
    assert_eq!((report.in_use.len(), report.done.len()), (0, 1), "{report:?}");
    let xs = peer.xs("loss");
    assert!(!xs.is_empty() && xs.iter().enumerate().all(|(i, x)| *x == i as f64));
}
