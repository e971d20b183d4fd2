//! A peer's Python environment: made once for the version that is pinned, below the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{FOLDER, Peer, tail};

/// The Python of a peer's environment, which is made if it is not there or holds another version.
pub(super) fn python_of(peer: Peer) -> Result<PathBuf> {
    let pins = Path::new(FOLDER).join(format!("{peer}.txt"));
    let pinned = fs::read_to_string(&pins).with_context(|| format!("{}", pins.display()))?;
    let folder = target()?.join("bench-peers").join(peer.name());
    let (python, stamp) = (folder.join("bin/python"), folder.join(".pinned"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == pinned) {
        return Ok(python);
    }
    eprintln!("  pip install {} into {} …", pinned.trim(), folder.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]);
    run(pip.arg(&pins))?;
    fs::write(&stamp, pinned)?;
    Ok(python)
}

/// The folder that cargo builds into.
fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).context("cargo puts programs two folders below its target")?;
    Ok(folder.to_owned())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it cannot be installed: {}", tail(&said));
    Ok(())
}
