//! placeholder
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {}
pub(crate) fn run(_args: &LogsArgs, _global: &Global, _out: &mut Output) -> Result<(), CliError> {
    Ok(())
}
