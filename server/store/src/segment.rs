//! Lines of a byte stream: where they begin and end, whatever pieces the bytes came in.
//!
//! Numbers of lines are stored beside sealed logs, so these rules are part of what is on disk.

/// A line is cut at the first character that begins beyond so many bytes.
pub const LINE_BYTES: usize = 64 << 10;
/// The longest UTF-8 character less one: so far a cut moves to keep a character whole.
const CONTINUATION_BYTES: usize = 3;

/// How a segment of a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By a line feed, which is not in the segment.
    Feed,
    /// The line was too long and goes on as another.
    Long,
    /// The bytes ended.
    Open,
}

/// A part of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Without its line feed.
    pub bytes: &'a [u8],
    /// It is the first of its line.
    pub begins: bool,
    /// What follows it.
    pub end: End,
    /// Bytes of the line that is unfinished behind it.
    pub open: u32,
}

/// Cuts bytes into parts of lines; what was cut before is known by `open` alone, so that any piece can be read first.
#[derive(Debug)]
pub struct Segments<'a> {
    open: usize,
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// `open`: bytes of the line that is unfinished where the bytes begin.
    pub fn new(open: u32, bytes: &'a [u8]) -> Self {
        Self { open: open as usize, rest: bytes }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let feed = memchr::memchr(b'\n', self.rest);
        let span = &self.rest[..feed.unwrap_or(self.rest.len())];
        let begins = self.open == 0;
        if let Some(cut) = long_cut(self.open, span) {
            let (bytes, rest) = self.rest.split_at(cut);
            (self.open, self.rest) = (0, rest);
            return Some(Segment { bytes, begins, end: End::Long, open: 0 });
        }
        let end = if feed.is_some() { End::Feed } else { End::Open };
        self.open = if feed.is_some() { 0 } else { self.open + span.len() };
        self.rest = &self.rest[feed.map_or(self.rest.len(), |feed| feed + 1)..];
        Some(Segment { bytes: span, begins, end, open: self.open as u32 })
    }
}

/// Where a line that has `open` bytes already must be cut in `span`, if it must.
fn long_cut(open: usize, span: &[u8]) -> Option<usize> {
    if open + span.len() <= LINE_BYTES {
        return None;
    }
    let mut cut = LINE_BYTES.saturating_sub(open);
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    while open + cut < LINE_BYTES + CONTINUATION_BYTES && span.get(cut).is_some_and(is_continuation) {
        cut += 1;
    }
    // With nothing left behind the cut it is decided when more comes.
    (cut < span.len()).then_some(cut)
}
