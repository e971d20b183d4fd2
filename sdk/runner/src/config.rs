//! What can be said of a job before it runs: one struct, filled by files, environment and command line.
//!
//! Every level is a [`Config`]; [`Config::over`] lays one over another: the higher level wins, lists are united,
//! properties are merged key by key. Levels, low to high: `~/.neptune.yaml`, the job file, the environment, the
//! command line. To add a key: a field here, a line in [`Config::over`], a row in `KEYS` of `config/read.rs`.

mod find;
mod read;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use neptune_wire::job::Metric;
use neptune_wire::{ChannelName, ProjectKey, Tag};

use crate::params::Parameters;

pub use find::{JOB_FILES, find_job_file};
pub use read::expand_home;

/// One level of settings; what is absent is left to the level below.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Name of the job.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// A project's key or its name.
    pub project: Option<String>,
    /// A project's key.
    pub project_key: Option<ProjectKey>,
    /// Words that mark the job.
    pub tags: Vec<Tag>,
    /// Key and value texts.
    pub properties: BTreeMap<String, String>,
    /// Declared params.
    pub parameters: Option<Parameters>,
    /// The channel that judges the job.
    pub metric: Option<Metric>,
    /// Left out of the snapshot, in the syntax of `.gitignore`.
    pub exclude: Vec<String>,
    /// When there are any: only the main file and these are in the snapshot (the 1.x `paths-to-copy`).
    pub paths: Vec<PathBuf>,
    /// Where the job's copy is made and run; in place when absent.
    pub storage: Option<PathBuf>,
    /// The main file.
    pub executable: Option<PathBuf>,
    /// The main file and its arguments (2.x).
    pub command: Vec<String>,
    /// Numeric channels made of printed lines.
    pub log_channels: Vec<LogChannel>,
    /// Whether standard output becomes no channel.
    pub disable_stdout_channel: Option<bool>,
    /// Whether standard error becomes no channel.
    pub disable_stderr_channel: Option<bool>,
    /// The server's URL.
    pub server: Option<String>,
    /// What was read and has no effect, each with the reason.
    pub notes: Vec<String>,
}

/// A prefix that is looked for in printed lines and the numeric channel of the numbers behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChannel {
    /// Plain text, found anywhere in a line.
    pub prefix: String,
    /// The channel's name.
    pub name: ChannelName,
}

/// Why a configuration file is refused: everything that is wrong with it, not just the first thing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is refused.
    #[error("{}", Lines(file, faults))]
    Faults {
        /// Which file.
        file: PathBuf,
        /// In the order of the file; at least one.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong: where, which key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Dotted path, such as `parameters[2].type`; empty when it is about the whole file.
    pub key: String,
    /// What was wrong and what would be right.
    pub text: String,
}

struct Lines<'a>(&'a PathBuf, &'a [Fault]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.1.iter().enumerate() {
            let (file, end) = (self.0.display(), if index + 1 < self.1.len() { "\n" } else { "" });
            let key = if fault.key.is_empty() { String::new() } else { format!("{}: ", fault.key) };
            write!(f, "{file}:{}: {key}{}{end}", fault.line, fault.text)?;
        }
        Ok(())
    }
}

impl Config {
    /// Lays this level over `lower`.
    pub fn over(self, lower: Config) -> Config {
        let mut properties = lower.properties;
        // A level that names a project in either way hides both ways of the levels below.
        let (project, project_key) = match (self.project, self.project_key) {
            (None, None) => (lower.project, lower.project_key),
            named => named,
        };
        properties.extend(self.properties);
        Config {
            name: self.name.or(lower.name),
            description: self.description.or(lower.description),
            project,
            project_key,
            tags: united(lower.tags, self.tags),
            properties,
            parameters: self.parameters.or(lower.parameters),
            metric: self.metric.or(lower.metric),
            exclude: united(lower.exclude, self.exclude),
            paths: united(lower.paths, self.paths),
            storage: self.storage.or(lower.storage),
            executable: self.executable.or(lower.executable),
            command: if self.command.is_empty() { lower.command } else { self.command },
            log_channels: united(lower.log_channels, self.log_channels),
            disable_stdout_channel: self.disable_stdout_channel.or(lower.disable_stdout_channel),
            disable_stderr_channel: self.disable_stderr_channel.or(lower.disable_stderr_channel),
            server: self.server.or(lower.server),
            notes: united(lower.notes, self.notes),
        }
    }
}

fn united<T: PartialEq>(mut lower: Vec<T>, higher: Vec<T>) -> Vec<T> {
    for item in higher {
        if !lower.contains(&item) {
            lower.push(item);
        }
    }
    lower
}

impl LogChannel {
    /// Reads `PREFIX` or `PREFIX:NAME`; without a name the channel is called like the prefix.
    ///
    /// # Errors
    ///
    /// A sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (prefix, name) = match text.rsplit_once(':') {
            Some((prefix, name)) if !name.trim().is_empty() && !prefix.is_empty() => (prefix, name),
            _ => (text, text.trim_end_matches([':', '=', ' ', '\t'])),
        };
        Self::new(prefix, name)
    }

    /// Checks both halves.
    ///
    /// # Errors
    ///
    /// A sentence for the person who wrote it.
    pub fn new(prefix: &str, name: &str) -> Result<Self, String> {
        if prefix.trim().is_empty() {
            return Err("a log channel needs the text that stands before the number, such as `loss:`".into());
        }
        let name = ChannelName::new(name.trim()).map_err(|error| error.to_string())?;
        if name.is_system() {
            return Err(format!("channel name {:?}: names in sys/ belong to Neptune", name.as_str()));
        }
        Ok(Self { prefix: prefix.into(), name })
    }
}

#[cfg(test)]
mod tests;
