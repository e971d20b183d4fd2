//! Verbs without a server: how they fail, and those that need none.

#![allow(clippy::unwrap_used)] // a test crate outside `mod tests`

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn command(home: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neptune"));
    let neptune = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NEPTUNE_"));
    for (name, _) in neptune {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env("TMPDIR", home)
        .env("NEPTUNE_URL", "http://127.0.0.1:9")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    command(home.path(), arguments).output().unwrap()
}

#[test]
fn without_a_server_every_verb_says_what_to_do() {
    for arguments in [
        &["ls"][..],
        &["show", "TRIG-1"],
        &["logs", "TRIG-1"],
        &["logs", "-f", "TRIG-1"],
        &["abort", "TRIG-1"],
        &["tag", "TRIG-1", "good"],
        &["set", "TRIG-1", "a=b"],
        &["project"],
        &["project", "create", "Trigonometry"],
        &["checkout", "TRIG-1"],
        &["diff", "TRIG-1", "TRIG-2"],
        &["whoami"],
        &["login"],
    ] {
        let output = run(arguments);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {talk}");
        assert!(
            talk.contains("cannot be reached") && talk.contains("neptune server"),
            "{arguments:?}: {talk}"
        );
        assert!(output.stdout.is_empty(), "standard output is data: {arguments:?}");
    }
}

#[test]
fn an_address_that_is_none_is_wrong_usage() {
    let output = run(&["ls", "--server", "lab"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains("http://127.0.0.1:8420"), "{talk}");
}

#[test]
fn nothing_to_sync_is_no_fault() {
    let output = run(&["sync"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(talk.contains("nothing waits in"), "{talk}");
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("neptune"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let mut child = command(home.path(), &["completion", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!((child.wait().unwrap().code(), talk.as_str()), (Some(0), ""));
}

#[test]
fn the_server_is_looked_for_beside_and_in_path() {
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("neptune");
    std::fs::copy(env!("CARGO_BIN_EXE_neptune"), &copy).unwrap();
    let run = || Command::new(&copy).args(["server", "--listen", "x"]).env("PATH", "").output().unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neptune-server is neither beside"));

    let server = home.path().join("neptune-server");
    std::fs::write(&server, "#!/bin/sh\necho \"$@\"\nexit 9\n").unwrap();
    std::fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = run();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(9), b"--listen x\n".as_slice()));
}

#[test]
fn help_explains_parameters_and_status() {
    let output = run(&["run", "--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ctx.params") && text.contains("neptune.yaml"), "{text}");
    assert!(String::from_utf8_lossy(&run(&["--help"]).stdout).contains("Exit status"));
}
