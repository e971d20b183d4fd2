//! Rows of sheets by kind, and the bodies they make.
//!
//! ```text
//! text     x numbers · time whole · count x varint (length · 1 bit: the text goes on in the next) · the texts
//! log      x numbers · time whole · count x { varint (length · 1 bit: bytes were lost before it · 1 bit: it begins a
//!          line whatever was before) · if the first bit: varint, bytes lost } · the bytes
//! images   x numbers · time whole · count x digest (32) · count x { varint width · height · size · length of the name ·
//!          length of the description } · count x { name · description }
//! ```
//!
//! Columns are in [`column`](super::column); a bit is the lowest of what is left of its number.

use bytes::Bytes;
use neptune_wire::Digest;

use super::column::{Cut, push_numbers, push_varint, push_whole, read_numbers, read_varint, read_whole};
use super::{Place, SheetError};

/// What a row costs whatever it holds.
const ROW_BYTES: usize = 24;

/// One row of a sheet.
pub trait Row: Sized + Clone + PartialEq + Send + 'static {
    /// In a sheet's head.
    const KIND: u8;

    /// How far it reaches in its channel: one line, one image, or its bytes.
    fn span(&self) -> u64;

    /// About how many bytes it takes before compression.
    fn weight(&self) -> usize;

    /// Cuts off the second half, if rows of this kind can be cut.
    fn split(&mut self) -> Option<Self>;

    /// The place behind it.
    fn place_behind(&self, place: Place) -> Place;

    /// Writes the body of a sheet.
    fn push_all(rows: &[Self], out: &mut Vec<u8>);

    /// Reads the body of a sheet of so many rows.
    ///
    /// # Errors
    ///
    /// [`SheetError`] for bytes that [`Row::push_all`] does not make.
    fn read_all(count: usize, body: &Bytes) -> Result<Vec<Self>, SheetError>;
}

/// A line of a text channel.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRow {
    /// Step.
    pub x: f64,
    /// Microseconds since the epoch.
    pub time: i64,
    /// UTF-8.
    pub text: Bytes,
    /// It goes on in the next.
    pub continues: bool,
}

/// A stretch of a log's bytes that came at once.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Milliseconds since the attempt started.
    pub x: f64,
    /// Microseconds since the epoch.
    pub time: i64,
    /// Bytes that were lost before it.
    pub lost: u64,
    /// It begins a line, and the line before it ends unfinished.
    pub breaks: bool,
    /// At least one.
    pub bytes: Bytes,
}

/// An image without its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRow {
    /// Step.
    pub x: f64,
    /// Microseconds since the epoch.
    pub time: i64,
    /// Of the image file.
    pub digest: Digest,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Of the image file.
    pub size_bytes: u64,
    /// Title; UTF-8.
    pub name: Bytes,
    /// Text; UTF-8.
    pub description: Bytes,
}

impl Row for TextRow {
    const KIND: u8 = 1;

    fn span(&self) -> u64 {
        1
    }

    fn weight(&self) -> usize {
        ROW_BYTES + self.text.len()
    }

    fn split(&mut self) -> Option<Self> {
        None
    }

    fn place_behind(&self, place: Place) -> Place {
        Place { at: place.at + 1, ..place }
    }

    fn push_all(rows: &[Self], out: &mut Vec<u8>) {
        push_numbers(out, rows.iter().map(|row| row.x));
        push_whole(out, rows.iter().map(|row| row.time));
        for row in rows {
            push_varint(out, (row.text.len() as u64) << 1 | u64::from(row.continues));
        }
        rows.iter().for_each(|row| out.extend_from_slice(&row.text));
    }

    fn read_all(count: usize, body: &Bytes) -> Result<Vec<Self>, SheetError> {
        let rest = &mut &body[..];
        let (x, time) = (read_numbers(rest, count)?, read_whole(rest, count)?);
        let marks = (0..count).map(|_| read_varint(rest)).collect::<Result<Vec<u64>, Cut>>()?;
        let rows = x.into_iter().zip(time).zip(marks).map(|((x, time), mark)| {
            let text = take_text(body, rest, mark >> 1)?;
            Ok(TextRow { x, time, text, continues: mark & 1 == 1 })
        });
        all_of(rows.collect(), rest)
    }
}

impl Row for LogRow {
    const KIND: u8 = 2;

    fn span(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn weight(&self) -> usize {
        ROW_BYTES + self.bytes.len()
    }

    fn split(&mut self) -> Option<Self> {
        let bytes = self.bytes.split_off(self.bytes.len() / 2);
        Some(LogRow { lost: 0, breaks: false, bytes, ..*self })
    }

    fn place_behind(&self, place: Place) -> Place {
        place.behind_log(self)
    }

    fn push_all(rows: &[Self], out: &mut Vec<u8>) {
        push_numbers(out, rows.iter().map(|row| row.x));
        push_whole(out, rows.iter().map(|row| row.time));
        for row in rows {
            let length = row.bytes.len() as u64;
            push_varint(out, length << 2 | u64::from(row.breaks) << 1 | u64::from(row.lost > 0));
            if row.lost > 0 {
                push_varint(out, row.lost);
            }
        }
        rows.iter().for_each(|row| out.extend_from_slice(&row.bytes));
    }

    fn read_all(count: usize, body: &Bytes) -> Result<Vec<Self>, SheetError> {
        let rest = &mut &body[..];
        let (x, time) = (read_numbers(rest, count)?, read_whole(rest, count)?);
        let mut mark = || {
            let mark = read_varint(rest)?;
            let lost = if mark & 1 == 1 { read_varint(rest)? } else { 0 };
            Ok((mark >> 1, lost))
        };
        let marks = (0..count).map(|_| mark()).collect::<Result<Vec<(u64, u64)>, Cut>>()?;
        let rows = x.into_iter().zip(time).zip(marks).map(|((x, time), (mark, lost))| {
            let bytes = take(body, rest, mark >> 1)?;
            if bytes.is_empty() {
                return Err(SheetError("a stretch is empty"));
            }
            Ok(LogRow { x, time, lost, breaks: mark & 1 == 1, bytes })
        });
        all_of(rows.collect(), rest)
    }
}

impl Row for ImageRow {
    const KIND: u8 = 3;

    fn span(&self) -> u64 {
        1
    }

    fn weight(&self) -> usize {
        ROW_BYTES + 64 + self.name.len() + self.description.len()
    }

    fn split(&mut self) -> Option<Self> {
        None
    }

    fn place_behind(&self, place: Place) -> Place {
        Place { at: place.at + 1, ..place }
    }

    fn push_all(rows: &[Self], out: &mut Vec<u8>) {
        push_numbers(out, rows.iter().map(|row| row.x));
        push_whole(out, rows.iter().map(|row| row.time));
        rows.iter().for_each(|row| out.extend_from_slice(row.digest.as_bytes()));
        for row in rows {
            let lengths = [row.name.len() as u64, row.description.len() as u64];
            let numbers = [row.width.into(), row.height.into(), row.size_bytes];
            numbers.into_iter().chain(lengths).for_each(|number| push_varint(out, number));
        }
        for row in rows {
            out.extend_from_slice(&row.name);
            out.extend_from_slice(&row.description);
        }
    }

    fn read_all(count: usize, body: &Bytes) -> Result<Vec<Self>, SheetError> {
        let rest = &mut &body[..];
        let (x, time) = (read_numbers(rest, count)?, read_whole(rest, count)?);
        let (digests, after) = rest.split_at_checked(32 * count).ok_or(Cut)?;
        *rest = after;
        let digests = digests.as_chunks::<32>().0;
        let numbers = (0..5 * count).map(|_| read_varint(rest)).collect::<Result<Vec<u64>, Cut>>()?;
        let side = |side: u64| u32::try_from(side).map_err(|_| SheetError("an image is too large"));
        let rows = (0..count).map(|at| {
            let &[width, height, size_bytes, name, description] = &numbers.as_chunks::<5>().0[at];
            Ok(ImageRow {
                x: x[at],
                time: time[at],
                digest: Digest::from_bytes(digests[at]),
                width: side(width)?,
                height: side(height)?,
                size_bytes,
                name: take_text(body, rest, name)?,
                description: take_text(body, rest, description)?,
            })
        });
        all_of(rows.collect(), rest)
    }
}

/// The next bytes of the body, which share its memory.
fn take(body: &Bytes, rest: &mut &[u8], length: u64) -> Result<Bytes, SheetError> {
    let length = usize::try_from(length).map_err(|_| Cut)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(Cut)?;
    *rest = after;
    Ok(body.slice_ref(taken))
}

fn take_text(body: &Bytes, rest: &mut &[u8], length: u64) -> Result<Bytes, SheetError> {
    let text = take(body, rest, length)?;
    if std::str::from_utf8(&text).is_err() {
        return Err(SheetError("a text is not UTF-8"));
    }
    Ok(text)
}

fn all_of<R>(rows: Result<Vec<R>, SheetError>, rest: &[u8]) -> Result<Vec<R>, SheetError> {
    if rest.is_empty() { rows } else { rows.and(Err(SheetError("there is more than its rows"))) }
}
