//! Where the lines that a server cut a log into end in the log's bytes.
//!
//! A line ends by a line feed; or it was too long and goes on as another; or bytes were lost behind it, which a line of its
//! own says; or it is the last. Its text is its bytes, with U+FFFD for what is no UTF-8.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The longest line: 64 KiB, three bytes that keep a character whole, a line feed.
const LINE_BYTES: usize = (64 << 10) + 4;
const READ_BYTES: usize = 1 << 20;

/// What one line takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    /// Its bytes in the log, the line feed among them.
    pub(super) bytes: usize,
    /// It says that so many bytes are missing here.
    pub(super) lost: u64,
}

/// Reads a log along with its lines.
pub(super) struct LineMeasure {
    path: PathBuf,
    file: File,
    /// What was read and not taken yet.
    ahead: Vec<u8>,
    taken: usize,
}

impl LineMeasure {
    pub(super) fn open(path: &Path) -> Result<LineMeasure, CliError> {
        let file = File::open(path).map_err(|error| CliError::file(path, &error))?;
        Ok(LineMeasure { path: path.into(), file, ahead: Vec::new(), taken: 0 })
    }

    /// Takes the next line.
    pub(super) fn next(&mut self, text: &str, continues: bool) -> Result<Measured, CliError> {
        self.read_ahead()?;
        let measured = measure(&self.ahead[self.taken..], text, continues).ok_or_else(|| {
            CliError::refused(format_args!("{}: its bytes do not fit its lines", self.path.display()))
        })?;
        self.taken += measured.bytes;
        Ok(measured)
    }

    fn read_ahead(&mut self) -> Result<(), CliError> {
        if self.ahead.len() - self.taken >= LINE_BYTES {
            return Ok(());
        }
        self.ahead.drain(..self.taken);
        self.taken = 0;
        let wanted = (READ_BYTES - self.ahead.len()) as u64;
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.ahead);
        read.map(drop).map_err(|error| CliError::file(&self.path, &error))
    }
}

/// `ahead` holds the longest line, or all that is left.
fn measure(ahead: &[u8], text: &str, continues: bool) -> Option<Measured> {
    let is_text = |bytes: &[u8]| String::from_utf8_lossy(bytes) == text;
    let whole = |bytes| Some(Measured { bytes, lost: 0 });
    if continues {
        let cuts = LINE_BYTES - 4..=(LINE_BYTES - 1).min(ahead.len());
        return cuts.into_iter().find(|cut| is_text(&ahead[..*cut])).and_then(whole);
    }
    let feed = ahead.iter().position(|byte| *byte == b'\n');
    if let Some(feed) = feed
        && is_text(&ahead[..feed])
    {
        return whole(feed + 1);
    }
    if feed.is_none() && is_text(ahead) {
        return whole(ahead.len());
    }
    let lost =
        text.strip_prefix("[neptune: ").and_then(|text| text.strip_suffix(" bytes of this log were lost]"));
    if let Some(lost) = lost.and_then(|lost| lost.parse().ok()) {
        return Some(Measured { bytes: 0, lost });
    }
    // Cut off by lost bytes, or it grew since it was asked for.
    (0..=text.len().min(ahead.len())).rev().find(|end| is_text(&ahead[..*end])).and_then(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ahead: &[u8], text: &str, continues: bool, bytes: usize, lost: u64) {
        assert_eq!(measure(ahead, text, continues), Some(Measured { bytes, lost }));
    }

    #[test]
    fn lines_end_where_the_server_ended_them() {
        check(b"a\nb\n", "a", false, 2, 0);
        check(b"\nb\n", "", false, 1, 0);
        check(b"no end", "no end", false, 6, 0);
        check(b"not \xff UTF-8\nb", "not \u{fffd} UTF-8", false, 12, 0);
        check(b"cut\nb\n", "[neptune: 17 bytes of this log were lost]", false, 0, 17);
        check(b"cut off\nb\n", "cut", false, 3, 0);
        let literal = b"[neptune: 17 bytes of this log were lost]\n";
        check(literal, "[neptune: 17 bytes of this log were lost]", false, literal.len(), 0);
        let long = [&vec![b'x'; (64 << 10) - 1][..], "größe\n".as_bytes()].concat();
        check(&long, &format!("{}g", "x".repeat((64 << 10) - 1)), true, 64 << 10, 0);
        assert_eq!(measure(b"other", "text", false), None);
    }
}
