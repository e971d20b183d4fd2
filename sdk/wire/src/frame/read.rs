//! Reading a frame: everything is checked once in [`parse`], after which blocks are read without a way to fail.

use super::*;
use crate::id::{Digest, SessionId};

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES`].
    #[error("frame of {bytes} bytes, at most {FRAME_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The checksum at the end is not that of the bytes before it.
    #[error("frame checksum differs, the bytes were damaged on the way")]
    Checksum,
    /// Not the documented layout.
    #[error("frame layout: {0}")]
    Layout(&'static str),
}

/// Whose frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The writer.
    pub session: SessionId,
    /// From 1.
    pub seq: u64,
}

/// A checked frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<'a> {
    /// Whose frame it is.
    pub header: Header,
    /// In the order they were sent.
    pub blocks: Vec<(u32, Block<'a>)>,
}

/// What a block holds; the channel's number stands beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Block<'a> {
    /// Points of a numeric channel.
    Numeric(Numeric<'a>),
    /// Points of a text channel.
    Text(Text<'a>),
    /// Points of an image channel.
    Images(Images<'a>),
    /// Bytes of a log.
    Log(Log<'a>),
    /// So many points were lost at the sender.
    Dropped(u32),
}

impl Block<'_> {
    /// How many points it carries: values, texts, images, log pieces, or lost points.
    pub fn count(&self) -> u32 {
        match self {
            Self::Numeric(numeric) => numeric.count,
            Self::Text(text) => text.count,
            Self::Images(images) => images.count,
            Self::Log(_) => 1,
            Self::Dropped(count) => *count,
        }
    }
}

/// Columns of a numeric block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numeric<'a> {
    count: u32,
    flags: u8,
    x: &'a [u8],
    y: &'a [u8],
    time: &'a [u8],
}

impl<'a> Numeric<'a> {
    /// Number of points, at least 1.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Never: an empty block is no block.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The points' x.
    pub fn x(&self) -> impl Iterator<Item = f64> + use<'a> {
        let affine = self.flags & X_AFFINE != 0;
        let (words, count) = (f64s(self.x), self.len());
        let (start, stride) = if affine { (at(words, 0), at(words, 1)) } else { (0.0, 0.0) };
        (0..count).map(move |i| if affine { start + stride * i as f64 } else { at(words, i) })
    }

    /// The points' y.
    pub fn y(&self) -> impl Iterator<Item = f64> + use<'a> {
        let narrow = self.flags & Y_F32 != 0;
        let (words, halves) = (f64s(self.y), self.y.as_chunks::<4>().0);
        (0..self.len())
            .map(move |i| if narrow { f64::from(f32::from_le_bytes(halves[i])) } else { at(words, i) })
    }

    /// The points' times, microseconds since the epoch.
    pub fn time(&self) -> impl Iterator<Item = i64> + use<'a> {
        let (flags, bytes) = (self.flags, self.time);
        let words = bytes.as_chunks::<8>().0;
        let deltas = bytes.get(8..).unwrap_or_default().as_chunks::<4>().0;
        (0..self.len()).map(move |i| {
            if flags & TIME_CONSTANT != 0 {
                i64::from_le_bytes(words[0])
            } else if flags & TIME_DELTAS != 0 {
                i64::from_le_bytes(words[0]).wrapping_add(i64::from(u32::from_le_bytes(deltas[i])))
            } else {
                i64::from_le_bytes(words[i])
            }
        })
    }
}

fn f64s(bytes: &[u8]) -> &[[u8; 8]] {
    bytes.as_chunks::<8>().0
}

fn at(words: &[[u8; 8]], i: usize) -> f64 {
    f64::from_le_bytes(words[i])
}

/// Points of a text block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Text<'a> {
    count: u32,
    columns: &'a [u8],
    texts: &'a str,
}

/// One text point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextEntry<'a> {
    /// Step.
    pub x: f64,
    /// Microseconds since the epoch.
    pub time: i64,
    /// The text, or a part of it.
    pub text: &'a str,
    /// The text goes on in the channel's next point.
    pub continues: bool,
}

impl<'a> Text<'a> {
    /// The points in order.
    pub fn entries(&self) -> impl Iterator<Item = TextEntry<'a>> + use<'a> {
        let count = self.count as usize;
        let (xs, rest) = self.columns.split_at(8 * count);
        let (times, lengths) = rest.split_at(8 * count);
        let mut texts = self.texts;
        (0..count).map(move |i| {
            let length = u32::from_le_bytes(lengths.as_chunks::<4>().0[i]);
            let (text, rest) = texts.split_at((length & !CONTINUES) as usize);
            texts = rest;
            TextEntry {
                x: at(f64s(xs), i),
                time: i64::from_le_bytes(times.as_chunks::<8>().0[i]),
                text,
                continues: length & CONTINUES != 0,
            }
        })
    }
}

/// Points of an image block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Images<'a> {
    count: u32,
    body: &'a [u8],
}

/// One image point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageEntry<'a> {
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
    /// Title.
    pub name: &'a str,
    /// Text.
    pub description: &'a str,
}

impl<'a> Images<'a> {
    /// The points in order.
    pub fn entries(&self) -> impl Iterator<Item = ImageEntry<'a>> + use<'a> {
        let mut reader = Reader { rest: self.body };
        (0..self.count).map_while(move |_| reader.image().ok())
    }
}

/// Bytes of a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Log<'a> {
    /// Where the first byte stands in the stream.
    pub offset: u64,
    /// Milliseconds since the attempt started.
    pub x: f64,
    /// Microseconds since the epoch.
    pub time: i64,
    /// At least one byte; any bytes.
    pub bytes: &'a [u8],
}

/// Reads whose frame it is, without checking the rest.
///
/// # Errors
///
/// [`FrameError`] when the bytes do not begin like a frame.
pub fn parse_header(bytes: &[u8]) -> Result<Header, FrameError> {
    if bytes.len() > FRAME_BYTES {
        return Err(FrameError::TooLong { bytes: bytes.len() });
    }
    let mut reader = Reader { rest: bytes };
    if reader.array::<4>()? != *MAGIC {
        return Err(FrameError::Layout("wrong magic"));
    }
    let session = SessionId::from_bytes(reader.array()?);
    let seq = reader.u64()?;
    if seq == 0 {
        return Err(FrameError::Layout("seq counts from 1"));
    }
    Ok(Header { session, seq })
}

/// Checks a whole frame: checksum, lengths, UTF-8. Nothing in it can fail afterwards.
///
/// Cost: one pass of CRC-32 and one of UTF-8 checking; numbers are not touched.
///
/// # Errors
///
/// [`FrameError`] with the first thing that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = parse_header(bytes)?;
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(FrameError::Layout("cut"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(FrameError::Checksum);
    }
    let mut reader = Reader { rest: body.get(HEADER_BYTES - 4..).ok_or(FrameError::Layout("cut"))? };
    let count = reader.u16()?;
    reader.zero()?;
    let mut blocks = Vec::with_capacity(usize::from(count).min(FRAME_BYTES / BLOCK_HEADER_BYTES));
    for _ in 0..count {
        blocks.push(reader.block()?);
    }
    reader.end()?;
    Ok(Frame { header, blocks })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(FrameError::Layout("cut"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FrameError::Layout("cut"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, FrameError> {
        self.array().map(i64::from_le_bytes)
    }

    fn f64(&mut self) -> Result<f64, FrameError> {
        self.array().map(f64::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| FrameError::Layout("text that is not UTF-8"))
    }

    fn zero(&mut self) -> Result<(), FrameError> {
        if self.u16()? != 0 {
            return Err(FrameError::Layout("reserved bytes must be zero"));
        }
        Ok(())
    }

    fn end(&self) -> Result<(), FrameError> {
        if !self.rest.is_empty() {
            return Err(FrameError::Layout("more bytes than announced"));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(u32, Block<'a>), FrameError> {
        let [kind, flags] = self.array()?;
        self.zero()?;
        let (channel, count, length) = (self.u32()?, self.u32()?, self.u32()? as usize);
        let mut body = Reader { rest: self.take(length)? };
        if count == 0 {
            return Err(FrameError::Layout("a block of no points"));
        }
        if kind != NUMERIC && flags != 0 {
            return Err(FrameError::Layout("unknown flags"));
        }
        let block = match kind {
            NUMERIC => Block::Numeric(body.numeric(count, flags)?),
            TEXT => Block::Text(body.texts(count)?),
            IMAGE => Block::Images(body.images(count)?),
            LOG => Block::Log(body.log(count)?),
            DROPPED => Block::Dropped(count),
            _ => return Err(FrameError::Layout("unknown block kind")),
        };
        body.end()?;
        Ok((channel, block))
    }

    fn numeric(&mut self, count: u32, flags: u8) -> Result<Numeric<'a>, FrameError> {
        let unknown = flags & !(X_AFFINE | Y_F32 | TIME_CONSTANT | TIME_DELTAS) != 0;
        if unknown || flags & TIME_CONSTANT != 0 && flags & TIME_DELTAS != 0 {
            return Err(FrameError::Layout("unknown flags"));
        }
        // With every column constant or affine a few bytes could stand for billions of points; y is always written out.
        let n = count as usize;
        let x = self.take(if flags & X_AFFINE != 0 { 16 } else { 8 * n })?;
        let y = self.take(if flags & Y_F32 != 0 { 4 * n } else { 8 * n })?;
        let time = self.take(match flags & (TIME_CONSTANT | TIME_DELTAS) {
            TIME_CONSTANT => 8,
            TIME_DELTAS => 8 + 4 * n,
            _ => 8 * n,
        })?;
        Ok(Numeric { count, flags, x, y, time })
    }

    fn texts(&mut self, count: u32) -> Result<Text<'a>, FrameError> {
        let n = count as usize;
        let columns = self.take(n.checked_mul(20).ok_or(FrameError::Layout("cut"))?)?;
        let mut texts = Reader { rest: self.rest };
        for length in columns[16 * n..].as_chunks::<4>().0 {
            let length = (u32::from_le_bytes(*length) & !CONTINUES) as usize;
            if length > TEXT_BYTES {
                return Err(FrameError::Layout("text of more than 32 KiB in one point"));
            }
            texts.text(length)?;
        }
        let bytes = self.take(self.rest.len() - texts.rest.len())?;
        let texts = std::str::from_utf8(bytes).map_err(|_| FrameError::Layout("text that is not UTF-8"))?;
        Ok(Text { count, columns, texts })
    }

    fn images(&mut self, count: u32) -> Result<Images<'a>, FrameError> {
        let body = self.rest;
        for _ in 0..count {
            self.image()?;
        }
        Ok(Images { count, body })
    }

    fn image(&mut self) -> Result<ImageEntry<'a>, FrameError> {
        let (x, time) = (self.f64()?, self.i64()?);
        let digest = Digest::from_bytes(self.array()?);
        let (width, height, size_bytes) = (self.u32()?, self.u32()?, self.u64()?);
        let (name, description) = (usize::from(self.u16()?), usize::from(self.u16()?));
        if name.max(description) > IMAGE_TEXT_BYTES {
            return Err(FrameError::Layout("image name or description of more than 4 KiB"));
        }
        let (name, description) = (self.text(name)?, self.text(description)?);
        Ok(ImageEntry { x, time, digest, width, height, size_bytes, name, description })
    }

    fn log(&mut self, count: u32) -> Result<Log<'a>, FrameError> {
        let (offset, x, time) = (self.u64()?, self.f64()?, self.i64()?);
        let bytes = self.take(self.rest.len())?;
        if count != 1 || bytes.is_empty() {
            return Err(FrameError::Layout("a log block is one piece of at least one byte"));
        }
        if offset.checked_add(bytes.len() as u64).is_none() {
            return Err(FrameError::Layout("log offset out of range"));
        }
        Ok(Log { offset, x, time, bytes })
    }
}
