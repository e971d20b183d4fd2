//! Heads of logs: which stretches of the byte stream lie in which frames, and where lines begin.
//!
//! A log is written by offsets, which count from 0 in each attempt, and appended only at its own length: what overlaps is
//! cut, because it is stored already. An offset beyond the length would be refused if the bytes between could still
//! come; but frames are numbered, so they never will: their frame was refused, or the sender lost them. So the log goes on
//! behind the gap, the missing bytes count as dropped on the job, and a line in their place says so. Bytes that the sender
//! reports as lost are not counted again when the gap shows.
//!
//! The stored bytes are one stream over all attempts, with offsets of its own ([`Piece::start`]).

#[cfg(test)]
pub(crate) use neptune_store::segment::LINE_BYTES;
pub(crate) use neptune_store::segment::{End, Segments};
use neptune_store::{LogState, Steps};
use neptune_wire::AttemptNumber;
use neptune_wire::frame::Log;

/// One log channel.
///
/// Memory: 48 bytes for each open block of the log, and twice as much for each frame it is in.
#[derive(Debug, Default)]
pub(crate) struct LogHead {
    sealed: LogState,
    /// Of the open part.
    pieces: Vec<Piece>,
    /// The state behind each frame with open blocks, those with none but lost bytes among them.
    moments: Vec<(u64, LogState)>,
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

/// A place to read a log from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogPlace {
    /// Where a line begins.
    Line(u64),
    /// A byte of the stored stream.
    Byte(u64),
}

/// Where to look for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FoundPlace {
    /// Behind the end.
    End,
    /// In a sheet; so many bytes are sealed.
    Sealed { until: u64 },
    /// In these pieces.
    Open(Vec<Piece>),
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

impl From<neptune_store::LogCursor> for LogCursor {
    fn from(stored: neptune_store::LogCursor) -> Self {
        Self { attempt: stored.attempt, next: stored.next, announced: stored.announced }
    }
}

impl From<LogCursor> for neptune_store::LogCursor {
    fn from(cursor: LogCursor) -> Self {
        Self { attempt: cursor.attempt, next: cursor.next, announced: cursor.announced }
    }
}

impl LogHead {
    /// The head of a log of which so much is sealed, and nothing open.
    pub(crate) fn from_state(sealed: LogState) -> LogHead {
        LogHead {
            sealed,
            pieces: Vec::new(),
            moments: Vec::new(),
            length: sealed.length,
            lines: sealed.lines,
            open: sealed.open,
            cursor: sealed.cursor.into(),
            steps: sealed.steps,
        }
    }

    pub(crate) fn append(&mut self, seq: u64, block: u16, attempt: AttemptNumber, log: &Log<'_>) -> Cut {
        let cut = self.take(seq, block, attempt, log);
        self.remember(seq);
        cut
    }

    fn take(&mut self, seq: u64, block: u16, attempt: AttemptNumber, log: &Log<'_>) -> Cut {
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

    pub(crate) fn announce_lost(&mut self, seq: u64, attempt: AttemptNumber, bytes: u64) {
        self.cursor.announce_lost(attempt, bytes);
        self.remember(seq);
    }

    /// Keeps the state as it is behind frame `seq`, which has come so far.
    fn remember(&mut self, seq: u64) {
        let state = LogState {
            length: self.length,
            lines: self.lines,
            open: self.open,
            last_sheet: 0,
            cursor: self.cursor.into(),
            steps: self.steps,
        };
        match self.moments.last_mut() {
            Some(last) if last.0 == seq => last.1 = state,
            _ => self.moments.push((seq, state)),
        }
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

    /// Where a place lies, and at most `limit` open pieces from it on.
    pub(crate) fn find(&self, place: LogPlace, limit: usize) -> FoundPlace {
        let (end, sealed) = match place {
            LogPlace::Line(line) => (line >= self.lines, line < self.sealed.lines),
            LogPlace::Byte(offset) => (offset >= self.length, offset < self.sealed.length),
        };
        if end {
            return FoundPlace::End;
        }
        if sealed {
            return FoundPlace::Sealed { until: self.sealed.length };
        }
        let first = match place {
            LogPlace::Line(line) => self.pieces.partition_point(|piece| piece.lines <= line),
            // Of two pieces that begin there, the first is the mark of what was lost before the second.
            LogPlace::Byte(offset) => {
                let here = self.pieces.partition_point(|piece| piece.start <= offset);
                let start = here.checked_sub(1).map_or(0, |last| self.pieces[last].start);
                self.pieces.partition_point(|piece| piece.start < start) + 1
            }
        };
        let first = first.saturating_sub(1);
        FoundPlace::Open(self.pieces[first..self.pieces.len().min(first + limit)].to_vec())
    }

    pub(crate) fn sealed(&self) -> LogState {
        self.sealed
    }

    /// About `limit` pieces of frames up to `through`, from the one at place `first` on; all of each frame.
    pub(crate) fn pieces_to_seal(&self, first: usize, limit: usize, through: u64) -> Vec<Piece> {
        let end = self.pieces.partition_point(|piece| piece.seq <= through);
        let first = first.min(end);
        let mut until = end.min(first + limit);
        while until > first && until < end && self.pieces[until].seq == self.pieces[until - 1].seq {
            until += 1;
        }
        self.pieces[first..until].to_vec()
    }

    /// What will be sealed once all frames up to `seq` are; `None` if none of them has an open block.
    pub(crate) fn state_behind(&self, seq: u64) -> Option<LogState> {
        let open = self.moments.partition_point(|moment| moment.0 <= seq);
        open.checked_sub(1).map(|last| self.moments[last].1)
    }

    /// Drops what refers to frames up to `seq`, whose bytes are in sheets now.
    pub(crate) fn seal(&mut self, seq: u64, sealed: LogState) {
        let open = self.pieces.partition_point(|piece| piece.seq <= seq);
        self.pieces = self.pieces.split_off(open);
        let open = self.moments.partition_point(|moment| moment.0 <= seq);
        self.moments = self.moments.split_off(open);
        self.sealed = sealed;
    }
}

#[cfg(test)]
mod tests;
