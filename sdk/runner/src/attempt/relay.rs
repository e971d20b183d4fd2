//! From a program's pipe to the console, the log channel and the numbers in it, byte for byte.
//!
//! The program waits for the console as it would without us (a pager, a stopped terminal), and for nothing else: the log
//! goes into the writer's memory. A console that is gone (`neptune run | head`) is no reason to stop recording.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use neptune_client::writer::{LogChannel as Log, LogStream, NumericChannel, Writer, now};
use neptune_wire::channel::ChannelOrigin;

use super::numbers::Numbers;
use crate::config::LogChannel;

/// The size of a pipe: one read empties it.
const READ_BYTES: usize = 64 * 1024;

/// One stream on its way.
pub(super) struct Relay {
    stream: LogStream,
    log: Option<Log>,
    log_channels: Vec<LogChannel>,
    started: Instant,
}

/// A relay at work.
pub(super) struct Relaying {
    done: mpsc::Receiver<()>,
}

impl Relay {
    /// `writer` when the stream becomes a log channel.
    pub(super) fn new(
        stream: LogStream,
        writer: Option<&Writer>,
        log_channels: &[LogChannel],
        started: Instant,
    ) -> Self {
        let log = writer.and_then(|writer| writer.open_log(stream).ok());
        Self { stream, log, log_channels: log_channels.to_vec(), started }
    }

    /// Relays in the background until the pipe's last holder is gone.
    pub(super) fn spawn(self, pipe: Box<dyn Read + Send>, writer: &Writer) -> Relaying {
        let numeric = self.log_channels.iter().map(|channel| {
            let opened = writer.open_numeric(&channel.name, ChannelOrigin::User);
            opened.ok()
        });
        let numeric: Vec<Option<NumericChannel>> = numeric.collect();
        let (done_sender, done) = mpsc::channel();
        let name = match self.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let relay = move || {
            self.relay(pipe, &numeric);
            // Nobody waits any more when a holder outside the tree kept the pipe open too long.
            let _ = done_sender.send(());
        };
        std::thread::Builder::new()
            .name(format!("neptune-{name}"))
            .spawn(relay)
            .expect("a process that has just started a program can start a thread");
        Relaying { done }
    }

    fn relay(self, mut pipe: Box<dyn Read + Send>, numeric: &[Option<NumericChannel>]) {
        let mut numbers = Numbers::new(&self.log_channels);
        let mut found = |index: usize, value| {
            if let Some(Some(channel)) = numeric.get(index) {
                channel.send_next(value, now());
            }
        };
        let mut console: Option<Box<dyn Write>> = Some(match self.stream {
            LogStream::Stdout => Box::new(std::io::stdout()),
            LogStream::Stderr => Box::new(std::io::stderr()),
        });
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let bytes = match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => &buffer[..count],
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Some(log) = &self.log {
                log.send(self.started.elapsed().as_secs_f64() * 1e3, bytes, now());
            }
            numbers.feed(bytes, &mut found);
            console = console.and_then(|mut console| {
                let written = console.write_all(bytes).and_then(|()| console.flush());
                written.is_ok().then_some(console)
            });
        }
        numbers.finish(&mut found);
    }
}

impl Relaying {
    /// Waits for the end of the stream; answers whether it came.
    pub(super) fn join_within(self, within: Duration) -> bool {
        self.done.recv_timeout(within).is_ok()
    }
}
