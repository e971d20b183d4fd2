//! `neptune server`: becomes the neptune-server that is installed beside this program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::error::CliError;

/// The server's program.
const SERVER: &str = "neptune-server";

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ServerArgs {
    /// Passed on to neptune-server; `neptune server --help` shows what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Answers only when the server cannot be started: else this process is the server.
pub(crate) fn run(args: &ServerArgs) -> Result<(), CliError> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(SERVER)));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(SERVER));
    let error = Command::new(&program).args(&args.arguments).exec();
    let place = program.display();
    Err(CliError::refused(match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{SERVER} is neither beside `neptune` nor in PATH; install it there")
        }
        _ => format!("{place}: {error}"),
    }))
}
