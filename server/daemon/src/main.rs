//! `neptune-server`: configuration, wiring, signals and telemetry around the engine and its face.
//!
//! The only program that picks a backend. `config.rs` is the one list of settings, `run.rs` the life of a server,
//! `token.rs`, `check.rs`, `backup.rs` and `restore.rs` the verbs that end by themselves; `attendant.rs` is how one of them asks
//! a server that runs.
//!
//! Does not know what a request, a job or a point is.

mod config;
mod setting;

mod attendant;
mod backup;
mod check;
mod restore;
mod run;
mod store;
mod telemetry;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use crate::config::{Config, Origins};

/// What the exit status 2 means, here and everywhere: the command line or the configuration is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let (config, origins) = match config::gather(&matches) {
        Ok(gathered) => gathered,
        Err(error) => return fail(USAGE, &error.into()),
    };
    match dispatch(&matches, &config, &origins) {
        Ok(code) => code,
        Err(error) => fail(1, &error),
    }
}

fn dispatch(matches: &ArgMatches, config: &Config, origins: &Origins) -> anyhow::Result<ExitCode> {
    if matches.get_flag("print-config") {
        say(&config::print(config, origins))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(("token", token)) = matches.subcommand()
        && let Some(("create", create)) = token.subcommand()
    {
        let name = create.get_one::<String>("name").expect("it has a default");
        return token::create(config, name).map(|()| ExitCode::SUCCESS);
    }
    if matches.subcommand_matches("check").is_some() {
        return check::check(config);
    }
    if let Some(("backup", backup)) = matches.subcommand() {
        return backup::backup(config, backup.get_one::<PathBuf>("to").expect("it is required"));
    }
    if let Some(("restore", restore)) = matches.subcommand() {
        let from = restore.get_one::<PathBuf>("from").expect("it is required");
        let leaves_out = restore.get_flag("without-damaged");
        let damaged = if leaves_out { restore::Damaged::LeftOut } else { restore::Damaged::Refused };
        return restore::restore(config, from, damaged);
    }
    run::run(config)
}

fn command() -> Command {
    let print = Arg::new("print-config")
        .long("print-config")
        .action(clap::ArgAction::SetTrue)
        .help("Print every setting, its value and where the value came from, and stop");
    let name =
        Arg::new("name").long("name").default_value("administrator").help("Whose token it is, for people");
    let create = Command::new("create")
        .about("Make an administrator's token and print it, once; the server must be stopped")
        .arg(name);
    let token = Command::new("token").about("Tokens").subcommand_required(true).subcommand(create);
    let check = Command::new("check")
        .about("Read everything that is kept and print what is damaged; the server must be stopped");
    let folder = |name: &'static str, help: &'static str| {
        let parser = clap::value_parser!(PathBuf);
        Arg::new(name).long(name).value_name("DIR").required(true).value_parser(parser).help(help)
    };
    let backup = Command::new("backup")
        .about("Copy everything that is kept, as of now, into a folder; the server may run")
        .arg(folder("to", "Where to; files that are there from a backup before are not copied again"));
    let restore = Command::new("restore")
        .about("Make the data folder of a backup; --data must name an empty or a new one")
        .arg(folder("from", "The folder of the backup"))
        .arg(Arg::new("without-damaged").long("without-damaged").action(clap::ArgAction::SetTrue).help(
            "Leave out files of sources and images that are damaged, and name them; exit status 1 then",
        ));
    Command::new("neptune-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps and serves Neptune's jobs")
        .after_help(
            "Each setting can also stand in the file given by --config (same name with '_') or in the environment \
             (NEPTUNE_SERVER_ and the name in capitals; several values separated by commas). A flag beats the \
             environment, the environment beats the file.",
        )
        .args(config::arguments())
        .arg(print)
        .subcommand(token)
        .subcommand(check)
        .subcommand(backup)
        .subcommand(restore)
}

/// Prints data for whoever called: the one thing that goes to standard output.
fn say(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(text.as_bytes())
}

/// Says what whoever called should know besides.
#[expect(clippy::print_stderr, reason = "verbs that end by themselves write no log")]
fn note(text: &str) {
    eprintln!("neptune-server: {text}");
}

/// Says what went wrong, with its causes, and answers the exit status.
fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    note(&format!("{error:#}"));
    ExitCode::from(code)
}
