//! What can be typed: global flags and verbs.

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Neptune: every experiment is a job, registered while it runs and watched live.
#[derive(Debug, Parser)]
#[command(name = "neptune", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit status: `run` has its program's; otherwise 0, 1 when Neptune or the server refuses, 2 for \
                        wrong usage."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// Address of the server [default: the one of `neptune login`, else http://127.0.0.1:8420]
    #[arg(long, global = true, value_name = "URL", env = "NEPTUNE_URL", help_heading = "Everywhere")]
    pub(crate) server: Option<String>,
    /// Print data as JSON
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Register a program as a job and run it here
    Run(Box<crate::run::RunArgs>),
    /// List jobs, newest first
    #[command(visible_alias = "list")]
    Ls(crate::ls::LsArgs),
    /// Show everything about a job
    Show(crate::show::ShowArgs),
    /// Print what a job printed, or the lines of a text channel
    Logs(crate::logs::LogsArgs),
    /// End jobs that run
    Abort(crate::abort::AbortArgs),
    /// Delete jobs; for a time they can be restored
    Delete(crate::delete::DeleteArgs),
    /// Bring deleted jobs back
    Restore(crate::restore::RestoreArgs),
    /// Write whole projects or jobs into a folder, as Parquet and files
    Export(crate::export::ExportArgs),
    /// Take in a folder that `export` wrote
    Import(crate::import::ImportArgs),
    /// Upload what waits on this machine
    Sync(crate::sync::SyncArgs),
    /// Start a server (neptune-server)
    Server(crate::server::ServerArgs),
    /// Add or remove tags of a job
    Tag(crate::tag::TagArgs),
    /// Change a job's properties, name or description
    Set(crate::set::SetArgs),
    /// List and create projects
    Project(crate::project::ProjectArgs),
    /// Write a job's source snapshot into a folder
    Checkout(crate::checkout::CheckoutArgs),
    /// Compare the parameters and sources of two jobs
    Diff(crate::diff::DiffArgs),
    /// Remember a server and its token
    Login(crate::login::LoginArgs),
    /// Show which server is used and how it is entered
    Whoami,
    /// Print a script that completes commands in a shell
    Completion(crate::completion::CompletionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Args::command().debug_assert();
    }
}
