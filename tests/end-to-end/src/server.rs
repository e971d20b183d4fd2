//! One `neptune-server` process: started, killed, started again on the same data and, when asked, the same port.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server replays its log before it answers; a large one takes its time.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Further arguments.
    pub arguments: Vec<OsString>,
    /// Further environment, such as a preloaded fault layer.
    pub environment: Vec<(OsString, OsString)>,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: PathBuf,
    url: String,
    options: ServerOptions,
}

/// Finds a program that was built beside the running test, or in `NEPTUNE_BIN_DIR`.
///
/// # Errors
///
/// Says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("NEPTUNE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let this = std::env::current_exe()?;
            let folder = this.parent().context("a program lies in a folder")?;
            let tests = folder.ends_with("deps");
            if tests { folder.parent().unwrap_or(folder).into() } else { folder.into() }
        }
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is missing; build it: cargo build --release -p neptune-server -p neptune-cli",
            path.display()
        );
    }
    Ok(path)
}

impl Server {
    /// Starts a server whose data lies in `folder/data`, on a free port, and waits until it answers.
    ///
    /// # Errors
    ///
    /// With the end of its log when it does not become ready.
    pub fn start(folder: &Path, options: ServerOptions) -> Result<Self> {
        Self::start_at(folder, "127.0.0.1:0", options)
    }

    fn start_at(folder: &Path, listen: &str, options: ServerOptions) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port_file = folder.join("url");
        let _ = fs::remove_file(&port_file);
        let log = File::options().create(true).append(true).open(folder.join("server.log"))?;
        let child = Command::new(binary("neptune-server")?)
            .arg("--data")
            .arg(folder.join("data"))
            .args(["--listen", listen])
            .arg("--port-file")
            .arg(&port_file)
            .args(&options.arguments)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start neptune-server")?;
        let mut server = Self { child, folder: folder.into(), url: String::new(), options };
        server.url = server.wait_until_ready(&port_file)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, port_file: &Path) -> Result<String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("neptune-server ended with {status}\n{}", self.log_tail());
            }
            if let Ok(url) = fs::read_to_string(port_file)
                && !url.trim().is_empty()
            {
                return Ok(url.trim().trim_end_matches('/').to_string());
            }
            if Instant::now() > deadline {
                bail!("neptune-server is not ready after {READY_WITHIN:?}\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Ends it as a power cut would end the process: SIGKILL, no warning.
    ///
    /// # Errors
    ///
    /// When the process cannot be signalled.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether the process has ended by itself.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Runs `neptune-server check` on the data of a server that has ended.
    ///
    /// # Errors
    ///
    /// With all that is damaged.
    pub fn check(&self) -> Result<()> {
        let data = self.data();
        let checked = Command::new(binary("neptune-server")?).args(["check", "--data"]).arg(data).output()?;
        let told = String::from_utf8_lossy(&checked.stdout);
        ensure!(
            checked.status.success(),
            "{}\n{told}{}",
            checked.status,
            String::from_utf8_lossy(&checked.stderr)
        );
        Ok(())
    }

    /// Starts it again on the same data and port after [`Server::kill`] or [`Server::stop`].
    ///
    /// # Errors
    ///
    /// With the end of its log when it does not become ready.
    pub fn start_again(&mut self) -> Result<()> {
        self.start_again_with(self.options.clone())
    }

    /// The same, started in another way.
    ///
    /// # Errors
    ///
    /// With the end of its log when it does not become ready.
    pub fn start_again_with(&mut self, options: ServerOptions) -> Result<()> {
        let listen = self.url.trim_start_matches("http://").to_string();
        *self = Self::start_at(&self.folder.clone(), &listen, options)?;
        Ok(())
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    ///
    /// When it does not end in time or ends with a failure.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("neptune-server ended with {status}\n{}", self.log_tail());
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("neptune-server did not end within {STOPPED_WITHIN:?}\n{}", self.log_tail())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ends so:\n{}", self.log_tail());
        }
    }
}
