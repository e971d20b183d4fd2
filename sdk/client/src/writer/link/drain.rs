//! From buffers into frames.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use neptune_wire::ChannelKind;
use neptune_wire::frame::ImageRecord;
use neptune_wire::ingest::OpenChannel;

use super::{Link, POINTS};
use crate::notice::Notice;
use crate::random::new_session_id;
use crate::rest::digest_bytes;
use crate::session::Session;
use crate::writer::buffer::{Buffer, ENTRY_BYTES, Point};
use crate::writer::channel::{Core, ImageData};
use crate::writer::shared::Shared;

/// A buffer's chunk of up to so many points is kept for its channel's next points.
const KEPT_POINTS: usize = 256;
const IMAGES: usize = 1;

/// What is carried from turn to turn.
#[derive(Default)]
pub(super) struct Drain {
    dirty: Vec<u32>,
    /// By number, as far as they were met.
    cores: Vec<Arc<Core>>,
    columns: (Vec<f64>, Vec<f64>, Vec<i64>),
    /// Points that were dropped and not reported yet, by channel.
    dropped: BTreeMap<u32, u64>,
    /// Points taken into frames, ever.
    pub(super) framed_points: u64,
    /// Why the spool took no more, when it last did not.
    pub(super) spool_trouble: Option<String>,
}

impl Drain {
    /// Books acknowledged points on their channel.
    pub(super) fn acked(&self, shared: &Shared, number: u32, count: u32) {
        let found = self.cores.get(number as usize).cloned().or_else(|| shared.find_channel(number));
        if let Some(core) = found {
            core.acked.fetch_add(u64::from(count), Ordering::Release);
        }
    }
}

impl Link {
    /// Takes everything out of the buffers. Answers whether there was anything.
    pub(super) fn take_points(&mut self, now: Instant) -> bool {
        let mut dirty = std::mem::take(&mut self.drain.dirty);
        self.shared.take_dirty(&mut dirty);
        let stopped = self.connection.is_stopped();
        for number in &dirty {
            let Some(core) = self.find_core(*number) else { continue };
            let taken = take(&core, self.closing.is_some());
            match stopped {
                true => self.discard(taken),
                false => self.frame(&core, taken, now),
            }
        }
        self.report_dropped(now);
        self.sessions.iter_mut().for_each(|session| session.finish_frame(now));
        let any = !dirty.is_empty();
        self.drain.dirty = dirty;
        any
    }

    /// Channels in order of their numbers, so that each is announced once.
    fn find_core(&mut self, number: u32) -> Option<Arc<Core>> {
        if number as usize >= self.drain.cores.len() {
            let more = self.shared.list_channels_from(self.drain.cores.len());
            self.drain.cores.extend(more);
        }
        self.drain.cores.get(number as usize).cloned()
    }

    fn frame(&mut self, core: &Core, taken: Taken, now: Instant) {
        let at = match core.kind {
            ChannelKind::Image => IMAGES,
            ChannelKind::Numeric | ChannelKind::Text => POINTS,
        };
        if at == self.sessions.len() {
            self.sessions.push(Session::new(new_session_id()));
        }
        let session = &mut self.sessions[at];
        if !core.announced.swap(true, Ordering::Relaxed) {
            let (name, kind, origin) = (core.name.clone(), core.kind, core.origin);
            session.add_channel(OpenChannel { number: core.number, name, kind, origin });
        }
        let before = self.drain.framed_points;
        for chunk in taken.chunks.iter().chain([&taken.open]).filter(|chunk| !chunk.is_empty()) {
            let (x, y, time) = &mut self.drain.columns;
            columns_from_points(chunk, x, y, time);
            session.push_numeric(core.number, x, y, time, now);
            self.drain.framed_points += chunk.len() as u64;
        }
        for text in &taken.texts {
            self.drain.framed_points +=
                u64::from(session.push_text(core.number, text.x, text.time, &text.text, now));
        }
        for piece in &taken.log {
            session.push_log_lost(core.number, piece.lost_before, now);
            let pieces = session.push_log(core.number, piece.x, piece.time, &piece.bytes, now);
            self.drain.framed_points += u64::from(pieces);
        }
        for image in &taken.images {
            let digest = digest_bytes(&image.bytes);
            self.blobs.add(digest, image.bytes.clone());
            session.push_image(core.number, &record(image, digest), now);
            self.drain.framed_points += 1;
        }
        self.count_sent(self.drain.framed_points - before, &taken);
        // A log says in its own stream where bytes are missing.
        if taken.dropped > 0 {
            *self.drain.dropped.entry(core.number).or_default() += taken.dropped;
        }
        if taken.lacked_room {
            self.say_dropping();
        }
        self.give_back(core, taken);
    }

    /// Returns a buffer's memory, or keeps a little of it for the channel.
    fn give_back(&self, core: &Core, mut taken: Taken) {
        let mut open = std::mem::take(&mut taken.open);
        open.clear();
        if open.capacity() <= KEPT_POINTS {
            open = core.buffer().lend(open);
        }
        taken.open = open;
        self.shared.budget.give_back(taken.bytes());
        self.shared.image_budget.give_back(taken.image_bytes());
    }

    /// Books what came out of a buffer: `points`, and what was dropped between them.
    fn count_sent(&mut self, points: u64, taken: &Taken) {
        self.stats.sent_points += points + taken.lost();
        self.stats.dropped_points += taken.lost();
    }

    /// What a superseded attempt still sends.
    fn discard(&mut self, taken: Taken) {
        let numeric: usize = taken.chunks.iter().chain([&taken.open]).map(Vec::len).sum();
        let points = (numeric + taken.texts.len() + taken.log.len() + taken.images.len()) as u64;
        self.count_sent(points, &taken);
        self.stats.refused_points += points;
        self.drain.framed_points += points;
        self.shared.budget.give_back(taken.bytes());
        self.shared.image_budget.give_back(taken.image_bytes());
    }

    fn say_dropping(&self) {
        let why = self.drain.spool_trouble.clone();
        let why = why.unwrap_or_else(|| "more comes than the disk takes".into());
        let spool = self.shared.settings.spool_dir.clone();
        self.shared.settings.notices.say(Notice::Dropping { spool, why });
    }

    /// Tells the server what was dropped, once there is room again to tell it.
    fn report_dropped(&mut self, now: Instant) {
        if self.drain.dropped.is_empty() {
            return;
        }
        if self.shared.budget.used() > self.shared.budget.limit() / 4 * 3 && self.closing.is_none() {
            return;
        }
        for (number, count) in std::mem::take(&mut self.drain.dropped) {
            let image =
                self.drain.cores.get(number as usize).is_some_and(|core| core.kind == ChannelKind::Image);
            let at = if image { IMAGES } else { POINTS };
            if let Some(session) = self.sessions.get_mut(at) {
                session.push_dropped(number, count, now);
            }
        }
    }
}

/// What was in a buffer.
struct Taken {
    chunks: Vec<Vec<Point>>,
    open: Vec<Point>,
    texts: Vec<crate::writer::buffer::TextPoint>,
    log: Vec<crate::writer::buffer::LogPiece>,
    images: Vec<ImageData>,
    dropped: u64,
    /// Something was dropped because memory was full, also bytes of the log that the next piece will tell of.
    lacked_room: bool,
}

impl Taken {
    /// What the buffers took of the budget.
    fn bytes(&self) -> usize {
        let points: usize = self.chunks.iter().chain([&self.open]).map(Vec::capacity).sum();
        let texts: usize = self.texts.iter().map(|text| ENTRY_BYTES + text.text.len()).sum();
        let log: usize = self.log.iter().map(|piece| ENTRY_BYTES + piece.bytes.len()).sum();
        points * size_of::<Point>() + texts + log
    }

    /// Points, and bytes of a log, that were dropped.
    fn lost(&self) -> u64 {
        self.dropped + self.log.iter().map(|piece| piece.lost_before).sum::<u64>()
    }

    fn image_bytes(&self) -> usize {
        self.images.iter().map(|image| ENTRY_BYTES + image.bytes.len()).sum()
    }
}

fn take(core: &Core, last_time: bool) -> Taken {
    let mut buffer = core.buffer();
    if last_time {
        // No piece of the log follows that could say it.
        buffer.dropped += std::mem::take(&mut buffer.log_lost);
    }
    let lacked_room = buffer.dropped > 0 || buffer.log_lost > 0;
    let Buffer { chunks, open, texts, log, images, dropped, too_large, .. } = &mut *buffer;
    let taken = Taken {
        chunks: std::mem::take(chunks),
        open: std::mem::take(open),
        texts: std::mem::take(texts),
        log: std::mem::take(log),
        images: std::mem::take(images),
        dropped: std::mem::take(dropped) + std::mem::take(too_large),
        lacked_room,
    };
    buffer.swap_in_spare();
    buffer.dirty = false;
    taken
}

fn columns_from_points(points: &[Point], x: &mut Vec<f64>, y: &mut Vec<f64>, time: &mut Vec<i64>) {
    x.clear();
    y.clear();
    time.clear();
    x.extend(points.iter().map(|point| point.x));
    y.extend(points.iter().map(|point| point.y));
    time.extend(points.iter().map(|point| point.time));
}

fn record(image: &ImageData, digest: neptune_wire::Digest) -> ImageRecord {
    ImageRecord {
        x: image.x.unwrap_or(f64::NAN),
        time: image.time.0,
        digest,
        width: image.width,
        height: image.height,
        size_bytes: image.bytes.len() as u64,
        name: image.name.clone(),
        description: image.description.clone(),
    }
}
