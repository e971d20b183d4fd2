//! Sheets: sealed lines of a text channel, stretches of a log, or points of an image channel, as one compressed block.
//!
//! ```text
//! 0    1   version, 1
//! 1    1   kind u8          1 text · 2 log · 3 images
//! 2    4   count u32        rows, at least 1
//! 6    4   length u32       of the body before it was compressed
//! 10   8   lines u64        log: lines that began before it; else 0
//! 18   4   open u32         log: bytes of the line that is unfinished where it begins; else 0
//! 22       the body, compressed by zstd
//! -4   4   CRC-32 of everything before
//! ```
//!
//! Numbers are little-endian; bodies are in [`row`]. A sheet is filled up to [`FULL_BYTES`] and then closed; it is cut in
//! halves while it compresses to more than [`SHEET_BYTES`]. Rows never change, and where one lies in its channel follows
//! from the frames alone. So a sheet that no state names yet, or that was left over, holds what is true; and one that had
//! few rows is written again with those that followed, under the same key.
//!
//! Source of the compression: zstd, RFC 8878, level 3.

mod column;
pub mod row;

use bytes::Bytes;

use crate::segment::Segments;
use column::Cut;
pub use row::{ImageRow, LogRow, Row, TextRow};

/// Longest sheet; a value of the store holds 64 KiB.
pub const SHEET_BYTES: usize = 60 << 10;
/// A sheet with rows of this weight takes no more.
pub const FULL_BYTES: usize = 128 << 10;
/// A last sheet of less weight than this takes the rows that follow; a heavier one is left as it is.
pub const LIGHT_BYTES: usize = 32 << 10;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 22;
const CRC_BYTES: usize = 4;
const LEVEL: i32 = 3;
/// No body is longer: a full sheet, one row beyond, and its columns.
const BODY_BYTES: usize = 512 << 10;

/// A place between two rows of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Lines and images: how many are before it. Logs: bytes of the stored stream before it.
    pub at: u64,
    /// Logs: lines that began before it.
    pub lines: u64,
    /// Logs: bytes of the line that is unfinished here; 0 if none is.
    pub open: u32,
}

/// Rows that follow each other in a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet<R> {
    /// Where the first begins.
    pub start: Place,
    /// At least one.
    pub rows: Vec<R>,
}

/// Why bytes are no sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sheet is damaged: {0}")]
pub struct SheetError(pub(crate) &'static str);

impl From<Cut> for SheetError {
    fn from(_: Cut) -> Self {
        SheetError("cut")
    }
}

impl Place {
    /// The place behind a stretch of a log.
    pub(crate) fn behind_log(self, row: &LogRow) -> Place {
        let mut place = self;
        if row.lost > 0 {
            place.lines += 1;
        }
        if row.breaks || row.lost > 0 {
            place.open = 0;
        }
        for segment in Segments::new(place.open, &row.bytes) {
            place.lines += u64::from(segment.begins);
            place.open = segment.open;
        }
        place.at += row.bytes.len() as u64;
        place
    }
}

impl<R: Row> Sheet<R> {
    /// Where the sheet ends.
    pub fn end(&self) -> u64 {
        self.start.at + self.rows.iter().map(R::span).sum::<u64>()
    }

    /// How much it holds, as [`FULL_BYTES`] counts.
    pub fn weight(&self) -> usize {
        self.rows.iter().map(R::weight).sum()
    }

    /// Leaves out what lies at `until` and behind it, which is between two rows.
    pub fn truncate(&mut self, until: u64) {
        let mut at = self.start.at;
        let fits = |row: &R| {
            at += row.span();
            at <= until
        };
        let kept = self.rows.iter().map(fits).take_while(|fits| *fits).count();
        self.rows.truncate(kept);
    }

    /// The rows as sheets of at most [`SHEET_BYTES`], in order, each with its place.
    ///
    /// Cost: some 5 ns a byte.
    pub fn seal(self) -> Vec<(Place, Bytes)> {
        let mut sealed = Vec::with_capacity(1);
        self.seal_into(&mut sealed);
        sealed
    }

    fn seal_into(self, sealed: &mut Vec<(Place, Bytes)>) {
        let bytes = self.encode();
        if bytes.len() <= SHEET_BYTES {
            return sealed.push((self.start, bytes));
        }
        let start = self.start;
        match self.halve() {
            Some((first, second)) => {
                first.seal_into(sealed);
                second.seal_into(sealed);
            }
            // One text or image is of a few kilobytes, so this is never met.
            None => sealed.push((start, bytes)),
        }
    }

    /// Two sheets of about half the weight, if it can be cut; a single row is cut itself.
    fn halve(mut self) -> Option<(Sheet<R>, Sheet<R>)> {
        let rest = if let [row] = &mut self.rows[..] {
            vec![row.split()?]
        } else {
            let half = self.weight() / 2;
            let mut weight = 0;
            let light = |row: &R| {
                weight += row.weight();
                weight <= half
            };
            let light = self.rows.iter().map(light).take_while(|light| *light).count();
            self.rows.split_off(light.clamp(1, self.rows.len() - 1))
        };
        let start = self.rows.iter().fold(self.start, |place, row| row.place_behind(place));
        Some((self, Sheet { start, rows: rest }))
    }

    /// The sheet as bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = Vec::with_capacity(2 * FULL_BYTES);
        R::push_all(&self.rows, &mut body);
        let packed = zstd::bulk::compress(&body, LEVEL);
        let packed = packed.expect("the level is constant and memory takes all that is written");
        let mut out = Vec::with_capacity(HEAD_BYTES + packed.len() + CRC_BYTES);
        out.extend_from_slice(&[VERSION, R::KIND]);
        out.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.start.lines.to_le_bytes());
        out.extend_from_slice(&self.start.open.to_le_bytes());
        out.extend_from_slice(&packed);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// Reads the sheet that lies at `at`.
    ///
    /// Cost: some 1 ns a byte.
    ///
    /// # Errors
    ///
    /// [`SheetError`] for bytes that [`Sheet::seal`] did not make of rows of this kind.
    pub fn decode(at: u64, bytes: &[u8]) -> Result<Sheet<R>, SheetError> {
        let (rest, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(Cut)?;
        let (head, packed) = rest.split_first_chunk::<HEAD_BYTES>().ok_or(Cut)?;
        if head[0] != VERSION {
            return Err(SheetError("it is of an unknown version"));
        }
        if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return Err(SheetError("its checksum differs"));
        }
        if head[1] != R::KIND {
            return Err(SheetError("it is not of its channel's kind"));
        }
        let mut fields = &head[2..];
        let (count, length) =
            (column::read_u32(&mut fields)? as usize, column::read_u32(&mut fields)? as usize);
        let lines = u64::from_le_bytes(*fields.split_first_chunk().ok_or(Cut)?.0);
        let open = u32::from_le_bytes(*fields.last_chunk().ok_or(Cut)?);
        if length > BODY_BYTES || count == 0 || count > length {
            return Err(SheetError("its length cannot be"));
        }
        let body = zstd::bulk::decompress(packed, length);
        let body = body.map_err(|_| SheetError("it cannot be decompressed"))?;
        if body.len() != length {
            return Err(SheetError("it is not of its length"));
        }
        let rows = R::read_all(count, &Bytes::from(body))?;
        Ok(Sheet { start: Place { at, lines, open }, rows })
    }
}

#[cfg(test)]
mod tests;
