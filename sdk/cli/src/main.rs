//! The command line `neptune`: one file per verb.
//!
//! Standard output is data, standard error is talk. Exit status: `run` has its program's; else 0, 1 for a refusal or a
//! missing server, 2 for what the person who typed it can mend. To add a verb: a file here, a line in [`args::Verb`], an arm in
//! `main`.
//!
//! It does not know how a program is run, how points travel, or that a database exists.

mod args;
mod error;
mod output;
mod parcel;
mod size;
mod tables;
mod target;
mod time;

mod abort;
mod checkout;
mod completion;
mod delete;
mod diff;
mod export;
mod import;
mod login;
mod logs;
mod ls;
mod project;
mod restore;
mod retention;
mod run;
mod server;
mod set;
mod show;
mod sync;
mod tag;
mod whoami;

use std::process::ExitCode;

use args::{Args, Verb};
use clap::Parser;
use output::Output;

fn main() -> ExitCode {
    let Args { global, verb } = Args::parse();
    let mut out = Output::open(&global);
    let ended = match verb {
        Verb::Run(run) => return run::run(*run, &global, &mut out),
        Verb::Ls(ls) => ls::run(&ls, &global, &mut out),
        Verb::Show(show) => show::run(&show, &global, &mut out),
        Verb::Logs(logs) => logs::run(&logs, &global, &mut out),
        Verb::Abort(abort) => abort::run(&abort, &global, &mut out),
        Verb::Delete(delete) => delete::run(&delete, &global, &mut out),
        Verb::Restore(restore) => restore::run(&restore, &global, &mut out),
        Verb::Export(export) => export::run(&export, &global, &mut out),
        Verb::Import(import) => import::run(&import, &global, &mut out),
        Verb::Sync(sync) => sync::run(&sync, &global, &mut out),
        Verb::Server(server) => server::run(&server),
        Verb::Tag(tag) => tag::run(&tag, &global, &mut out),
        Verb::Set(set) => set::run(&set, &global, &mut out),
        Verb::Project(project) => project::run(&project, &global, &mut out),
        Verb::Checkout(checkout) => checkout::run(&checkout, &global, &mut out),
        Verb::Diff(diff) => diff::run(&diff, &global, &mut out),
        Verb::Login(login) => login::run(&login, &global, &mut out),
        Verb::Whoami => whoami::run(&global, &mut out),
        Verb::Completion(completion) => completion::run(&completion, &mut out),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
