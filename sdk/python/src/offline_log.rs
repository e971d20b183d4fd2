//! `offline_job.log`: the points of a program that works offline, a line each, as the original left them.
//!
//! For people; the job's folder holds the same points for `neptune sync`. Lines are gathered and written every second
//! and at the end, up to [`LIMIT_BYTES`]. A forked child writes none: two processes would tear each other's lines.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::membership::say;

/// Its name in the directory the program was started in.
pub(crate) const FILE_NAME: &str = "offline_job.log";
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Nobody reads a longer one, and it is not what is uploaded.
const LIMIT_BYTES: u64 = 256 << 20;

/// The log's file, shared by all channels of the process.
pub(crate) struct OfflineLog {
    /// This process is a forked child of the one that made the log.
    inherited: AtomicBool,
    lines: Mutex<Lines>,
}

struct Lines {
    /// `None` once no more lines are taken; why was said.
    file: Option<Counted<BufWriter<File>>>,
    written: Instant,
}

impl OfflineLog {
    /// Begins the log anew.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(folder.join(FILE_NAME))?);
        let file = Some(Counted { inner: file, bytes: 0 });
        Ok(Self {
            inherited: AtomicBool::new(false),
            lines: Mutex::new(Lines { file, written: Instant::now() }),
        })
    }

    /// Adds a point's line; `y` is the name of an image.
    pub(crate) fn write(&self, channel: &str, x: f64, y: impl Display) {
        if self.inherited.load(Ordering::Relaxed) {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = now.duration_since(lines.written) >= WRITE_EVERY;
        let Some(file) = &mut lines.file else { return };
        let mut result = writeln!(file, "{channel}: x={x:?} y={y}");
        let full = file.bytes >= LIMIT_BYTES;
        if due || full {
            result = result.and_then(|()| file.flush());
            lines.written = now;
        }
        if let Err(error) = result {
            say(format_args!("{FILE_NAME} takes no more lines: {error}"));
            lines.file = None;
        } else if full {
            say(format_args!("{FILE_NAME} ends here, it is {} MiB long", LIMIT_BYTES >> 20));
            lines.file = None;
        }
    }

    /// Writes the lines that were gathered.
    pub(crate) fn flush(&self) {
        if self.inherited.load(Ordering::Relaxed) {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut lines.file {
            let _ = file.flush();
        }
    }

    /// In a forked child: writes nothing from now on. What the parent had gathered is the parent's.
    pub(crate) fn silence(&self) {
        self.inherited.store(true, Ordering::Relaxed);
    }
}

/// A writer that knows how much it was given.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
