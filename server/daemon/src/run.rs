//! The life of a server: open, listen, tell where, tick, and end in order when asked to.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use neptune_engine::Engine;
use neptune_http::{Ended, Face, Listener, Settings, now};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::attendant::Attendant;
use crate::config::Config;
use crate::{backup, store, telemetry};

/// How often the engine is told that time has passed.
const TICK: Duration = Duration::from_secs(1);
/// Time to make durable what was taken before the server ends.
const FLUSH_TIME: Duration = Duration::from_secs(10);
/// Time for the database to be put in order and closed; whatever is left undone then is in its log.
const CLOSE_TIME: Duration = Duration::from_secs(60);
/// File descriptors below which many connections will fail.
const FILES_WANTED: u64 = 8_192;

/// Runs a server until a signal ends it.
pub(crate) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    refuse_plain_beyond_loopback(config)?;
    telemetry::start(config);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(config));
    // A thread that waits for a slow disk must not keep the process from ending at once when it is told to.
    let patience = if matches!(ended, Ok(Stopped::AtOnce)) { Duration::ZERO } else { CLOSE_TIME };
    runtime.shutdown_timeout(patience);
    match ended? {
        Stopped::InOrder => Ok(ExitCode::SUCCESS),
        Stopped::Late | Stopped::AtOnce => Ok(ExitCode::FAILURE),
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// Everything that was taken is durable.
    InOrder,
    /// Something that was taken, and not acknowledged, is not.
    Late,
    /// By a second signal.
    AtOnce,
}

async fn serve(config: &Config) -> anyhow::Result<Stopped> {
    // From here on a signal waits to be obeyed instead of ending the process.
    let mut signals = Signals::new()?;
    let engine = store::open(config).await?;
    backup::remove_draft(&config.data)?;
    if !config.is_open() && !engine.has_admin_token().await? {
        engine.stop().await;
        bail!("{}", needs_token(config));
    }
    let face = Face::new(engine.clone(), settings(config));
    let listener = Listener::bind(config.listen, &face).await?;
    let url = config.url(listener.address()?);

    let stop = CancellationToken::new();
    let ticking = tokio::spawn(tick(engine.clone(), stop.clone()));
    // Bound before the server says that it is ready: whoever waits for that may ask at once.
    let attending = tokio::spawn(attend(Attendant::bind(&config.data), engine.clone(), stop.clone()));
    let mut serving = tokio::spawn(listener.serve(face, stop.clone(), config.drain));
    if let Some(file) = &config.port_file {
        write_whole(file, &format!("{url}\n")).with_context(|| format!("{}", file.display()))?;
    }
    tracing::info!(%url, data = %config.data.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    if !neptune_http::has_page() {
        tracing::warn!("built without the web page; `cargo xtask web`, then build the server again");
    }

    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        ended = &mut serving => bail!("the accept loop ended by itself: {ended:?}"),
    }
    stop.cancel();
    tokio::select! {
        ended = finish(serving, ticking, attending, engine) => ended,
        signal = signals.next() => {
            tracing::warn!(signal, "stopped at once; what was acknowledged is on disk");
            Ok(Stopped::AtOnce)
        }
    }
}

/// Lets requests end, then makes durable what was taken.
async fn finish(
    serving: tokio::task::JoinHandle<Ended>,
    ticking: tokio::task::JoinHandle<()>,
    attending: tokio::task::JoinHandle<()>,
    engine: Engine,
) -> anyhow::Result<Stopped> {
    match serving.await.context("the accept loop")? {
        Ended::Drained => tracing::info!("all requests are answered"),
        Ended::Cut => tracing::warn!("requests that did not end in time were cut"),
    }
    ticking.await.context("the clock")?;
    attending.await.context("the attendant")?;
    if tokio::time::timeout(FLUSH_TIME, engine.stop()).await.is_err() {
        tracing::error!("what was taken could not be made durable in time; it was not acknowledged");
        return Ok(Stopped::Late);
    }
    tracing::info!("stopped");
    Ok(Stopped::InOrder)
}

fn settings(config: &Config) -> Settings {
    Settings {
        public_hosts: config.public_hosts.clone(),
        open_on_loopback: config.is_open(),
        trusted_proxies: config.trusted_proxies.clone(),
        tls: config.tls(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Tokens must not travel in the clear.
fn refuse_plain_beyond_loopback(config: &Config) -> anyhow::Result<()> {
    if config.is_loopback() || config.tls().is_some() || !config.trusted_proxies.is_empty() {
        return Ok(());
    }
    let listen = config.listen;
    bail!(
        "listening on {listen} lets other machines in, and their tokens would travel in the clear\n\
         with a certificate:\n  neptune-server --listen {listen} --tls-certificate FILE --tls-key FILE\n\
         behind a proxy that ends TLS:\n  neptune-server --listen {listen} --trusted-proxy ADDRESS\n\
         for this machine alone:\n  neptune-server --listen 127.0.0.1:{}",
        listen.port()
    )
}

fn needs_token(config: &Config) -> String {
    let data = config.data.display();
    let why = match config.is_loopback() {
        true => "behind a proxy a token is needed",
        false => "beyond this machine a token is needed",
    };
    format!(
        "{why}, and there is none yet; make an administrator's token first:\n  neptune-server token create --data {data}"
    )
}

/// Tells the engine the time, once a second.
async fn tick(engine: Engine, stop: CancellationToken) {
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => return,
        }
        let ticked = engine.tick(now()).await;
        match &ticked {
            Err(error) if !failing => tracing::error!(%error, "the engine cannot follow the clock"),
            Ok(()) if failing => tracing::info!("the engine follows the clock again"),
            _ => {}
        }
        failing = ticked.is_err();
    }
}

/// Answers whoever may open the data folder; the server works without it.
async fn attend(bound: std::io::Result<Attendant>, engine: Engine, stop: CancellationToken) {
    match bound {
        Ok(attendant) => attendant.attend(engine, stop).await,
        Err(error) => tracing::warn!(
            %error,
            "no backup can be made while the server runs: the data folder takes no socket"
        ),
    }
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A connection is a file descriptor: the soft limit of many systems is 1,024.
fn raise_file_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    if raised < FILES_WANTED {
        tracing::warn!(
            files = raised,
            wanted = FILES_WANTED,
            "few file descriptors; many connections will fail"
        );
    }
}

/// Writes a file so that a reader sees all of it or none.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    std::fs::File::create(&draft)?.write_all(text.as_bytes())?;
    std::fs::rename(&draft, path)
}
