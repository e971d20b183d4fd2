//! How signals and terminals end a job, and what of them does not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use super::{Place, stderr, stdout};

#[test]
fn a_status_of_a_signal_is_that_of_a_shell() {
    let place = Place::new(&[("main.py", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")]);
    let output = place.run(&["run", "--offline"]);
    assert_eq!(output.status.code(), Some(137));
    assert!(stderr(&output).contains("failed (SIGKILL)"), "{}", stderr(&output));
}

const WAITS: &str = "
import os, subprocess, sys, time
child = subprocess.Popen(['sleep', '60'], start_new_session=True)
print('ready', child.pid, flush=True)
time.sleep(60)
";

/// Starts `neptune` as a shell does in the foreground, whatever runs the tests: nohup, or a job in the background.
fn in_foreground(command: &mut Command) -> Child {
    let reset = || {
        for number in [Signal::SIGINT, Signal::SIGHUP] {
            // SAFETY: the default action runs no code of ours.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec nothing but system calls are made.
    unsafe { command.pre_exec(reset) };
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts a job that waits, and answers it with the process id of its child.
fn start_waiting(place: &Place) -> (Child, i32) {
    let mut child = in_foreground(&mut place.command(&["run", "--offline"]));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let grandchild = line.trim().strip_prefix("ready ").unwrap().parse().unwrap();
    (child, grandchild)
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn signalled(signal: Signal, status: i32, reason: &str) {
    let place = Place::new(&[("main.py", WAITS)]);
    let (mut child, grandchild) = start_waiting(&place);
    let began = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    let ended = child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(ended.code(), Some(status), "{talk}");
    assert!(!is_alive(grandchild), "{talk}");
    let exit = place.json("exit.json");
    assert_eq!((&exit["aborted"], &exit["reason"]), (&true.into(), &reason.into()), "{talk}");
    assert!(talk.contains("aborted"), "{talk}");
}

#[test]
fn ctrl_c_ends_the_whole_job() {
    signalled(Signal::SIGINT, 130, "Ctrl-C at the runner");
}

#[test]
fn sigterm_ends_the_whole_job() {
    signalled(Signal::SIGTERM, 143, "SIGTERM to the runner");
}

#[test]
fn a_closed_terminal_ends_the_whole_job() {
    signalled(Signal::SIGHUP, 143, "the runner's terminal was closed");
}

/// Presses Ctrl-C once; answers the status and what was told.
fn ctrl_c(mut child: Child) -> (ExitStatus, String) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (output.status, stderr(&output))
}

#[test]
fn ctrl_c_while_a_job_is_planned_ends_at_once() {
    let place = Place::new(&[("main.py", "")]);
    let file = place.job().join("config.yaml");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = in_foreground(&mut place.command(&["run", "--offline", "--config", "config.yaml"]));
    // Opens once the reader is there, who then waits for a line.
    let _writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    let (status, talk) = ctrl_c(child);
    assert_eq!(status.signal(), Some(2), "{status} {talk}");
    assert!(!place.spool().exists());
}

#[test]
fn ctrl_c_after_the_end_leaves_the_rest_to_sync() {
    let place = Place::new(&[("main.py", "import sys\nsys.exit(3)")]);
    let answer = |status: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    // Away at the start, back after the end, and then silent.
    let busy = r#"{"type": "about:blank", "title": "busy", "status": 503, "code": "busy", "detail": "x"}"#;
    let server = r#"{"version": "0", "access": "open", "read_only": false}"#;
    let mut answers = vec![answer("200 OK", server), answer("503 x", busy)];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, waits) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            match answers.pop() {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => drop(sender.send(stream)),
            }
        }
    });
    let child = in_foreground(&mut place.command(&["run", "--server", &url]));
    let _silent = waits.recv_timeout(Duration::from_secs(30)).unwrap();
    let (status, talk) = ctrl_c(child);
    assert_eq!(status.code(), Some(3), "{status} {talk}");
    assert_eq!(place.json("exit.json")["aborted"], false);
}

#[test]
fn nohup_is_respected() {
    let place = Place::new(&[("main.py", WAITS)]);
    let mut command = Command::new("nohup");
    let inner = place.command(&[]);
    command.arg(inner.get_program()).args(["run", "--offline"]).current_dir(place.job());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let has_hangup = |mask: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
    };
    assert!(has_hangup("SigIgn:") && !has_hangup("SigCgt:"), "SIGHUP is to be ignored: {status}");
    kill(pid, Signal::SIGHUP).unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(place.json("exit.json")["reason"], "SIGTERM to the runner");
}

/// Starts a command on a terminal, does `act` with it once the text `when` was shown there, and passes the shown and the
/// status on.
const ON_A_TERMINAL: &str = "
import os, pty, signal, sys
act, when, *command = sys.argv[1:]
signal.alarm(30)
pid, terminal = pty.fork()
if pid == 0:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)
shown = b''
while terminal is not None:
    try:
        more = os.read(terminal, 1000)
    except OSError:
        break
    os.write(1, more)
    shown += more
    if act and when.encode() in shown and shown.endswith(b'\\n'):
        if act == 'close':
            os.close(terminal)
            terminal = None
        else:
            os.write(terminal, act.encode())
        act = ''
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// Runs `neptune` on a terminal of its own, as a person does.
fn on_a_terminal(place: &Place, arguments: &[&str], when: &str, act: &str) -> Output {
    let inner = place.command(arguments);
    let mut command = Command::new("python3");
    command.args(["-c", ON_A_TERMINAL, act, when]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(place.job()).stdin(Stdio::null()).output().unwrap()
}

const CTRL_C: &str = "\x03";

#[test]
fn a_program_that_asks_at_the_terminal_goes_on() {
    let main = "
import getpass, os
assert os.getpgrp() == os.getpid()
try:
    getpass.getpass()
except EOFError:
    print('nobody to ask')
";
    let place = Place::new(&[("main.py", main)]);
    let output = on_a_terminal(&place, &["run", "--offline"], "", "");
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("nobody to ask"), "{}", stdout(&output));
}

#[test]
fn the_terminals_own_signals_end_the_whole_job() {
    for (act, status, reason) in
        [(CTRL_C, 130, "Ctrl-C at the runner"), ("close", 143, "the runner's terminal was closed")]
    {
        let place = Place::new(&[("main.py", WAITS)]);
        let output = on_a_terminal(&place, &["run", "--offline"], "ready", act);
        let shown = stdout(&output);
        assert_eq!(output.status.code(), Some(status), "{shown}{}", stderr(&output));
        assert_eq!(place.json("exit.json")["reason"], reason, "{shown}");
        let grandchild = shown.lines().find_map(|line| line.trim().strip_prefix("ready ")).unwrap_or("0");
        assert!(!is_alive(grandchild.trim().parse().unwrap()), "{shown}");
    }
}
