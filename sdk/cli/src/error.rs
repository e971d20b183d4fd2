//! What a person is told when a verb does not succeed, and the exit status.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use neptune_client::rest::RestError;
use neptune_wire::problem::Code;

/// Wrong usage: the person who typed it can mend it.
const USAGE: u8 = 2;

/// Why a verb did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// What was typed or written cannot be meant; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// Neptune, the server or the disk refuses.
    #[error("{0}")]
    Refused(String),
    /// The server's answer, or none.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// A signal came before there was anything to end.
    #[error("interrupted before the program was started")]
    Interrupted(i32),
    /// Standard output was closed by its reader; there is nobody to tell.
    #[error("standard output is closed")]
    OutputClosed,
}

impl CliError {
    pub(crate) fn usage(error: impl Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub(crate) fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }

    /// A file or folder and what the disk said.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Refused(format!("{}: {error}", path.display()))
    }

    /// Tells it on standard error; answers the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if !matches!(self, Self::OutputClosed) {
            say(format_args!("{self}"));
            if let Some(remedy) = self.remedy() {
                say(remedy);
            }
        }
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            // As other tools do at the end of a pipe that `head` closed.
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Interrupted(signal) => ExitCode::from(128 + *signal as u8),
            Self::Refused(_) | Self::Rest(_) => ExitCode::FAILURE,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        let Self::Rest(error) = self else { return None };
        match error {
            RestError::Unreachable { .. } => {
                Some("start one with `neptune server`, or name another with --server URL or NEPTUNE_URL")
            }
            RestError::Protocol { .. } => {
                Some("check the address: --server URL, NEPTUNE_URL, or `neptune login`")
            }
            _ => match error.code()? {
                Code::Unauthorized => Some("sign in with `neptune login`, or set NEPTUNE_TOKEN"),
                Code::UnknownJob => Some("`neptune ls` lists the jobs there are"),
                Code::JobDeleted => Some("`neptune ls --deleted` lists those that can be restored"),
                Code::UnknownProject => Some("`neptune project ls` lists the projects there are"),
                _ => None,
            },
        }
    }
}

impl From<io::Error> for CliError {
    /// An error of standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Refused(format!("standard output: {error}")),
        }
    }
}

/// Says one thing to the person, on standard error, each line with Neptune's name before it.
pub(crate) fn say(text: impl Display) {
    let mut lines = String::new();
    for line in text.to_string().lines() {
        lines.push_str("neptune: ");
        lines.push_str(line);
        lines.push('\n');
    }
    // Standard error may be closed; there is nobody left to tell then.
    let _ = io::stderr().write_all(lines.as_bytes());
}
