//! `offline_job.log`: the points of a program that works offline, a line each, as the original left them.
//!
//! For people; the job's folder holds the same points for `neptune sync`. Lines are gathered and written every second
//! and at the end. A forked child writes none: two processes would tear each other's lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Its name in the directory the program was started in.
pub(crate) const FILE_NAME: &str = "offline_job.log";
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The log's file, shared by all channels of the process.
pub(crate) struct OfflineLog {
    owner: u32,
    lines: Mutex<Lines>,
}

struct Lines {
    /// `None` once the disk refused a line: the log is a convenience, and its loss was said.
    file: Option<BufWriter<File>>,
    written: Instant,
}

impl OfflineLog {
    /// Begins the log anew.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let file = Some(BufWriter::new(File::create(folder.join(FILE_NAME))?));
        Ok(Self { owner: std::process::id(), lines: Mutex::new(Lines { file, written: Instant::now() }) })
    }

    /// Adds a point's line; `y` is the name of an image.
    pub(crate) fn write(&self, channel: &str, x: f64, y: &str) {
        if std::process::id() != self.owner {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let due = lines.written.elapsed() >= WRITE_EVERY;
        let Some(file) = &mut lines.file else { return };
        let mut result = writeln!(file, "{channel}: x={x:?} y={y}");
        if due {
            result = result.and_then(|()| file.flush());
            lines.written = Instant::now();
        }
        if let Err(error) = result {
            crate::membership::say(format_args!("{FILE_NAME} takes no more lines: {error}"));
            lines.file = None;
        }
    }

    /// Writes the lines that were gathered.
    pub(crate) fn flush(&self) {
        if std::process::id() == self.owner {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = &mut lines.file {
                let _ = file.flush();
            }
        }
    }
}
