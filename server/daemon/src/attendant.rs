//! The attendant: a socket in the data folder, through which whoever may open the folder asks the server that has it.
//!
//! The folder is private to the server's own user, so the socket needs no token and works whatever the server listens on.
//! One line of JSON goes in, one comes back. The path of a socket is at most 108 bytes long, so both sides reach it through
//! the folder's own descriptor.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use neptune_engine::Engine;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::backup::{self, Order, Taken};

const SOCKET: &str = "attendant";
/// Longest line: a path and a few words.
const LINE_BYTES: u64 = 64 << 10;
/// Time for whoever connects to say what is wanted.
const ASK_TIME: Duration = Duration::from_secs(10);
/// Rest between attempts to accept when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// Make a backup in this folder.
    Backup { to: PathBuf },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Taken(Taken),
    Refused(String),
}

/// A descriptor of the folder and the socket's path through it.
fn socket_in(data: &Path) -> std::io::Result<(File, PathBuf)> {
    let folder = File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

/// The socket, to which one can connect from now on.
pub(crate) struct Attendant {
    data: PathBuf,
    /// The path leads through its descriptor.
    _folder: File,
    path: PathBuf,
    listener: UnixListener,
}

impl Attendant {
    /// Makes the socket in the data folder.
    pub(crate) fn bind(data: &Path) -> std::io::Result<Attendant> {
        let (folder, path) = socket_in(data)?;
        // Of a server before this one: the folder is ours alone.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        Ok(Attendant { data: data.to_path_buf(), _folder: folder, path, listener })
    }

    /// Answers until the server stops; one asks at a time.
    pub(crate) async fn attend(self, engine: Engine, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Not dropped when the server stops: a backup under way is told to end, and whoever asked hears of it.
                    if let Err(error) = answer(&engine, &self.data, stream, &stop).await {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "whoever asked through the data folder went away"
                        );
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "whoever asks through the data folder has to wait");
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        () = stop.cancelled() => break,
                    }
                }
            }
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(
    engine: &Engine,
    data: &Path,
    stream: UnixStream,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let Asked::Backup { to } = tokio::select! {
        asked = tokio::time::timeout(ASK_TIME, read_question(&mut stream)) => asked??,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(to = %to.display(), "backup begins");
    let unwanted = stop.child_token();
    let order = Order { data: data.to_path_buf(), to, stop: unwanted.clone() };
    let mut taking = std::pin::pin!(backup::take_of_running(engine, order));
    let taken = tokio::select! {
        taken = &mut taking => taken,
        () = hung_up(&mut stream) => {
            unwanted.cancel();
            taking.await
        }
    };
    let answer = match taken {
        Ok(taken) => {
            tracing::info!(
                files = taken.files,
                bytes = taken.bytes,
                new_bytes = taken.new_bytes,
                damaged = taken.damaged,
                "backup is made"
            );
            Answer::Taken(taken)
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the backup was not made");
            Answer::Refused(format!("{error:#}"))
        }
    };
    let line = format!("{}\n", serde_json::to_string(&answer)?);
    tokio::time::timeout(ASK_TIME, stream.get_mut().write_all(line.as_bytes())).await??;
    Ok(())
}

async fn read_question(stream: &mut BufReader<UnixStream>) -> anyhow::Result<Asked> {
    let mut line = String::new();
    stream.take(LINE_BYTES).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Waits until the other side is gone; it says nothing more.
async fn hung_up(stream: &mut BufReader<UnixStream>) {
    let mut byte = [0];
    // Whatever comes instead of an end is no part of the protocol.
    let _ = stream.read(&mut byte).await;
}

/// Asks the server that has the data to make a backup; `None` when no server does.
pub(crate) async fn ask_backup(data: &Path, to: &Path) -> anyhow::Result<Option<Taken>> {
    let (_folder, path) = socket_in(data).with_context(|| format!("{}", data.display()))?;
    // A socket that nobody listens at is left by a server that was killed.
    let Ok(mut stream) = UnixStream::connect(&path).await else { return Ok(None) };
    let asked = serde_json::to_string(&Asked::Backup { to: to.to_path_buf() })?;
    stream.write_all(format!("{asked}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE_BYTES).read_line(&mut line).await?;
    if line.is_empty() {
        bail!("the server stopped before the backup was made");
    }
    match serde_json::from_str(&line)? {
        Answer::Taken(taken) => Ok(Some(taken)),
        Answer::Refused(why) => bail!("{why}"),
    }
}
