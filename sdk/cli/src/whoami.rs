//! `neptune whoami`: which server is used and how it is entered.

use neptune_wire::server::{AccessKind, Server};
use serde::Serialize;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::target;

#[derive(Serialize)]
struct Whoami<'a> {
    url: &'a str,
    version: &'a str,
    access: AccessKind,
    token: bool,
    read_only: bool,
    failed: bool,
}

pub(crate) fn run(global: &Global, out: &mut Output) -> Result<(), CliError> {
    let connection = target::connect(global)?;
    let server = connection.wait(connection.rest().read_server())?;
    // A server says its version to everybody; the list of projects only to those who may enter.
    connection.wait(connection.rest().list_projects())?;
    let access = connection.rest().access();
    if out.json {
        return out.json(&Whoami {
            url: &access.url,
            version: &server.version,
            access: server.access,
            token: access.token.is_some(),
            read_only: server.read_only,
            failed: server.failed,
        });
    }
    let entered = match (server.access, &access.token) {
        (AccessKind::Open, _) => "open to everybody on its machine",
        (AccessKind::Token, Some(_)) => "entered by token",
        (AccessKind::Token, None) => "entered without a token",
    };
    let state = match &server {
        Server { failed: true, .. } => ", its storage failed: it only answers until it is started again",
        Server { read_only: true, .. } => ", its disk is full: it only answers",
        _ => "",
    };
    out.line(&format!("{} (version {}), {entered}{state}", access.url, server.version))
}
