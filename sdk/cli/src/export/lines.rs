//! Where the lines that a server cut a log into end in the log's bytes.
//!
//! A line ends by a line feed; or it was too long and goes on as another; or a new attempt began, or bytes were lost behind it,
//! which a line of its own says; or it is the last. Its text is its bytes, with U+FFFD for what is no UTF-8. The bytes are
//! read first, so the last line may have grown since, and lines may have come behind it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The server cuts a line at the first character that begins beyond so many bytes.
const LINE_BYTES: usize = 64 << 10;
/// So far the cut moves to keep a character whole.
const CONTINUATION_BYTES: usize = 3;
/// What is looked at for one line: the longest, and the byte that tells that it was cut.
const AHEAD_BYTES: usize = LINE_BYTES + CONTINUATION_BYTES + 1;
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
    /// All was read.
    is_end: bool,
}

impl LineMeasure {
    pub(super) fn open(path: &Path) -> Result<LineMeasure, CliError> {
        let file = File::open(path).map_err(|error| CliError::file(path, &error))?;
        Ok(LineMeasure { path: path.into(), file, ahead: Vec::new(), taken: 0, is_end: false })
    }

    /// Takes the next line; `None` when it came after the bytes were read, as all that follow it did.
    pub(super) fn next(&mut self, text: &str) -> Result<Option<Measured>, CliError> {
        self.read_ahead()?;
        let ahead = &self.ahead[self.taken..];
        if ahead.is_empty() {
            return Ok(None);
        }
        let measured = measure(ahead, self.is_end, text).ok_or_else(|| self.misfit())?;
        self.taken += measured.bytes;
        Ok(Some(measured))
    }

    /// Every byte is of a line.
    pub(super) fn check_end(&mut self) -> Result<(), CliError> {
        self.read_ahead()?;
        if self.taken == self.ahead.len() { Ok(()) } else { Err(self.misfit()) }
    }

    fn misfit(&self) -> CliError {
        CliError::refused(format_args!("{}: its bytes do not fit its lines", self.path.display()))
    }

    fn read_ahead(&mut self) -> Result<(), CliError> {
        if self.is_end || self.ahead.len() - self.taken >= AHEAD_BYTES {
            return Ok(());
        }
        self.ahead.drain(..self.taken);
        self.taken = 0;
        let wanted = READ_BYTES - self.ahead.len();
        let read = (&mut self.file).take(wanted as u64).read_to_end(&mut self.ahead);
        self.is_end = read.map_err(|error| CliError::file(&self.path, &error))? < wanted;
        Ok(())
    }
}

/// `ahead` begins with the line and holds the longest one; at the end of the bytes, all that is left.
fn measure(ahead: &[u8], is_end: bool, text: &str) -> Option<Measured> {
    let whole = |bytes| Some(Measured { bytes, lost: 0 });
    let (line, end) = line_of(ahead);
    if String::from_utf8_lossy(line) == text {
        return whole(end);
    }
    let lost =
        text.strip_prefix("[neptune: ").and_then(|text| text.strip_suffix(" bytes of this log were lost]"));
    if let Some(lost) = lost.and_then(|lost| lost.parse().ok()) {
        return Some(Measured { bytes: 0, lost });
    }
    if is_end && end == line.len() && end == ahead.len() && has_grown(ahead, text) {
        return whole(end);
    }
    cut_off(line, text).and_then(whole)
}

/// The bytes of the first line, and where the next one begins.
fn line_of(ahead: &[u8]) -> (&[u8], usize) {
    let feed = ahead.iter().position(|byte| *byte == b'\n');
    let line = &ahead[..feed.unwrap_or(ahead.len())];
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let mut cut = LINE_BYTES;
    while cut < LINE_BYTES + CONTINUATION_BYTES && line.get(cut).is_some_and(is_continuation) {
        cut += 1;
    }
    match cut < line.len() {
        true => (&line[..cut], cut),
        false => (line, feed.map_or(ahead.len(), |feed| feed + 1)),
    }
}

/// Whether the text begins with the bytes; a character that they end in may stand whole in the text.
fn has_grown(bytes: &[u8], text: &str) -> bool {
    let unfinished = bytes.utf8_chunks().last().map_or(0, |last| last.invalid().len());
    text.starts_with(&*String::from_utf8_lossy(&bytes[..bytes.len() - unfinished]))
}

/// How many of the bytes have this text, where a new attempt or lost bytes cut the line off.
fn cut_off(bytes: &[u8], text: &str) -> Option<usize> {
    let (mut rest, mut end) = (text, 0);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        if valid.starts_with(rest) {
            return Some(end + rest.len());
        }
        let Some(behind) = rest.strip_prefix(valid) else {
            // It may end within a character, of which U+FFFD is left.
            let same = rest.strip_suffix('\u{FFFD}').filter(|same| valid.starts_with(same))?;
            let cut = valid[same.len()..].chars().next()?;
            return (cut.len_utf8() > 1).then(|| end + same.len() + cut.len_utf8() - 1);
        };
        rest = behind.strip_prefix('\u{FFFD}')?;
        end += valid.len() + chunk.invalid().len();
    }
    rest.is_empty().then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ahead: &[u8], text: &str, bytes: usize, lost: u64) {
        for is_end in [false, true] {
            assert_eq!(measure(ahead, is_end, text), Some(Measured { bytes, lost }), "is_end {is_end}");
        }
    }

    #[test]
    fn lines_end_where_the_server_ended_them() {
        check(b"a\nb\n", "a", 2, 0);
        check(b"\nb\n", "", 1, 0);
        check(b"no end", "no end", 6, 0);
        check(b"not \xff UTF-8\nb", "not \u{fffd} UTF-8", 12, 0);
        check(b"cut\nb\n", "[neptune: 17 bytes of this log were lost]", 0, 17);
        check(b"cut off\nb\n", "cut", 3, 0);
        check(b"cut\xff\xfe of\n", "cut\u{fffd}", 4, 0);
        check("cut €\n".as_bytes(), "cut \u{fffd}", 6, 0);
        let literal = b"[neptune: 17 bytes of this log were lost]\n";
        check(literal, "[neptune: 17 bytes of this log were lost]", literal.len(), 0);
        assert_eq!(measure(b"other", true, "text"), None);
        assert_eq!(measure(b"other\n", true, "other things"), None);
    }

    #[test]
    fn long_lines_are_cut_as_the_server_cuts_them() {
        let x = "x".repeat(LINE_BYTES - 1);
        check(format!("{x}größe\n").as_bytes(), &format!("{x}g"), LINE_BYTES, 0);
        check(format!("{x}öß\n").as_bytes(), &format!("{x}ö"), LINE_BYTES + 1, 0);
        // The first bytes of a character that does not go on: both have one text, however far the cut moves.
        let broken = [x.as_bytes(), b"\xe2\x82 and more\n"].concat();
        check(&broken, &format!("{x}\u{fffd}"), LINE_BYTES + 1, 0);
        let binary = [x.as_bytes(), &[0x80; 9], b"\n"].concat();
        check(&binary, &format!("{x}{}", "\u{fffd}".repeat(4)), LINE_BYTES + 3, 0);
    }

    /// Lines as the server would answer them of `printed`, while the file has its first `until` bytes.
    #[track_caller]
    fn measured(printed: &[u8], until: usize) -> Vec<usize> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, &printed[..until]).unwrap();
        let mut measure = LineMeasure::open(&path).unwrap();
        let mut found = Vec::new();
        let mut rest = printed;
        while !rest.is_empty() {
            let (line, end) = line_of(rest);
            let Some(measured) = measure.next(&String::from_utf8_lossy(line)).unwrap() else { break };
            found.push(measured.bytes);
            rest = &rest[end..];
        }
        measure.check_end().unwrap();
        found
    }

    #[test]
    fn what_is_printed_meanwhile_is_left_out() {
        let printed = "one\ntwo größe\n\nfour\nfive".as_bytes();
        for until in 0..=printed.len() {
            let found = measured(printed, until);
            assert_eq!(found.iter().sum::<usize>(), until, "{found:?}");
            let feeds = printed[..until].iter().filter(|byte| **byte == b'\n').count();
            let is_cut = until > 0 && printed[until - 1] != b'\n';
            assert_eq!(found.len(), feeds + usize::from(is_cut), "{found:?}");
        }
        // A line that is cut only later.
        let long = [vec![b'x'; LINE_BYTES + 100], b"\nend\n".to_vec()].concat();
        for until in [10, LINE_BYTES, LINE_BYTES + 1, LINE_BYTES + 99, long.len()] {
            assert_eq!(measured(&long, until).iter().sum::<usize>(), until);
        }
    }
}
