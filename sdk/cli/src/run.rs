//! `neptune run`: a program becomes a job and runs here.

mod levels;
mod talk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use neptune_client::Notices;
use neptune_client::environment::spool_root;
use neptune_runner::launch::{LaunchSettings, Launched, launch};
use neptune_runner::plan::{Plan, PlanSettings};
use neptune_runner::program::Surroundings;
use neptune_runner::snapshot::SIZE_LIMIT_BYTES;
use neptune_runner::{params::Given, signals};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target;
use talk::Talk;

/// Parameters and the program's arguments, as `--help` explains them.
const AFTER_HELP: &str = "\
Parameters:
  Where the job file declares a list of parameters {name, type, required, default, description}, everything
  after -- is theirs: `-- --amplitude 5 --sampling_rate 2.5`. They are checked before anything is registered;
  the program reads them as ctx.params and gets no arguments of its own.
  Where it declares a map of names to values, or nothing, everything after -- goes to the program as it is;
  a declared name among it is recorded as that parameter's value. -p NAME:VALUE sets a parameter in both.

Job file (--config, else neptune.yaml, neptune.yml, .neptune.yaml or .neptune.yml in this folder):
  name, description, project, project-key, tags, properties, parameters, metric, exclude, paths-to-copy,
  storage, executable, command, log-channels, disable-stdout-channel, disable-stderr-channel.
  The command line wins over the environment (NEPTUNE_PROJECT), over the job file, over ~/.neptune.yaml;
  lists are united, properties merged.

A project named by its name is created on first use, its key made of the name's first eight letters and digits.
Without a project a job goes to SANDBOX. Python is NEPTUNE_PYTHON, else the active environment, else the one
`neptune` is installed in, else python3. Standard input reaches the program from a pipe or a file; on a terminal it
is empty, and the program has no terminal to ask for a password. Ctrl-C lets the program end, and kills it after
ten seconds or when pressed again; once it has ended, Ctrl-C leaves what is not sent yet to `neptune sync`.";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct RunArgs {
    /// The program: a Python, R, Julia, Java or shell file, or an executable [default: main.py]
    main: Option<PathBuf>,
    /// Arguments of the program
    #[arg(value_name = "ARGUMENTS")]
    before: Vec<String>,
    /// Parameters or arguments of the program
    #[arg(last = true, value_name = "PARAMETERS")]
    after: Vec<String>,
    /// Job file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the job [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// What the job is about
    #[arg(long)]
    description: Option<String>,
    /// Project, by name or key
    #[arg(long, env = "NEPTUNE_PROJECT")]
    project: Option<String>,
    /// Tag of the job (repeatable)
    #[arg(long = "tag", value_name = "TAG")]
    tag: Vec<neptune_wire::Tag>,
    /// Tags of the job, separated by blanks
    #[arg(long, value_name = "TAG", num_args = 1.., hide_short_help = true)]
    tags: Vec<neptune_wire::Tag>,
    /// Property of the job (repeatable)
    #[arg(long = "property", value_name = "KEY:VALUE", value_parser = crate::set::parse_property)]
    properties: Vec<(String, String)>,
    /// Parameter (repeatable); a value in "quotes" is a text
    #[arg(long = "parameter", short = 'p', value_name = "NAME:VALUE[:DESCRIPTION]")]
    parameters: Vec<String>,
    /// Leave out of the snapshot, in the syntax of .gitignore (repeatable)
    #[arg(long, short = 'x', value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Make a numeric channel of the numbers printed after a text (repeatable)
    #[arg(long = "log-channel", alias = "log-channels", short = 'l', value_name = "PREFIX[:NAME]")]
    log_channels: Vec<String>,
    /// Run in a copy made below this folder
    #[arg(long = "dump-dir-url", visible_aliases = ["storage", "storage-url"], value_name = "DIR")]
    storage: Option<String>,
    /// Run in a copy below ~/.neptune
    #[arg(long, conflicts_with = "storage")]
    snapshot: bool,
    /// Snapshot only the program and these files or folders
    #[arg(long = "paths-to-copy", alias = "paths-to-dump", value_name = "PATH", num_args = 1.., hide_short_help = true)]
    paths: Vec<PathBuf>,
    /// The program, where it is not Python
    #[arg(long, value_name = "FILE", conflicts_with = "main", hide_short_help = true)]
    executable: Option<PathBuf>,
    /// Largest snapshot, such as 2GB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    snapshot_limit: Option<u64>,
    /// Standard output becomes no channel
    #[arg(long, hide_short_help = true)]
    disable_stdout_channel: bool,
    /// Standard error becomes no channel
    #[arg(long, hide_short_help = true)]
    disable_stderr_channel: bool,
    /// Do not ask the server; everything waits for `neptune sync`
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    old: levels::OldFlags,
}

pub(crate) fn run(args: RunArgs, global: &Global, out: &mut Output) -> ExitCode {
    match try_run(args, global) {
        Ok(launched) => {
            if out.json {
                // The program's own output came before; this is the last line.
                let _ = out.json(&serde_json::json!({
                    "id": launched.id, "exit": launched.exit, "status": launched.status
                }));
            }
            ExitCode::from(launched.status)
        }
        Err(error) => error.report(),
    }
}

fn try_run(args: RunArgs, global: &Global) -> Result<Launched, CliError> {
    let folder = std::env::current_dir().map_err(|error| CliError::usage(format!("this folder: {error}")))?;
    let config = levels::config(&args, &folder)?;
    let access = target::access(global, &config)?;
    let offline = args.offline;
    let given = Given { parameters: args.parameters, arguments: [args.before, args.after].concat() };
    let plan = Plan::make(PlanSettings {
        config,
        main: args.main.or(args.executable),
        given,
        surroundings: Surroundings::of_process(&folder),
        snapshot_limit_bytes: args.snapshot_limit.unwrap_or(SIZE_LIMIT_BYTES),
        spool_root: spool_root(),
    })
    .map_err(CliError::usage)?;
    // Until here there is nothing to end but this process.
    let signals = signals::watch().map_err(CliError::refused)?;
    plan.notes.iter().for_each(say);
    let talk = Talk::new();
    let notices = Notices::to(|notice| say(notice));
    let settings = LaunchSettings { access, offline, spool_root: spool_root(), notices };
    let launched = talk.listen(|tell| launch(plan, &settings, signals, tell));
    launched.map_err(talk::error)
}

/// Reads `500MB`, `2 GiB`, `1048576`; MB and MiB are the same here.
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("must be a size such as 500MB or 2GB".into()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    size.ok_or_else(|| "must be a size such as 500MB or 2GB".into())
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("1048576"), Ok(1 << 20));
        assert_eq!(parse_size("500MB"), Ok(500 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("3k"), Ok(3 << 10));
        for wrong in ["", "GB", "-1", "1.5GB", "5 apples", "99999999999999TB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
