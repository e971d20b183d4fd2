//! Set-up, builds, serve, test, bench, verify: one command each, one file each.
//!
//! Every command finds out by itself what is missing and does only that. Progress goes to stderr.
//! Does not know: the insides of what it builds; it starts the same commands a person would.

mod debian;
mod place;
mod setup;
mod stamp;
mod step;
mod wasm_toolchain;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::{Arg, Parser};

use crate::place::Place;

const USAGE: &str = "\
cargo xtask COMMAND

  web                   build the web page into web-ui/dist
";

fn main() -> ExitCode {
    match run(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Parser) -> Result<()> {
    let verb = match arguments.next()? {
        Some(Arg::Value(verb)) => verb.to_string_lossy().into_owned(),
        Some(Arg::Short('h') | Arg::Long("help")) | None => {
            step::say(USAGE);
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    let place = Place::find()?;
    match verb.as_str() {
        "web" => {
            if let Some(other) = arguments.next()? {
                return Err(other.unexpected().into());
            }
            setup::ccache(&place)?;
            setup::npm(&place)?;
            web::build(&place, &setup::wasm(&place)?)
        }
        other => bail!("there is no command \"{other}\"\n\n{USAGE}"),
    }
}
