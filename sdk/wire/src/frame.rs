//! The binary frame: what one session sends at once, stored by the server as it came.
//!
//! ```text
//! 0    4   magic "NPF1"
//! 4    16  session id
//! 20   8   seq u64           numbers the session's frames from 1
//! 28   2   blocks u16
//! 30   2   zero
//! 32       blocks
//! -4   4   CRC-32 (IEEE, as in zip) of everything before
//!
//! block
//! 0    1   kind u8           1 numeric · 2 text · 3 image · 4 log · 5 dropped
//! 1    1   flags u8          numeric only: 1 x affine · 2 y as f32 · 4 times constant · 8 times as u32 deltas; else 0
//! 2    2   zero
//! 4    4   channel u32       the session's own number, bound by `open_channels`
//! 8    4   count u32         points, at least 1
//! 12   4   body length u32
//! 16       body
//!
//! numeric  x      affine: start f64, stride f64, x[i] = start + stride * i         else count x f64
//!          y      f32: count x f32 (each widens to exactly the y that was sent)     else count x f64
//!          time   constant: i64 · deltas: base i64, count x u32 (time = base + delta) · else count x i64
//! text     count x x f64 · count x time i64 · count x length u32 · the texts, UTF-8, one after another
//!          the top bit of a length says that the text goes on in the next point of this channel
//! image    count x { x f64 · time i64 · digest 32 · width u32 · height u32 · size u64 ·
//!                    name length u16 · description length u16 · name · description }
//! log      count is 1; offset u64 of the first byte in the stream · x f64 · time i64 · bytes (rest of the body)
//! dropped  count points of this channel were lost at the sender; empty body
//! ```
//!
//! All numbers are little-endian. A frame is at most [`FRAME_BYTES`]. NaN payloads survive: a block with a y that f32
//! does not hold bit for bit is written as f64.

mod read;
mod write;

pub use read::{
    Block, Frame, FrameError, Header, ImageEntry, Images, Log, Numeric, Text, TextEntry, parse, parse_header,
};
pub use write::{FrameBuilder, ImageRecord};

/// Longest frame; fits a 64 KiB storage value with room for what the store adds.
pub const FRAME_BYTES: usize = 60 * 1024;
/// Longest text of one point; longer texts go on in the next point.
pub const TEXT_BYTES: usize = 32 * 1024;
/// Longest name and description of an image, each in bytes.
pub const IMAGE_TEXT_BYTES: usize = 4 * 1024;

const MAGIC: &[u8; 4] = b"NPF1";
const HEADER_BYTES: usize = 32;
const BLOCK_HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
const CONTINUES: u32 = 1 << 31;

const NUMERIC: u8 = 1;
const TEXT: u8 = 2;
const IMAGE: u8 = 3;
const LOG: u8 = 4;
const DROPPED: u8 = 5;

const X_AFFINE: u8 = 1;
const Y_F32: u8 = 2;
const TIME_CONSTANT: u8 = 4;
const TIME_DELTAS: u8 = 8;

#[cfg(test)]
mod tests;
