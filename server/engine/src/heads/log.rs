//! Heads of logs: which stretches of the byte stream lie in which frames, and where lines begin.
//!
//! A log is written by offsets, which count from 0 in each attempt, and appended only at its own length: what overlaps is
//! cut, because it is stored already. An offset beyond the length would be refused if the bytes between could still
//! come; but frames are numbered, so they never will: their frame was refused, or the sender lost them. So the log goes on
//! behind the gap, the missing bytes count as dropped on the job, and a line in their place says so. Bytes that the sender
//! reports as lost are not counted again when the gap shows.
//!
//! The stored bytes are one stream over all attempts, with offsets of its own ([`Piece::start`]).

use neptune_store::Steps;
#[cfg(test)]
pub(crate) use neptune_store::segment::LINE_BYTES;
pub(crate) use neptune_store::segment::{End, Segments};
use neptune_wire::AttemptNumber;
use neptune_wire::frame::Log;

/// One log channel.
///
/// Memory: 48 bytes for each block of the log.
#[derive(Debug, Default)]
pub(crate) struct LogHead {
    pieces: Vec<Piece>,
    length: u64,
    lines: u64,
    /// Bytes of the last line, while it is unfinished.
    open: u32,
    cursor: LogCursor,
    pub(crate) steps: Steps,
}

/// A stretch of the stream, or the mark of a lost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The frame it lies in.
    pub(crate) seq: u64,
    /// Which block of the frame.
    pub(crate) block: u16,
    /// Bytes of the block that were stored before and are left out.
    pub(crate) skip: u32,
    /// Offset of its first byte in the stored stream.
    pub(crate) start: u64,
    /// Lines that began before it.
    pub(crate) lines: u64,
    /// Bytes of the line that is unfinished where it begins; 0 if a line begins there.
    pub(crate) open: u32,
    /// It is not a stretch: so many bytes were lost here.
    pub(crate) lost: u64,
}

/// How far a log was written, by the writer's offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogCursor {
    attempt: Option<AttemptNumber>,
    /// Offset that the next byte has.
    next: u64,
    /// Bytes the sender reported as lost that no gap has shown yet.
    announced: u64,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes at its front that are stored already.
    pub(crate) skip: u64,
    /// Bytes missing before it.
    pub(crate) gap: u64,
    /// Those of them that nobody counted yet.
    pub(crate) lost: u64,
    /// The first of a new attempt.
    pub(crate) new_attempt: bool,
}

impl LogCursor {
    /// Moves behind a block of `length` bytes at `offset`.
    pub(crate) fn take(&mut self, attempt: AttemptNumber, offset: u64, length: u64) -> Cut {
        let new_attempt = self.turn_to(attempt);
        let skip = self.next.saturating_sub(offset).min(length);
        let gap = offset.saturating_sub(self.next);
        let known = gap.min(self.announced);
        self.announced -= known;
        self.next = self.next.max(offset.saturating_add(length));
        Cut { skip, gap, lost: gap - known, new_attempt }
    }

    /// The sender says that it lost bytes.
    pub(crate) fn announce_lost(&mut self, attempt: AttemptNumber, bytes: u64) {
        self.turn_to(attempt);
        self.announced = self.announced.saturating_add(bytes);
    }

    fn turn_to(&mut self, attempt: AttemptNumber) -> bool {
        let new_attempt = self.attempt != Some(attempt);
        if new_attempt {
            *self = Self { attempt: Some(attempt), ..Self::default() };
        }
        new_attempt
    }
}

impl LogHead {
    pub(crate) fn append(&mut self, seq: u64, block: u16, attempt: AttemptNumber, log: &Log<'_>) -> Cut {
        let cut = self.cursor.take(attempt, log.offset, log.bytes.len() as u64);
        if cut.new_attempt {
            self.open = 0;
        }
        let here = Piece {
            seq,
            block,
            skip: cut.skip as u32,
            start: self.length,
            lines: self.lines,
            open: self.open,
            lost: 0,
        };
        let stored = &log.bytes[cut.skip as usize..];
        if stored.is_empty() {
            return cut;
        }
        if cut.gap > 0 {
            self.pieces.push(Piece { open: 0, lost: cut.gap, ..here });
            self.lines += 1;
            self.open = 0;
        }
        self.pieces.push(Piece { lines: self.lines, open: self.open, ..here });
        self.length += stored.len() as u64;
        for segment in Segments::new(self.open, stored) {
            self.lines += u64::from(segment.begins);
            self.open = segment.open;
        }
        self.steps.add(log.x, log.time);
        cut
    }

    pub(crate) fn announce_lost(&mut self, attempt: AttemptNumber, bytes: u64) {
        self.cursor.announce_lost(attempt, bytes);
    }

    /// Bytes stored.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn line_count(&self) -> u64 {
        self.lines
    }

    /// Whether the last line may still grow.
    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Grows with every byte and every mark.
    pub(crate) fn revision(&self) -> u64 {
        self.length + self.lines
    }

    pub(crate) fn cursor(&self) -> LogCursor {
        self.cursor
    }

    /// The piece in which a line begins.
    pub(crate) fn find_line(&self, line: u64) -> usize {
        self.pieces.partition_point(|piece| piece.lines <= line).saturating_sub(1)
    }

    /// The piece that holds a byte of the stored stream.
    pub(crate) fn find_byte(&self, offset: u64) -> usize {
        self.pieces.partition_point(|piece| piece.start <= offset).saturating_sub(1)
    }

    /// At most `limit` pieces from one on.
    pub(crate) fn pieces(&self, first: usize, limit: usize) -> &[Piece] {
        let last = self.pieces.len().min(first.saturating_add(limit));
        self.pieces.get(first..last).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
