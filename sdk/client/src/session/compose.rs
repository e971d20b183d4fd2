//! Points into numbered frames.

use std::collections::HashMap;
use std::time::Instant;

use neptune_wire::Digest;
use neptune_wire::frame::{FrameBuilder, ImageRecord, TEXT_BYTES};

use super::{Held, Session};

/// The frame being filled.
#[derive(Debug, Default)]
pub(super) struct Composing {
    builder: Option<FrameBuilder>,
    counts: Vec<(u32, u32)>,
    images: Vec<Digest>,
    /// Where each log goes on.
    log_offsets: HashMap<u32, u64>,
}

impl Session {
    /// Adds points of a numeric channel; the columns are of one length.
    pub(crate) fn push_numeric(&mut self, channel: u32, x: &[f64], y: &[f64], time: &[i64], now: Instant) {
        let mut from = 0;
        while from < x.len() {
            let taken = self.builder().push_numeric(channel, &x[from..], &y[from..], &time[from..]);
            self.taken(channel, taken, now);
            from += taken;
        }
    }

    /// Adds a text, in several points when it is long; answers how many.
    pub(crate) fn push_text(&mut self, channel: u32, x: f64, time: i64, text: &str, now: Instant) -> u32 {
        let mut rest = text;
        let mut points = 0;
        loop {
            points += 1;
            let (part, more) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
            while !self.builder().push_text(channel, x, time, part, !more.is_empty()) {
                self.finish_frame(now);
            }
            self.composing.counts.push((channel, 1));
            if more.is_empty() {
                return points;
            }
            rest = more;
        }
    }

    /// Appends bytes to a log; answers in how many pieces.
    pub(crate) fn push_log(&mut self, channel: u32, x: f64, time: i64, bytes: &[u8], now: Instant) -> u32 {
        let mut rest = bytes;
        let mut pieces = 0;
        while !rest.is_empty() {
            let offset = *self.composing.log_offsets.entry(channel).or_default();
            let taken = self.builder().push_log(channel, offset, x, time, rest);
            self.composing.log_offsets.insert(channel, offset + taken as u64);
            self.taken(channel, taken.min(1), now);
            pieces += taken.min(1) as u32;
            rest = &rest[taken..];
        }
        pieces
    }

    /// Says that so many bytes of a log were dropped here: what follows keeps its place in the stream.
    pub(crate) fn push_log_lost(&mut self, channel: u32, bytes: u64, now: Instant) {
        self.push_dropped(channel, bytes, now);
        *self.composing.log_offsets.entry(channel).or_default() += bytes;
    }

    /// Adds an image in a frame of its own, which waits for nothing but its own file.
    pub(crate) fn push_image(&mut self, channel: u32, image: &ImageRecord, now: Instant) {
        self.finish_frame(now);
        let fits = self.builder().push_image(channel, image);
        debug_assert!(fits, "an image's names are cut to fit an empty frame");
        self.composing.counts.push((channel, 1));
        self.composing.images.push(image.digest);
        self.finish_frame(now);
    }

    /// Reports points (for a log: bytes) that were dropped here.
    pub(crate) fn push_dropped(&mut self, channel: u32, count: u64, now: Instant) {
        let mut left = count;
        while left > 0 {
            let part = left.min(u64::from(u32::MAX)) as u32;
            while !self.builder().push_dropped(channel, part) {
                self.finish_frame(now);
            }
            left -= u64::from(part);
        }
    }

    /// Ends the frame being filled and holds it in memory.
    pub(crate) fn finish_frame(&mut self, now: Instant) {
        let Some(builder) = self.composing.builder.take().filter(|builder| !builder.is_empty()) else {
            return;
        };
        let bytes = bytes::Bytes::from(builder.finish());
        self.last += 1;
        self.memory_bytes += bytes.len();
        let counts = std::mem::take(&mut self.composing.counts).into();
        let images = std::mem::take(&mut self.composing.images).into();
        self.memory.push_back(Held { seq: self.last, bytes, counts, images, made: now });
    }

    fn builder(&mut self) -> &mut FrameBuilder {
        let (id, seq) = (self.id, self.last + 1);
        self.composing.builder.get_or_insert_with(|| FrameBuilder::new(id, seq))
    }

    /// So many points were taken; none means that the frame is full.
    fn taken(&mut self, channel: u32, count: usize, now: Instant) {
        if count == 0 {
            return self.finish_frame(now);
        }
        match self.composing.counts.last_mut() {
            Some((last, points)) if *last == channel => *points += count as u32,
            _ => self.composing.counts.push((channel, count as u32)),
        }
    }
}
