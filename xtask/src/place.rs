//! Where things are: the clone, the target folder, the Python environment, the logs of the steps.
//!
//! Everything is found from what cargo says about the running binary, so a target folder outside the clone (or one
//! that several clones share) needs no setting of ours.
//!
//! Clones that share a target folder share what is built there, our own crates too: cargo takes one clone's crate for
//! another's as long as the other's files are older than it. [`Place::take_over`] prevents that.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::{stamp, step};

/// Set for a command that [`Place::take_over`] has started again.
const TAKEN_OVER: &str = "NEPTUNE_XTASK_TAKEN_OVER";

/// The folders one run of `cargo xtask` works in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The clone: the folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Logs of the steps, one file each, overwritten by the next run.
    pub(crate) logs: PathBuf,
}

impl Place {
    /// Reads the place from the environment that `cargo run` prepares.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").context("start this program as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask lies in the workspace")?.to_path_buf();
        let program = env::current_exe().context("the path of the running program")?;
        // TARGET/PROFILE/xtask
        let target = program.ancestors().nth(2).context("the target folder")?.to_path_buf();
        let logs = target.join("xtask-logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("{}", logs.display()))?;
        Ok(Self { root, target, logs })
    }

    /// Makes sure that what lies in the target folder is built from this clone's sources: if another clone used it last,
    /// dates them now, so that cargo builds them. Where this very program is the other's, starts the command again.
    ///
    /// # Errors
    ///
    /// If a file cannot be dated or written, or cargo not started.
    pub(crate) fn take_over(&self, arguments: impl Iterator<Item = OsString>) -> Result<()> {
        let mark = self.target.join("xtask-clone");
        let ours = self.root.as_os_str().as_encoded_bytes();
        let last = fs::read(&mark).ok();
        let is_foreign = Path::new(env!("CARGO_MANIFEST_DIR")).parent() != Some(&self.root);
        if is_foreign && env::var_os(TAKEN_OVER).is_some() {
            bail!("{} keeps another clone's xtask; `cargo clean` mends it", self.target.display());
        }
        if is_foreign || last.as_ref().is_some_and(|last| last != ours) {
            step::say(&format!(
                "  another clone was built in {}: this one is built anew",
                self.target.display()
            ));
            for file in stamp::files(&self.root)? {
                if file.extension().is_some_and(|extension| extension == "rs") {
                    let dated = File::options().append(true).open(&file);
                    let dated = dated.and_then(|file| file.set_modified(SystemTime::now()));
                    dated.with_context(|| format!("{}", file.display()))?;
                }
            }
        }
        if last.as_deref() != Some(ours) {
            fs::write(&mark, ours).with_context(|| format!("{}", mark.display()))?;
        }
        if is_foreign {
            let error = self.cargo("xtask").args(arguments).env(TAKEN_OVER, "1").exec();
            return Err(error).context("cannot start cargo");
        }
        Ok(())
    }

    /// The place of this source file's own clone, for tests that read the repository.
    #[cfg(test)]
    pub(crate) fn of_this_source() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Self { logs: target.join("xtask-logs"), root, target }
    }

    /// The project's Python environment, in the clone.
    pub(crate) fn venv(&self) -> PathBuf {
        self.root.join(".venv")
    }

    /// A program of the Python environment.
    pub(crate) fn venv_program(&self, name: &str) -> PathBuf {
        self.venv().join("bin").join(name)
    }

    /// A program that cargo built in the release profile.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A cargo command in the clone, in the environment a person's own shell would give it.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg(verb).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Any command in the clone, without what `cargo run` added for this program.
    ///
    /// Left alone, those variables would make build scripts run again each time a person's own `cargo build` and ours
    /// take turns. With ccache on the machine, `cc` and `c++` are found through it; that goes by PATH, not by `CC`,
    /// for the same reason.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let added = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_")
                    || name.starts_with("CARGO_MANIFEST_")
                    || name == "CARGO_BIN_NAME"
            });
            if added {
                command.env_remove(name);
            }
        }
        match without(env::var_os("LD_LIBRARY_PATH"), |folder| {
            folder.starts_with(&self.target)
                || folder.iter().any(|part| part == "rustlib" || part == "toolchains")
        }) {
            Some(rest) => command.env("LD_LIBRARY_PATH", rest),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
        let ccache = self.ccache_folder();
        if ccache.is_dir() {
            let path = env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(ccache).chain(env::split_paths(&path));
            if let Ok(joined) = env::join_paths(folders) {
                command.env("PATH", joined);
            }
        }
        command
    }

    /// Links named like the compilers that lead to ccache; made by set-up where ccache is installed.
    pub(crate) fn ccache_folder(&self) -> PathBuf {
        self.target.join("ccache-bin")
    }
}

/// A list of folders without those that match; nothing if none is left.
fn without(list: Option<OsString>, matches: impl Fn(&Path) -> bool) -> Option<OsString> {
    let kept: Vec<PathBuf> = env::split_paths(&list?).filter(|folder| !matches(folder)).collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

/// The first program of this name in PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
