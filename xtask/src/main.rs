//! Set-up, builds, serve, test, bench, verify: one command each, one file each.
//!
//! Every command finds out by itself what is missing and does only that. Progress goes to stderr, results to stdout.
//! Does not know: the insides of what it builds; it starts the same commands a person would.

mod arrows;
mod bench;
mod debian;
mod dependencies;
mod house;
mod native;
mod place;
mod python;
mod report;
mod serve;
mod server;
mod setup;
mod stamp;
mod step;
mod test;
mod verify;
mod wasm_toolchain;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::place::Place;

const USAGE: &str = "\
cargo xtask COMMAND

  serve [--no-example] [--data DIR] [SERVER OPTIONS]
                          set up, build, serve until Ctrl-C; an example job runs on the first start
  test [--long] [FILTER]  set up, build, run every test; --long: full counts, sizes and durations
  verify                  format, lints, documentation, dependencies; warnings are errors
  bench [ROWS] [OPTIONS]  build and run the benchmark of the speed targets
  setup                   only set up and build
  web                     only the web page, into web-ui/dist
  python                  only the Python module, into .venv

What is done is skipped. NEPTUNE_WASM_TOOLCHAIN=rustup|debian chooses the compiler for WebAssembly.
";

fn main() -> ExitCode {
    match run(Parser::from_env()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; answers whether what it checked is good.
fn run(mut arguments: Parser) -> Result<bool> {
    // Wherever it stands: nobody who asks for help wants a build first.
    if std::env::args_os().any(|argument| argument == "--help" || argument == "-h") {
        step::say(USAGE);
        return Ok(true);
    }
    let verb = match arguments.next()? {
        Some(Arg::Value(verb)) => verb.string()?,
        Some(other) => return Err(other.unexpected().into()),
        None => bail!("a command is missing\n\n{USAGE}"),
    };
    let place = Place::find()?;
    place.take_over(std::env::args_os().skip(1))?;
    match verb.as_str() {
        "serve" => serve::run(&place, &serve::Options::read(arguments.raw_args()?, &place.root)?)?,
        "bench" => bench::run(&place, arguments.raw_args()?)?,
        "test" => {
            let mut options = test::Options::default();
            while let Some(argument) = arguments.next()? {
                match argument {
                    Arg::Long("long") => options.long = true,
                    Arg::Value(filter) if options.filter.is_none() => options.filter = Some(filter.string()?),
                    other => return Err(other.unexpected().into()),
                }
            }
            return Ok(test::run(&place, &options));
        }
        "verify" => {
            nothing_more(&mut arguments)?;
            return Ok(verify::run(&place));
        }
        "setup" => {
            nothing_more(&mut arguments)?;
            setup::testing(&place)?;
            setup::serving(&place)?;
        }
        "web" => {
            nothing_more(&mut arguments)?;
            web::build(&place, &setup::building(&place)?)?;
        }
        "python" => {
            nothing_more(&mut arguments)?;
            setup::building(&place)?;
            python::module(&place)?;
        }
        other => bail!("there is no command \"{other}\"\n\n{USAGE}"),
    }
    Ok(true)
}

fn nothing_more(arguments: &mut Parser) -> Result<()> {
    match arguments.next()? {
        Some(other) => Err(other.unexpected().into()),
        None => Ok(()),
    }
}
