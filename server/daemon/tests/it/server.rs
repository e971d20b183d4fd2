//! A `neptune-server` process and plain requests to it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest wait for anything a test expects; the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The binary, in a folder, without the variables of whoever runs the tests.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neptune-server"));
    clean(&mut command, folder);
    command
}

fn clean(command: &mut Command, folder: &Path) {
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NEPTUNE_")) {
        command.env_remove(name);
    }
}

/// Runs the binary to its end: exit status, standard output, standard error.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A running server; dropped, it is killed, and its log shown if the test failed.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Server {
    /// Starts on a free port of loopback and waits until it is ready.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_by(command(folder), folder, arguments)
    }

    /// The same by another command, which gets the server's arguments as its last ones.
    pub(crate) fn start_by<A: AsRef<OsStr>>(mut command: Command, folder: &Path, arguments: &[A]) -> Self {
        clean(&mut command, folder);
        let (log, port_file) = (folder.join("log"), folder.join("url"));
        let _ = fs::remove_file(&port_file);
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.args(["--listen", "127.0.0.1:0", "--port-file", "url"]).args(arguments);
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut server = Self { child, url: String::new(), log };
        server.url = wait_until("the port file is written", || {
            assert!(server.child.try_wait().unwrap().is_none(), "it ended");
            fs::read_to_string(&port_file).ok()
        });
        server.url = server.url.trim_end().to_owned();
        server
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn authority(&self) -> &str {
        self.url.split("//").nth(1).unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.authority()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Sends one request and answers the status and the whole answer's text.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut lines =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            lines.push_str(&format!("host: {}\r\n", self.authority()));
        }
        for (name, value) in headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = self.connect();
        stream.write_all(format!("{lines}\r\n{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that is being killed may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {text:?}")), text)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.ask(
            "POST",
            path,
            &[("content-type", "application/json"), ("idempotency-key", body_key(body).as_str())],
            body,
        )
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the server ends", || self.child.try_wait().unwrap())
    }

    /// Asks it to stop and sees that it does so in order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.wait().success());
    }
}

/// The same body is the same request.
fn body_key(body: &str) -> String {
    let hash = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            std::io::stderr().write_all(self.log().as_bytes()).unwrap();
        }
    }
}
