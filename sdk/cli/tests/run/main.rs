//! `neptune run` without a server: what is refused, what runs anyway, and how it ends.

#![allow(clippy::unwrap_used)] // a test crate outside `mod tests`

mod signals;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};

/// A folder with a job, and a home and a spool of its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.job()).unwrap();
        for (file, content) in files {
            fs::write(place.job().join(file), content).unwrap();
        }
        place
    }

    fn job(&self) -> PathBuf {
        self.folder.path().join("job")
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_neptune"));
        let neptune = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NEPTUNE_"));
        for (name, _) in neptune {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.job())
            .env("HOME", self.folder.path().join("home"))
            .env_remove("XDG_CONFIG_HOME")
            .env("NEPTUNE_SPOOL_DIR", self.spool())
            // A port that nothing listens on.
            .env("NEPTUNE_URL", "http://127.0.0.1:9")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The one job folder in the spool.
    fn waiting(&self) -> PathBuf {
        let mut folders: Vec<_> =
            fs::read_dir(self.spool()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.remove(0)
    }

    fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.waiting().join(file)).unwrap()).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const TYPED: &str = "
parameters:
  - {name: amplitude, type: double, required: true}
  - {name: sampling_rate, type: double, default: 2}
";

/// What is refused is refused with status 2, before anything is registered or put aside.
fn refused(files: &[(&str, &str)], arguments: &[&str], expect: Expect) {
    let place = Place::new(files);
    let output = place.run(arguments);
    expect.assert_eq(&stderr(&output).replace(&place.job().display().to_string(), "/job"));
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(!place.spool().exists(), "{arguments:?} left something behind");
    assert_eq!(stdout(&output), "");
}

#[test]
fn mistakes_are_named_before_anything_is_registered() {
    let job = [("main.py", ""), ("config.yaml", TYPED)];
    let run = |arguments: &[&'static str]| [&["run", "--config", "config.yaml", "--"], arguments].concat();
    refused(
        &job,
        &run(&["--amplitude", "abc"]),
        expect![[r#"
        neptune: --amplitude: "abc" is not a double; give a number such as 2.5 or 1e-3 (declared in config.yaml:3)
    "#]],
    );
    refused(
        &job,
        &run(&[]),
        expect![[r#"
        neptune: parameter "amplitude" (config.yaml:3) needs a value and has no default; give it as `-- --amplitude 2.5`
    "#]],
    );
    refused(
        &job,
        &run(&["--amplitud", "1"]),
        expect![[r#"
        neptune: --amplitud: config.yaml declares no such parameter; did you mean "amplitude"?
    "#]],
    );
    refused(
        &[("main.py", ""), ("neptune.yaml", "nmae: x\ncolour: red\n")],
        &["run"],
        expect![[r#"
        neptune: neptune.yaml:1: nmae: unknown key; did you mean "name"?
        neptune: neptune.yaml:2: colour: unknown key
    "#]],
    );
    refused(
        &[],
        &["run"],
        expect![[r#"
        neptune: main file: /job/main.py does not exist; name the program to run, as `neptune run train.py`
    "#]],
    );
    refused(
        &[("main.py", "")],
        &["run", "other.py"],
        expect![[r#"
        neptune: main file: /job/other.py does not exist; there is "main.py"
    "#]],
    );
    refused(
        &[("main.py", "")],
        &["run", "--config", "none.yaml"],
        expect![[r#"
        neptune: none.yaml: No such file or directory (os error 2)
    "#]],
    );
    refused(
        &[("main.py", "")],
        &["run", "--log-channel", ""],
        expect![[r#"
        neptune: --log-channel: a log channel needs the text that stands before the number, such as `loss:`
    "#]],
    );
    refused(
        &[("main.py", "")],
        &["run", "-p", "lr"],
        expect![[r#"
        neptune: -p lr: must be NAME:VALUE, such as -p lr:0.1
    "#]],
    );
    refused(
        &[("main.py", ""), (".neptuneignore", "main.py")],
        &["run", "--storage", "d"],
        expect![[r#"
        neptune: main file: main.py is not in the snapshot, so its copy could not run; an exclude rule leaves it out
    "#]],
    );
    refused(
        &[("main.py", "")],
        &["run", "-x", "[z-a]"],
        expect![[r#"
        neptune: exclude "[z-a]": error parsing glob '[z-a]': invalid range; 'z' > 'a'
    "#]],
    );
}

#[test]
fn what_no_server_takes_is_refused_offline_too() {
    let job = [("main.py", "")];
    refused(
        &job,
        &["run", "--offline", "--property", &format!("notes:{}", "x".repeat(16385))],
        expect![[r#"
            neptune: properties.notes: 16385 bytes long, at most 16384 are taken
        "#]],
    );
    let long = format!("notes:{}", "x".repeat(100_000));
    let parameters = (0..6).map(|n| format!("{n}{long}")).collect::<Vec<_>>();
    let mut arguments = vec!["run", "--offline"];
    for parameter in &parameters {
        arguments.extend(["-p", parameter]);
    }
    let place = Place::new(&job);
    let output = place.run(&arguments);
    let talk = stderr(&output);
    assert!(talk.contains("at most 524288 are taken; the largest is parameter "), "{talk}");
    assert_eq!(output.status.code(), Some(2));
    assert!(!place.spool().exists());
}

#[test]
fn wrong_flags_are_refused_with_status_2() {
    let place = Place::new(&[("main.py", "")]);
    for arguments in [
        &["run", "--tag", "Best Model"][..],
        &["run", "--amplitude", "5"],
        &["fly"],
        &["show", "TRIG"],
        &["run", "--property", "x"],
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_program_runs_without_a_server_and_its_job_waits() {
    let main = "import os, sys\nprint('args', sys.argv[1:], flush=True)\nprint('oops', file=sys.stderr)\nprint('loss: 0.5')\n\
                assert os.environ['NEPTUNE_ONLINE_CONTEXT'] == 'yes'\nsys.exit(3)\n";
    let place = Place::new(&[("main.py", main), ("neptune.yaml", TYPED)]);
    let output = place.run(&[
        "run",
        "--name",
        "sine",
        "--tag",
        "a",
        "--property",
        "k:v",
        "--project",
        "Trigonometry",
        "-l",
        "loss:",
        "--",
        "--amplitude",
        "5",
    ]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stdout(&output), "args []\nloss: 0.5\n");
    let talk = stderr(&output);
    let folder = place.waiting();
    let lines: Vec<_> = talk.lines().filter(|line| line.contains("neptune sync")).collect();
    assert_eq!(lines.len(), 1, "one line says where the data waits: {talk}");
    assert!(lines[0].contains(&folder.display().to_string()), "{talk}");
    assert!(talk.contains("oops"), "{talk}");

    let job = place.json("job.json");
    assert_eq!(job["create"]["name"], "sine");
    assert_eq!(
        (&job["create"]["project"], &job["project_name"], &job["project_by_name"]),
        (&"TRIGONOM".into(), &"Trigonometry".into(), &true.into())
    );
    assert_eq!(job["create"]["params"][0]["value"], 5.0);
    assert_eq!(job["create"]["params"][1]["value"], 2.0);
    assert_eq!(job["create"]["tags"][0], "a");
    assert_eq!(job["create"]["properties"]["k"], "v");
    assert!(job["create"]["created_micros"].is_i64() && job["started_micros"].is_i64());
    let exit = place.json("exit.json");
    assert_eq!((&exit["how"]["code"], &exit["aborted"]), (&3.into(), &false.into()));
    let manifest = place.json("snapshot/manifest.json");
    let paths: Vec<_> =
        manifest["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["main.py", "neptune.yaml"]);
    assert!(folder.join("sessions").read_dir().unwrap().count() > 0, "the log waits too");
}

#[test]
fn a_program_never_sees_its_users_token() {
    let place = Place::new(&[(
        "main.py",
        "import os\nprint({k: v for k, v in os.environ.items() if 'secret' in v})",
    )]);
    for offline in [&["run", "--offline"][..], &["run"]] {
        let output = place.command(offline).env("NEPTUNE_TOKEN", "secret").output().unwrap();
        assert_eq!(stdout(&output), "{}\n", "{}", stderr(&output));
    }
    let kept = Command::new("grep").args(["-r", "secret"]).arg(place.spool()).output().unwrap();
    assert!(!stdout(&kept).contains("job.json"), "no token is kept on disk: {}", stdout(&kept));
}

#[test]
fn arguments_of_a_program_without_declared_params_reach_it() {
    let place = Place::new(&[("main.py", "import sys\nprint(sys.argv)")]);
    let output =
        place.run(&["run", "--offline", "main.py", "train", "-p", "seed:7", "--", "--lr", "0.5", "-v"]);
    assert_eq!(stdout(&output), "['main.py', 'train', '--lr', '0.5', '-v']\n", "{}", stderr(&output));
    assert_eq!(place.json("job.json")["create"]["params"][0]["name"], "seed");
}

#[test]
fn python_prints_what_it_would_print_without_us() {
    let main = "import os, sys\nprint('\\u00e9', os.fsdecode(b'\\xff'), sys.stdout.write_through)\n";
    let place = Place::new(&[("main.py", main)]);
    let run = |variables: &[(&str, &str)]| {
        let mut command = place.command(&["run", "--offline"]);
        command.env_remove("PYTHONIOENCODING").env_remove("PYTHONUNBUFFERED");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), output.stdout)
    };
    assert_eq!(run(&[]), (Some(0), b"\xc3\xa9 \xff True\n".to_vec()));
    let users = [("PYTHONIOENCODING", "latin-1:replace"), ("PYTHONUNBUFFERED", "")];
    assert_eq!(run(&users), (Some(0), b"\xe9 ? False\n".to_vec()));
}

#[test]
fn the_command_line_of_2016_runs_in_a_copy() {
    let main = "import os\nprint(os.getcwd(), os.environ['NEPTUNE_STORAGE_URL'] == os.getcwd(), sorted(os.listdir()))";
    let place = Place::new(&[("main.py", main), ("config.yaml", TYPED), ("notes.txt", "")]);
    let arguments = [
        "run",
        "main.py",
        "--config",
        "config.yaml",
        "--dump-dir-url",
        "dump",
        "--",
        "--amplitude",
        "5",
        "--sampling_rate",
        "2.5",
    ];
    for _ in 0..2 {
        let output = place.run(&arguments);
        let text = stdout(&output);
        assert!(text.contains("dump/jobs/") && text.contains("/src True"), "{text}{}", stderr(&output));
        assert!(
            text.contains("['config.yaml', 'main.py', 'notes.txt']"),
            "the dump is in no snapshot: {text}"
        );
    }
    assert_eq!(place.job().join("dump/jobs").read_dir().unwrap().count(), 2);
}

#[test]
fn sync_looks_where_jobs_go_when_the_spool_cannot_be_written() {
    let place = Place::new(&[("main.py", "")]);
    let temporary = place.folder.path().join("tmp");
    let last = temporary.join(format!("neptune-spool-{}", nix::unistd::geteuid()));
    fs::create_dir_all(&last).unwrap();
    let run = |arguments: &[&str], spool: &Path| {
        let mut command = place.command(arguments);
        command.env("NEPTUNE_SPOOL_DIR", spool).env("TMPDIR", &temporary).output().unwrap()
    };
    assert_eq!(run(&["run", "--offline"], &last).status.code(), Some(0));
    let job = fs::read_dir(&last).unwrap().next().unwrap().unwrap();
    fs::write(place.folder.path().join("file"), "").unwrap();
    // Neither a spool that is not there nor one that cannot be read keeps it from being found.
    for spool in ["nothing", "file"] {
        let output = run(&["sync"], &place.folder.path().join(spool));
        let talk = stderr(&output);
        assert!(talk.contains(&format!("{}: ", job.path().display())), "{talk}");
        assert!(talk.contains("1 job still waits in"), "{talk}");
        assert_eq!(output.status.code(), Some(1), "{talk}");
    }
    let output = run(&["sync", "--spool", "elsewhere"], &last);
    assert!(stderr(&output).contains("nothing waits in elsewhere\n"), "{}", stderr(&output));
}

/// Answers every connection with `answer`, or holds it open when there is none.
fn impostor(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match answer {
                Some(answer) => {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => held.push(stream),
            }
        }
    });
    url
}

#[test]
fn what_is_no_server_is_refused_and_what_is_silent_is_away() {
    let place = Place::new(&[("main.py", "print('ran')")]);
    let page =
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let output = place.run(&["run", "--server", &impostor(Some(page))]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not answer like a Neptune server"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "a job that goes to the wrong place is not run");

    let output = place.run(&["run", "--server", &impostor(None)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("no answer within"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "ran\n");
}

#[test]
fn a_disk_that_takes_nothing_is_no_reason_not_to_run() {
    let place = Place::new(&[("main.py", "print('ran')")]);
    fs::write(place.spool(), "a file where the folder should be").unwrap();
    let output = place.run(&["run"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "ran\n"), "{}", stderr(&output));
    assert!(stderr(&output).contains("not recorded"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_program() {
    let main = "import time\nfor i in range(200): print('x' * 1000, flush=True)\nopen('done', 'w').close()";
    let place = Place::new(&[("main.py", main)]);
    let mut child =
        place.command(&["run", "--offline"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.job().join("done").exists());
}

#[test]
fn input_from_a_pipe_reaches_the_program() {
    let place = Place::new(&[("main.py", "print(input())")]);
    let mut child = place
        .command(&["run", "--offline"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout), "hello\n");
}

#[test]
fn old_flags_are_taken_with_a_note() {
    let place = Place::new(&[("main.py", "print('ran')"), ("neptune.yaml", "owner: me\n")]);
    let output = place.run(&["run", "--offline", "--docker-image", "python:2", "--open-webbrowser", "false"]);
    assert_eq!(stdout(&output), "ran\n");
    let talk = stderr(&output);
    assert!(
        talk.contains("--docker-image has no effect") && talk.contains("neptune.yaml:1: owner"),
        "{talk}"
    );
}

#[test]
fn the_last_line_is_json_when_asked_for() {
    let place = Place::new(&[("main.py", "print('ran')")]);
    let output = place.run(&["run", "--offline", "--json"]);
    let text = stdout(&output);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["status"], &last["id"], &last["exit"]["how"]["code"]),
        (&0.into(), &serde_json::Value::Null, &0.into())
    );
    assert!(Path::new(&place.waiting()).exists());
}
