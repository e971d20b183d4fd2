//! `cargo xtask serve`: a running Neptune from a clean clone, with an example job to look at on the first start.
//!
//! Options other than `--no-example` and `--data` go to `neptune-server` as they are. Ctrl-C stops the example job first,
//! then the server.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::place::Place;
use crate::server::{self, POLL, Server};
use crate::{setup, step};

/// The example of the first start; it needs nothing but our own module.
const EXAMPLE: &str = "examples/sine-cosine";
/// Where `neptune` looks for a server unless it is told.
const DEFAULT_URL: &str = "http://127.0.0.1:8420";
/// `neptune run` gives the program some seconds to end by itself.
const EXAMPLE_STOPS_WITHIN: Duration = Duration::from_secs(30);

/// What the person asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    with_example: bool,
    data: PathBuf,
    /// Everything else, for the server.
    server: Vec<OsString>,
}

impl Options {
    /// Reads the options; the server checks those that are its own.
    ///
    /// # Errors
    ///
    /// If `--data` has no value.
    pub(crate) fn read(arguments: impl Iterator<Item = OsString>, root: &Path) -> Result<Self> {
        let mut options = Self { with_example: true, data: root.join("neptune-data"), server: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--no-example") => options.with_example = false,
                Some("--data") => options.data = arguments.next().context("--data needs a folder")?.into(),
                Some(text) if text.starts_with("--data=") => options.data = text["--data=".len()..].into(),
                _ => options.server.push(argument),
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
    note_signals()?;
    let mut server = Server::start(place, "serve", &options.data, &options.server)?;
    let Some(url) = server.wait_until_ready(|| stop_signal().is_some())? else { return server.stop() };
    greet(place, options, &url, server.log());

    let mut example = None;
    if options.with_example && is_fresh {
        example = Some(Example::start(place, &url)?);
        step::say("- the example job is running; watch it in the browser");
    }
    loop {
        server.must_run()?;
        if let Some(job) = &mut example
            && job.has_ended()?
        {
            example = None;
        }
        if let Some(signal) = stop_signal() {
            step::say(&format!("\n- {signal}: stopping"));
            break;
        }
    }
    if let Some(job) = example {
        job.interrupt();
    }
    server.stop()?;
    step::say("- the server has stopped");
    Ok(())
}

fn greet(place: &Place, options: &Options, url: &str, log: &Path) {
    step::say(&format!("\n  Neptune is at {url}   (Ctrl-C stops it)\n"));
    step::say(&format!("  data    {}", options.data.display()));
    step::say(&format!("  log     {}", log.display()));
    step::say(&format!("  yours   source {}/bin/activate", place.venv().display()));
    if url.trim_end_matches('/') != DEFAULT_URL {
        step::say(&format!("          export NEPTUNE_URL={url}"));
    }
    step::say(&format!("          cd {}", place.root.join(EXAMPLE).display()));
    step::say("          neptune run main.py --config config.yaml -- --amplitude 5\n");
}

/// The job a newcomer finds in the list, started like a person would.
struct Example {
    child: Child,
    log: PathBuf,
}

impl Example {
    fn start(place: &Place, url: &str) -> Result<Self> {
        let log = place.logs.join("example.log");
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = in_venv(place, place.command(place.venv_program("neptune")));
        command.current_dir(place.root.join(EXAMPLE)).args(["run", "main.py", "--config", "config.yaml"]);
        command.env("NEPTUNE_URL", url);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        Ok(Self { child: command.spawn().context("cannot start neptune")?, log })
    }

    /// Says how it ended, if it has.
    fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.child.try_wait()? else { return Ok(false) };
        if status.success() {
            step::say("- the example job has ended: succeeded");
        } else {
            step::print_tail(&self.log);
            step::say(&format!("- the example job ended with {status}"));
        }
        Ok(true)
    }

    /// Like Ctrl-C in its own terminal: `neptune run` ends the program and tells the server, which still runs.
    fn interrupt(mut self) {
        server::signal(&self.child, Signal::SIGINT);
        if !matches!(server::wait_at_most(&mut self.child, EXAMPLE_STOPS_WITHIN), Ok(Some(_))) {
            let _ = self.child.kill();
        }
    }
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

/// The signal that asked us to stop, or 0.
static STOP_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Lets Ctrl-C and SIGTERM be noted instead of ending this program.
///
/// By handlers, not by a mask: children inherit a mask, and a server that blocks SIGTERM cannot be asked to stop.
fn note_signals() -> Result<()> {
    extern "C" fn note(signal: i32) {
        STOP_SIGNAL.store(signal, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which a signal handler may do.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Waits a little; answers the signal that asked us to stop, if one came.
fn stop_signal() -> Option<Signal> {
    thread::sleep(POLL);
    Signal::try_from(STOP_SIGNAL.load(Ordering::Relaxed)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], with_example: bool, data: &str, server: &[&str]) {
        let options = Options::read(arguments.iter().map(OsString::from), Path::new("/clone")).unwrap();
        let server = server.iter().map(OsString::from).collect();
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
        assert!(Options::read(["--data".into()].into_iter(), Path::new("/clone")).is_err());
    }
    #[test]
    fn what_we_start_can_be_asked_to_stop() {
        note_signals().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        server::signal(&child, Signal::SIGTERM);
        let ended = server::wait_at_most(&mut child, Duration::from_secs(10)).unwrap();
        let _ = child.kill();
        assert!(ended.is_some(), "the child ignores SIGTERM");
    }
}
