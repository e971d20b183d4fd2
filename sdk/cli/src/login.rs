//! `neptune login`: remember a server and its token.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use neptune_client::rest::{Access, Blocking, Rest};
use neptune_wire::server::AccessKind;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target::{self, Logins};

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Address of the server [default: as for every command]
    url: Option<String>,
    /// Forget the server's token
    #[arg(long)]
    forget: bool,
}

/// Asks for the token (or reads it from a pipe), tries it, and keeps it for its owner alone.
pub(crate) fn run(args: &LoginArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let file =
        Logins::file().ok_or_else(|| CliError::refused("no home folder to keep a login in; set HOME"))?;
    let global = Global { server: args.url.clone().or(global.server.clone()), ..global.clone() };
    let url = target::access(&global, &Default::default())?.url;
    let mut logins = Logins::read(&file)?;
    if args.forget {
        logins.tokens.remove(&url);
        logins.server = logins.server.filter(|server| *server != url);
    } else {
        let token = match asks_for_token(&url)? {
            true => Some(read_token()?),
            false => None,
        };
        let connection = connect(&url, token.clone())?;
        connection.wait(connection.rest().list_projects())?;
        logins.server = Some(url.clone());
        match token {
            Some(token) => logins.tokens.insert(url.clone(), token),
            None => logins.tokens.remove(&url),
        };
    }
    logins.write(&file).map_err(|error| CliError::file(&file, &error))?;
    say(format_args!("{} {url}", if args.forget { "forgot the token of" } else { "commands now go to" }));
    if out.json { out.json(&url) } else { Ok(()) }
}

fn connect(url: &str, token: Option<String>) -> Result<Blocking, CliError> {
    let rest = Rest::new(Access { url: url.into(), token }).map_err(CliError::usage)?;
    Ok(Blocking::new(rest)?)
}

fn asks_for_token(url: &str) -> Result<bool, CliError> {
    let connection = connect(url, None)?;
    Ok(connection.wait(connection.rest().read_server())?.access == AccessKind::Token)
}

/// Reads one line; what is typed does not appear.
fn read_token() -> Result<String, CliError> {
    let input = io::stdin();
    let hidden = input.is_terminal().then(|| tcgetattr(&input).ok()).flatten();
    if let Some(before) = &hidden {
        say("token (made by `neptune-server token create`; it is not shown):");
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        // A terminal that cannot be silenced shows the token; that is no reason to refuse it.
        let _ = tcsetattr(&input, SetArg::TCSANOW, &silent);
    }
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if let Some(before) = &hidden {
        let _ = tcsetattr(&input, SetArg::TCSANOW, before);
    }
    read.map_err(|error| CliError::refused(format!("standard input: {error}")))?;
    let token = line.trim();
    if token.is_empty() {
        return Err(CliError::usage("no token was given"));
    }
    Ok(token.into())
}
