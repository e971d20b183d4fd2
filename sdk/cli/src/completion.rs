//! `neptune completion`: scripts for shells.

use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;

use crate::args::Args;
use crate::error::CliError;
use crate::output::Output;

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionArgs, out: &mut Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "neptune", &mut script);
    out.bytes(&script)
}
