//! Where things are: the clone, the target folder, the Python environment, the logs of the steps.
//!
//! Everything is found from what cargo says about the running binary, so a target folder outside the clone (or one
//! that several clones share) needs no setting of ours.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

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
