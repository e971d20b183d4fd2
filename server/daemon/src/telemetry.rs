//! What the server says while it runs: one line per event on standard error, as text or JSON; panics are events, too.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Whether the directives can be used.
pub(crate) fn check_directives(directives: &str) -> Result<(), String> {
    EnvFilter::try_new(directives).map(drop).map_err(|error| {
        format!("{directives:?} must be error, warn, info, debug, or directives such as neptune_http=debug,info ({error})")
    })
}

/// Begins to log.
pub(crate) fn start(config: &Config) {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic ends one request or task, never the server; its line says where to look.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no message)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(message, place, thread = std::thread::current().name(), %backtrace, "panic");
}
