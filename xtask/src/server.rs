//! A `neptune-server` process of ours: started, waited for, asked to stop.
//!
//! It is a process group of its own, so that Ctrl-C in the terminal reaches this program alone, which then stops the
//! server in order. What the server prints goes to a log.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, process};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;
use crate::step;

/// Long enough to replay a large frame log; a server that is not ready by then says why in its log.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// A graceful stop finishes running requests and flushes; then it is ended.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// A log of this size is begun anew.
const LOG_BYTES: u64 = 16 << 20;
/// How often a process is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A running server; killed when dropped without [`Server::stop`].
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    port_file: PathBuf,
}

impl Server {
    /// Starts the installed server on this data folder, in the folder this program was called in.
    pub(crate) fn start(place: &Place, name: &str, data: &Path, arguments: &[OsString]) -> Result<Self> {
        let log = place.logs.join(format!("{name}.log"));
        let port_file = place.logs.join(format!("{name}-{}.url", process::id()));
        let _ = fs::remove_file(&port_file);
        // Added to, so that a second server, which is refused, takes nothing of the first one's log; begun anew when large.
        let is_large = log.metadata().is_ok_and(|log| log.len() > LOG_BYTES);
        let file = File::options().create(true).append(true).truncate(false).open(&log);
        let file = file.with_context(|| format!("{}", log.display()))?;
        if is_large {
            file.set_len(0)?;
        }
        let mut command = place.command(place.venv_program("neptune-server"));
        command.current_dir(env::current_dir()?).arg("--data").arg(data);
        command.arg("--port-file").arg(&port_file).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().context("cannot start neptune-server")?;
        Ok(Self { child, log, port_file })
    }

    /// Waits for the address; nothing if `interrupted` says so first. It is asked again and again and may wait a little.
    pub(crate) fn wait_until_ready(
        &mut self,
        mut interrupted: impl FnMut() -> bool,
    ) -> Result<Option<String>> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(text) = fs::read_to_string(&self.port_file)
                && text.starts_with("http")
            {
                let _ = fs::remove_file(&self.port_file);
                return Ok(Some(text.trim().to_owned()));
            }
            self.must_run()?;
            if Instant::now() > deadline {
                step::print_tail(&self.log);
                bail!("neptune-server was not ready within {}", step::seconds(READY_WITHIN));
            }
            if interrupted() {
                return Ok(None);
            }
        }
    }

    /// An error with the end of the log if the server has ended.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            step::print_tail(&self.log);
            bail!("neptune-server ended with {status}");
        }
        Ok(())
    }

    /// Where it writes its log.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        signal(&self.child, Signal::SIGTERM);
        match wait_at_most(&mut self.child, STOP_WITHIN)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                step::print_tail(&self.log);
                bail!("neptune-server ended with {status} when asked to stop");
            }
            None => {
                step::print_tail(&self.log);
                bail!("neptune-server did not stop within {} and is killed", step::seconds(STOP_WITHIN));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.port_file);
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
}

/// Waits for a child's end, but not longer than this.
pub(crate) fn wait_at_most(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
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
