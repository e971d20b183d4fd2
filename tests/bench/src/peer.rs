//! `--peer`: other programs that keep metrics, from PyPI, at the same work as Neptune in the same run.
//!
//! Each is one Python file in `tests/bench/peer/` that uses the peer's ordinary API with its default settings; `work.py`
//! there holds what all of them do. Each has an environment of its own below the target folder, with the one version that
//! its `.txt` pins. What a peer cannot do, and why one could not be installed, is printed and never left out.
//!
//! To add one: its `NAME_peer.py` and `NAME.txt`, a variant of [`Peer`] here, a line in docs/bench.md.

mod comparison;
mod environment;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::disk;
use crate::report::Report;
use crate::rows::python;

pub(crate) use comparison::Comparison;
use comparison::Measured;

/// Where the Python files are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer");
/// The longest that all the work of one peer may take, but for filling its table.
const WORK_WITHIN: Duration = Duration::from_secs(10 * 60);
/// The longest for each run in its table, twice what `work.py` allows.
const RUN_WITHIN: Duration = Duration::from_millis(200);
/// The longest that it may take to end its server.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Who is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    Mlflow,
    Aim,
    Tensorboard,
    Trackio,
    Wandb,
}

impl Peer {
    /// All of them.
    pub(crate) const ALL: [Peer; 5] =
        [Self::Mlflow, Self::Aim, Self::Tensorboard, Self::Trackio, Self::Wandb];

    /// As it is called on PyPI and on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Mlflow => "mlflow",
            Self::Aim => "aim",
            Self::Tensorboard => "tensorboard",
            Self::Trackio => "trackio",
            Self::Wandb => "wandb",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Lets Neptune and each peer do the work, one after another, and reports what came of it.
pub(crate) fn measure(peers: &[Peer], runs: u64, report: &mut Report) {
    if peers.is_empty() {
        return;
    }
    eprintln!("Neptune at the peers' work …");
    if let Ok(disk) = disk::measure() {
        report.note_conditions("Neptune", disk);
    }
    let ours = match work(Path::new(&python()), "neptune", runs) {
        Ok(measured) => measured,
        Err(error) => {
            report.fail("Neptune at the peers' work", &error);
            Measured::default()
        }
    };
    for peer in peers {
        eprintln!("peer {peer} …");
        if let Ok(disk) = disk::measure() {
            report.note_conditions(peer.name(), disk);
        }
        let theirs = environment::python_of(*peer).and_then(|python| work(&python, peer.name(), runs));
        match theirs {
            Ok(theirs) => report.compare(Comparison::new(*peer, theirs, &ours)),
            Err(error) => report.fail(&format!("peer {peer}"), &error),
        }
    }
}

/// Runs one Python file in a folder of its own, which is also its home.
fn work(python: &Path, name: &str, runs: u64) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let (home, out, log) =
        (folder.path().join("home"), folder.path().join("out.json"), folder.path().join("log"));
    fs::create_dir(&home)?;
    let said = File::create(&log)?;
    let programs = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_path_buf();
    let mut child = Command::new(python)
        .arg(PathBuf::from(FOLDER).join(format!("{name}_peer.py")))
        .arg(&out)
        .arg(runs.to_string())
        .current_dir(&home)
        .env("HOME", &home)
        .env("NEPTUNE_BIN_DIR", std::env::var_os("NEPTUNE_BIN_DIR").unwrap_or(programs.into()))
        // Nobody is told that we measure, and nothing is fetched.
        .envs([("DO_NOT_TRACK", "1"), ("MLFLOW_DISABLE_TELEMETRY", "true"), ("PYTHONWARNINGS", "ignore")])
        .stdin(std::process::Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .with_context(|| format!("start {}", python.display()))?;
    let within = WORK_WITHIN + RUN_WITHIN * u32::try_from(runs)?;
    let status = wait(&mut child, within)?;
    let tail = || tail(&fs::read_to_string(&log).unwrap_or_default());
    match status {
        Some(status) => ensure!(status.success(), "{name}_peer.py ended with {status}: {}", tail()),
        None => {
            // Its server ends with it, so it is asked first.
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
            if wait(&mut child, ENDS_WITHIN)?.is_none() {
                child.kill()?;
                child.wait()?;
            }
            bail!("{name}_peer.py was not done within {within:?}: {}", tail());
        }
    }
    let json = fs::read(&out).context("it wrote no figures")?;
    serde_json::from_slice(&json).context("what it wrote")
}

fn wait(child: &mut Child, within: Duration) -> Result<Option<ExitStatus>> {
    let begin = Instant::now();
    while begin.elapsed() < within {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(None)
}

/// The last lines of what a program said.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(8)..].join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_a_program_and_one_pinned_version() {
        for peer in Peer::ALL {
            let name = peer.name();
            let folder = Path::new(FOLDER);
            assert!(folder.join(format!("{name}_peer.py")).is_file(), "{name}");
            let pinned = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
            assert!(pinned.starts_with(&format!("{name}==")) && pinned.lines().count() == 1, "{pinned}");
        }
        assert!(Path::new(FOLDER).join("neptune_peer.py").is_file());
    }

    #[test]
    fn a_long_story_is_cut_to_its_end() {
        let text = (0..20).map(|i| format!("line {i}\n\n")).collect::<String>();
        assert!(tail(&text).starts_with("line 12") && tail(&text).ends_with("line 19"));
        assert_eq!(tail(""), "");
    }
}
