//! `cargo xtask serve`: a running Neptune from a clean clone, with an example job to look at on the first start.
//!
//! Options other than `--no-example` go to `neptune-server` as they are. The server is a process group of its own, so
//! that Ctrl-C reaches it once and in order: this program asks it to stop and waits until it has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;
use crate::{setup, step};

/// Long enough to replay a large frame log; a server that is not ready by then says why in its log.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// A graceful stop finishes running requests and flushes; then it is ended.
const STOP_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What the person asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    with_example: bool,
    data: PathBuf,
    /// Everything else, for the server.
    server: Vec<String>,
}

impl Options {
    /// Reads the options; the server checks those that are its own.
    ///
    /// # Errors
    ///
    /// If `--data` has no value.
    pub(crate) fn read(arguments: impl Iterator<Item = String>, root: &Path) -> Result<Self> {
        let mut options = Self { with_example: true, data: root.join("neptune-data"), server: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            if argument == "--no-example" {
                options.with_example = false;
            } else if argument == "--data" {
                options.data = arguments.next().context("--data needs a folder")?.into();
            } else if let Some(folder) = argument.strip_prefix("--data=") {
                options.data = folder.into();
            } else {
                options.server.push(argument);
            }
        }
        Ok(options)
    }
}

/// Builds everything, serves until Ctrl-C (or SIGTERM), stops the server.
pub(crate) fn run(place: &Place, options: &Options) -> Result<()> {
    let started = Instant::now();
    setup::serving(place)?;
    step::say(&format!("- everything is built and installed ({})", step::seconds(started.elapsed())));

    let is_fresh = fs::read_dir(&options.data).map_or(true, |mut entries| entries.next().is_none());
    let signals = listen_for_signals()?;
    let mut server = Server::start(place, options)?;
    let url = server.wait_until_ready(&signals)?;
    let Some(url) = url else { return server.stop() };
    step::say(&format!("\n  Neptune is at {url}   (Ctrl-C stops it)\n"));
    step::say(&format!("  data    {}", options.data.display()));
    step::say(&format!("  log     {}", server.log.display()));
    let example = place.root.join("examples/sine-cosine");
    step::say(&format!("  yours   source {}/bin/activate", place.venv().display()));
    step::say(&format!("          cd {}", example.display()));
    step::say("          neptune run main.py --config config.yaml -- --amplitude 5\n");

    let mut example_job = None;
    if options.with_example && is_fresh {
        step::say("- the example job is running; watch it in the browser");
        example_job = Some(start_example(place, &example, &url)?);
    }
    let reason = server.watch(&signals, &mut example_job)?;
    step::say(&format!("- {reason}, stopping"));
    if let Some(job) = &mut example_job {
        // Like Ctrl-C in its own terminal: `neptune run` ends the program and tells the server, which still runs.
        let _ = kill(pid(&job.child), Signal::SIGINT);
        let _ = wait_at_most(&mut job.child, STOP_WITHIN);
    }
    server.stop()
}

struct Server {
    child: Child,
    log: PathBuf,
    port_file: PathBuf,
}

impl Server {
    fn start(place: &Place, options: &Options) -> Result<Self> {
        let log = place.logs.join("serve.log");
        let port_file = place.logs.join(format!("serve-{}.url", std::process::id()));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = place.command(place.venv_program("neptune-server"));
        command.current_dir(env::current_dir()?).arg("--data").arg(&options.data);
        command.arg("--port-file").arg(&port_file).args(&options.server);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().context("cannot start neptune-server")?;
        Ok(Self { child, log, port_file })
    }

    /// Waits for the address; nothing if the person wants to stop before it is there.
    fn wait_until_ready(&mut self, signals: &Receiver<Signal>) -> Result<Option<String>> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(text) = fs::read_to_string(&self.port_file)
                && text.starts_with("http")
            {
                let _ = fs::remove_file(&self.port_file);
                return Ok(Some(text.trim().to_owned()));
            }
            if let Some(status) = self.child.try_wait()? {
                step::print_tail(&self.log);
                bail!("neptune-server ended with {status} before it was ready");
            }
            if Instant::now() > deadline {
                step::print_tail(&self.log);
                self.stop()?;
                bail!("neptune-server was not ready within {}", step::seconds(READY_WITHIN));
            }
            match signals.recv_timeout(POLL) {
                Ok(_) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a reason to stop, and says when the example job ended.
    fn watch(&mut self, signals: &Receiver<Signal>, example: &mut Option<Example>) -> Result<String> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                step::print_tail(&self.log);
                bail!("neptune-server ended with {status}");
            }
            if let Some(job) = example
                && let Some(status) = job.child.try_wait()?
            {
                if status.success() {
                    step::say("- the example job has ended: succeeded");
                } else {
                    step::print_tail(&job.log);
                    step::say(&format!("- the example job ended with {status}"));
                }
                *example = None;
            }
            match signals.recv_timeout(POLL) {
                Ok(signal) => return Ok(format!("{signal}")),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn stop(&mut self) -> Result<()> {
        let _ = fs::remove_file(&self.port_file);
        let _ = kill(pid(&self.child), Signal::SIGTERM);
        match wait_at_most(&mut self.child, STOP_WITHIN)? {
            Some(status) if status.success() => {
                step::say("- the server has stopped");
                Ok(())
            }
            Some(status) => {
                step::print_tail(&self.log);
                bail!("neptune-server ended with {status} when asked to stop");
            }
            None => {
                self.child.kill()?;
                self.child.wait()?;
                step::print_tail(&self.log);
                bail!("neptune-server did not stop within {} and was killed", step::seconds(STOP_WITHIN));
            }
        }
    }
}

struct Example {
    child: Child,
    log: PathBuf,
}

fn start_example(place: &Place, folder: &Path, url: &str) -> Result<Example> {
    let log = place.logs.join("example.log");
    let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
    let mut command = in_venv(place, place.command(place.venv_program("neptune")));
    command.current_dir(folder).args(["run", "main.py", "--config", "config.yaml"]).env("NEPTUNE_URL", url);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    Ok(Example { child: command.spawn().context("cannot start neptune")?, log })
}

/// The environment that `source .venv/bin/activate` gives.
pub(crate) fn in_venv(place: &Place, mut command: Command) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(place.venv().join("bin")).chain(env::split_paths(&path));
    if let Ok(joined) = env::join_paths(folders) {
        command.env("PATH", joined);
    }
    command.env("VIRTUAL_ENV", place.venv()).env_remove("PYTHONHOME");
    command
}

/// Turns Ctrl-C and SIGTERM into messages. Must be called before any other thread starts: threads inherit the mask.
fn listen_for_signals() -> Result<Receiver<Signal>> {
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        wanted.add(signal);
    }
    wanted.thread_block()?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        while let Ok(signal) = wanted.wait() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

fn wait_at_most(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], with_example: bool, data: &str, server: &[&str]) {
        let options = Options::read(arguments.iter().map(ToString::to_string), Path::new("/clone")).unwrap();
        let server = server.iter().map(ToString::to_string).collect();
        assert_eq!(options, Options { with_example, data: data.into(), server });
    }

    #[test]
    fn options_that_are_not_ours_go_to_the_server() {
        check(&[], true, "/clone/neptune-data", &[]);
        check(
            &["--no-example", "--listen", "127.0.0.1:0"],
            false,
            "/clone/neptune-data",
            &["--listen", "127.0.0.1:0"],
        );
        check(&["--data", "a", "--print-config"], true, "a", &["--print-config"]);
        check(&["--data=b"], true, "b", &[]);
        assert!(Options::read(["--data".to_owned()].into_iter(), Path::new("/clone")).is_err());
    }
}
