//! The contract between a runner and the program it starts: environment variables, and where spools live.
//!
//! A program that finds [`ONLINE_CONTEXT`] = `yes` belongs to a job. Without [`TOKEN`] the job could not be registered
//! yet: the program writes into [`SPOOL_DIR`], and `neptune sync` uploads it later.

use std::ffi::OsString;
use std::path::PathBuf;

use neptune_wire::id::IdError;
use neptune_wire::{AttemptNumber, JobRef};

use crate::rest::Access;

/// `yes` in every program that a runner starts.
pub const ONLINE_CONTEXT: &str = "NEPTUNE_ONLINE_CONTEXT";
/// Address of the server, such as `http://127.0.0.1:8420`.
pub const URL: &str = "NEPTUNE_URL";
/// The job: its uid, or its id.
pub const JOB_ID: &str = "NEPTUNE_JOB_ID";
/// Number of the attempt; absent until the job was claimed.
pub const ATTEMPT: &str = "NEPTUNE_ATTEMPT";
/// Bearer token of the attempt; absent until the job was claimed.
pub const TOKEN: &str = "NEPTUNE_TOKEN";
/// This job's folder ([`crate::JobFolder`]); for `neptune run` and `neptune sync` the root of all of them.
pub const SPOOL_DIR: &str = "NEPTUNE_SPOOL_DIR";
/// Path of the job's `job.json` ([`crate::folder::JobFile`]): params and so on, without asking the network.
pub const JOB_FILE: &str = "NEPTUNE_JOB_FILE";

/// What a runner told this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Server and token; absent when the job is not registered yet.
    pub access: Option<Access>,
    /// The job.
    pub job: JobRef,
    /// Which try; 1 when nothing is said.
    pub attempt: AttemptNumber,
    /// The job's folder.
    pub spool_dir: PathBuf,
    /// The job's `job.json`.
    pub job_file: Option<PathBuf>,
}

/// A variable that a runner would not have set so.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// It must be there when the context is online.
    #[error("{name} is not set, though {ONLINE_CONTEXT} is; start the program with `neptune run`")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// It is no UTF-8.
    #[error("{name} is no UTF-8 text")]
    Encoding {
        /// The variable.
        name: &'static str,
    },
    /// The job's name is none.
    #[error("{JOB_ID}: {0}")]
    Job(#[from] IdError),
    /// The attempt is no number from 1.
    #[error("{ATTEMPT} is {found:?}, it must be a whole number from 1")]
    Attempt {
        /// As it was set.
        found: String,
    },
}

impl Environment {
    /// Reads this process's environment; `None` when no runner started it.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`] with the variable that is missing or wrong.
    pub fn read() -> Result<Option<Self>, EnvironmentError> {
        Self::read_from(std::env::var_os)
    }

    /// Reads an environment given as a function.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_from(
        find: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Option<Self>, EnvironmentError> {
        let text = |name| {
            let value = find(name).filter(|value| !value.is_empty());
            value
                .map(|value| value.into_string().map_err(|_| EnvironmentError::Encoding { name }))
                .transpose()
        };
        let required = |name| text(name)?.ok_or(EnvironmentError::Missing { name });
        if text(ONLINE_CONTEXT)?.as_deref() != Some("yes") {
            return Ok(None);
        }
        let attempt = match text(ATTEMPT)? {
            None => 1,
            Some(found) => {
                found.parse().ok().filter(|number| *number > 0).ok_or(EnvironmentError::Attempt { found })?
            }
        };
        let access = match text(TOKEN)? {
            Some(token) => Some(Access { url: required(URL)?, token: Some(token) }),
            None => None,
        };
        Ok(Some(Self {
            access,
            job: required(JOB_ID)?.parse()?,
            attempt: AttemptNumber(attempt),
            spool_dir: find(SPOOL_DIR)
                .map(PathBuf::from)
                .ok_or(EnvironmentError::Missing { name: SPOOL_DIR })?,
            job_file: find(JOB_FILE).map(PathBuf::from),
        }))
    }

    /// The variables to set in a program so that it reads this again.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            (ONLINE_CONTEXT, "yes".into()),
            (JOB_ID, self.job.to_string().into()),
            (ATTEMPT, self.attempt.to_string().into()),
            (SPOOL_DIR, self.spool_dir.clone().into()),
        ];
        if let Some(Access { url, token }) = &self.access {
            variables.push((URL, url.into()));
            variables.extend(token.iter().map(|token| (TOKEN, token.into())));
        }
        variables.extend(self.job_file.iter().map(|path| (JOB_FILE, path.clone().into())));
        variables
    }
}

/// Where job folders wait unless told otherwise: [`SPOOL_DIR`], else `${XDG_STATE_HOME:-~/.local/state}/neptune/spool`, and
/// [`last_spool_root`] for a user without a home.
///
/// Inside a program that a runner started the variable names that job's own folder; a runner inside a runner asks for
/// [`spool_root_from`] with its own lookup.
pub fn spool_root() -> PathBuf {
    spool_root_from(|name| std::env::var_os(name))
}

/// [`spool_root`] of an environment given as a function.
pub fn spool_root_from(find: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name| find(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(spool) = path(SPOOL_DIR) {
        // A runner started by a program of another job must not put its folder inside that job's folder.
        return match find(ONLINE_CONTEXT).is_some_and(|value| value == "yes") {
            true => spool.parent().map(PathBuf::from).unwrap_or(spool),
            false => spool,
        };
    }
    let state = path("XDG_STATE_HOME").or_else(|| path("HOME").map(|home| home.join(".local/state")));
    state.map_or_else(last_spool_root, |state| state.join("neptune/spool"))
}

/// Where job folders wait that [`spool_root`] does not take: `neptune-spool-<uid>` in the folder for temporary files, as
/// all users of a machine share that.
pub fn last_spool_root() -> PathBuf {
    std::env::temp_dir().join(format!("neptune-spool-{}", nix::unistd::geteuid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &str)]) -> Result<Option<Environment>, EnvironmentError> {
        Environment::read_from(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn what_a_runner_sets_is_read_again() {
        let environment = Environment {
            access: Some(Access { url: "http://127.0.0.1:8420".into(), token: Some("secret".into()) }),
            job: "TRIG-12".parse().unwrap(),
            attempt: AttemptNumber(2),
            spool_dir: "/tmp/spool/x".into(),
            job_file: Some("/tmp/spool/x/job.json".into()),
        };
        for access in [environment.access.clone(), None] {
            let environment = Environment { access, ..environment.clone() };
            let variables = environment.variables();
            let found = Environment::read_from(|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone())
            });
            assert_eq!(found.unwrap(), Some(environment));
        }
    }

    #[test]
    fn a_program_without_a_runner_has_no_context() {
        assert_eq!(read(&[(JOB_ID, "TRIG-1")]).unwrap(), None);
        assert_eq!(read(&[(ONLINE_CONTEXT, "")]).unwrap(), None);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let with = |more: &[(&'static str, &str)]| {
            let mut all = vec![(ONLINE_CONTEXT, "yes"), (SPOOL_DIR, "/tmp/x")];
            all.extend(more);
            read(&all).unwrap_err().to_string()
        };
        assert!(with(&[]).contains(JOB_ID));
        assert!(with(&[(JOB_ID, "nonsense")]).contains("TRIG-12"));
        assert!(with(&[(JOB_ID, "TRIG-1"), (ATTEMPT, "0")]).contains("from 1"));
        assert!(with(&[(JOB_ID, "TRIG-1"), (TOKEN, "x")]).contains(URL));
    }

    #[test]
    fn the_spool_lies_in_the_state_folder() {
        let root = |variables: &[(&str, &str)]| {
            spool_root_from(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        assert_eq!(root(&[("HOME", "/h")]), PathBuf::from("/h/.local/state/neptune/spool"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), PathBuf::from("/s/neptune/spool"));
        assert_eq!(root(&[(SPOOL_DIR, "/p")]), PathBuf::from("/p"));
        assert_eq!(root(&[]), last_spool_root());
        assert_eq!(root(&[(SPOOL_DIR, "/p/job"), (ONLINE_CONTEXT, "yes")]), PathBuf::from("/p"));
    }
}
