//! Building a frame block by block, never over the limit.

use super::*;
use crate::id::{Digest, SessionId};

/// Builds one frame. Each `push_` takes as many points as still fit and says how many; the rest goes into the next frame.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
    blocks: u16,
}

/// An image point about to be sent; its blob is uploaded before the frame.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
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
    /// Cut to [`IMAGE_TEXT_BYTES`].
    pub name: String,
    /// Cut to [`IMAGE_TEXT_BYTES`].
    pub description: String,
}

impl FrameBuilder {
    /// Begins frame `seq` of a session.
    pub fn new(session: SessionId, seq: u64) -> Self {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(session.as_bytes());
        bytes.extend_from_slice(&seq.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        Self { bytes, blocks: 0 }
    }

    /// Whether no block was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Bytes that a further block's body may have.
    fn room(&self) -> usize {
        if self.blocks == u16::MAX {
            return 0;
        }
        (FRAME_BYTES - CRC_BYTES).saturating_sub(self.bytes.len() + BLOCK_HEADER_BYTES)
    }

    /// Adds points of a numeric channel; `x`, `y` and `time` are of one length. Returns how many were taken, from the front.
    pub fn push_numeric(&mut self, channel: u32, x: &[f64], y: &[f64], time: &[i64]) -> usize {
        debug_assert!(x.len() == y.len() && y.len() == time.len());
        // At worst a point takes 24 bytes; a long affine run takes more points than that bound, in several blocks.
        let count = x.len().min(self.room() / 24);
        if count == 0 {
            return 0;
        }
        let (x, y, time) = (&x[..count], &y[..count], &time[..count]);
        let block = self.begin(NUMERIC, channel, count);
        let flags = self.write_x(x) | self.write_y(y) | self.write_time(time);
        self.bytes[block + 1] = flags;
        self.end(block);
        count
    }

    fn write_x(&mut self, x: &[f64]) -> u8 {
        let start = x[0];
        let stride = if x.len() > 1 { x[1] - start } else { 0.0 };
        let affine = |(i, x): (usize, &f64)| (start + stride * i as f64).to_bits() == x.to_bits();
        if x.len() > 2 && start.is_finite() && stride.is_finite() && x.iter().enumerate().all(affine) {
            self.bytes.extend_from_slice(&start.to_le_bytes());
            self.bytes.extend_from_slice(&stride.to_le_bytes());
            return X_AFFINE;
        }
        x.iter().for_each(|x| self.bytes.extend_from_slice(&x.to_le_bytes()));
        0
    }

    fn write_y(&mut self, y: &[f64]) -> u8 {
        // NaN is left to f64: whether a payload survives a change of width is up to the machine.
        let narrow = |y: &f64| !y.is_nan() && f64::from(*y as f32).to_bits() == y.to_bits();
        if y.iter().all(narrow) {
            y.iter().for_each(|y| self.bytes.extend_from_slice(&(*y as f32).to_le_bytes()));
            return Y_F32;
        }
        y.iter().for_each(|y| self.bytes.extend_from_slice(&y.to_le_bytes()));
        0
    }

    fn write_time(&mut self, time: &[i64]) -> u8 {
        let base = time.iter().copied().min().unwrap_or(0);
        let spread = time.iter().map(|time| time.abs_diff(base)).max().unwrap_or(0);
        if spread == 0 {
            self.bytes.extend_from_slice(&base.to_le_bytes());
            return TIME_CONSTANT;
        }
        if spread <= u64::from(u32::MAX) {
            self.bytes.extend_from_slice(&base.to_le_bytes());
            time.iter().for_each(|time| {
                self.bytes.extend_from_slice(&(time.abs_diff(base) as u32).to_le_bytes());
            });
            return TIME_DELTAS;
        }
        time.iter().for_each(|time| self.bytes.extend_from_slice(&time.to_le_bytes()));
        0
    }

    /// Adds one text point; texts over [`TEXT_BYTES`] must be split by the caller, all parts but the last `continues`.
    /// Returns whether it fitted.
    pub fn push_text(&mut self, channel: u32, x: f64, time: i64, text: &str, continues: bool) -> bool {
        debug_assert!(text.len() <= TEXT_BYTES);
        if self.room() < 20 + text.len() {
            return false;
        }
        let block = self.begin(TEXT, channel, 1);
        self.bytes.extend_from_slice(&x.to_le_bytes());
        self.bytes.extend_from_slice(&time.to_le_bytes());
        let length = text.len() as u32 | if continues { CONTINUES } else { 0 };
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.end(block);
        true
    }

    /// Adds one image point. Returns whether it fitted.
    pub fn push_image(&mut self, channel: u32, image: &ImageRecord) -> bool {
        let name = cut(&image.name, IMAGE_TEXT_BYTES);
        let description = cut(&image.description, IMAGE_TEXT_BYTES);
        if self.room() < 68 + name.len() + description.len() {
            return false;
        }
        let block = self.begin(IMAGE, channel, 1);
        self.bytes.extend_from_slice(&image.x.to_le_bytes());
        self.bytes.extend_from_slice(&image.time.to_le_bytes());
        self.bytes.extend_from_slice(image.digest.as_bytes());
        self.bytes.extend_from_slice(&image.width.to_le_bytes());
        self.bytes.extend_from_slice(&image.height.to_le_bytes());
        self.bytes.extend_from_slice(&image.size_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(description.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(description.as_bytes());
        self.end(block);
        true
    }

    /// Adds bytes of a log that begin at `offset` of its stream. Returns how many were taken, from the front.
    pub fn push_log(&mut self, channel: u32, offset: u64, x: f64, time: i64, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room().saturating_sub(24));
        if count == 0 {
            return 0;
        }
        let block = self.begin(LOG, channel, 1);
        self.bytes.extend_from_slice(&offset.to_le_bytes());
        self.bytes.extend_from_slice(&x.to_le_bytes());
        self.bytes.extend_from_slice(&time.to_le_bytes());
        self.bytes.extend_from_slice(&bytes[..count]);
        self.end(block);
        count
    }

    /// Reports points (for a log: bytes) of a channel that the sender lost. Returns whether it fitted.
    pub fn push_dropped(&mut self, channel: u32, count: u32) -> bool {
        if count == 0 || self.room() == 0 {
            return count == 0;
        }
        let block = self.begin(DROPPED, channel, count as usize);
        self.end(block);
        true
    }

    fn begin(&mut self, kind: u8, channel: u32, count: usize) -> usize {
        let block = self.bytes.len();
        self.bytes.extend_from_slice(&[kind, 0, 0, 0]);
        self.bytes.extend_from_slice(&channel.to_le_bytes());
        self.bytes.extend_from_slice(&(count as u32).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        block
    }

    fn end(&mut self, block: usize) {
        let length = (self.bytes.len() - block - BLOCK_HEADER_BYTES) as u32;
        self.bytes[block + 12..block + 16].copy_from_slice(&length.to_le_bytes());
        self.blocks += 1;
    }

    /// The finished frame.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[28..30].copy_from_slice(&self.blocks.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
