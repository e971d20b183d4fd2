//! What a program holds of a channel: cheap to clone, usable from any thread and after a fork.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, Micros};
use once_cell::race::OnceBox;

use super::buffer::{Budget, Buffer, CHUNK_POINTS, ENTRY_BYTES, LogPiece, Point, TextPoint};
use super::inner::Inner;
use crate::fork;
use crate::notice::Notice;

/// Points appended to a buffer under one lock by a bulk send.
const BULK_POINTS: usize = 16 << 10;
/// A piece of a log takes at most this part of the memory, so that others find room beside it.
const PIECES: usize = 4;

/// A channel of numbers.
#[derive(Debug, Clone)]
pub struct NumericChannel(pub(super) Handle);

/// A channel of texts.
#[derive(Debug, Clone)]
pub struct TextChannel(pub(super) Handle);

/// The log of standard output or standard error: bytes, whose lines are the channel's points.
#[derive(Debug, Clone)]
pub struct LogChannel(pub(super) Handle);

/// A channel of images.
#[derive(Debug, Clone)]
pub struct ImageChannel(pub(super) Handle);

/// An image about to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageData {
    /// The file: PNG, JPEG, GIF, BMP or WebP.
    pub bytes: Bytes,
    /// Step; none continues the channel.
    pub x: Option<f64>,
    /// When.
    pub time: Micros,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Title, may be empty; cut to 4 KiB.
    pub name: String,
    /// May be empty; cut to 4 KiB.
    pub description: String,
}

impl NumericChannel {
    /// Sends a point; returns at once. x of any value and order is kept, NaN and infinities included.
    #[inline]
    pub fn send(&self, x: f64, y: f64, time: Micros) {
        self.send_at(Some(x), y, time);
    }

    /// Sends a point whose x continues the channel: 1 at first, later one more than the whole part of the last x.
    pub fn send_next(&self, y: f64, time: Micros) {
        self.send_at(None, y, time);
    }

    #[inline]
    fn send_at(&self, x: Option<f64>, y: f64, time: Micros) {
        let handle = self.0.current();
        let mut buffer = handle.buffer();
        let point = Point { x: buffer.place(x), y, time: time.0 };
        if !buffer.closed && buffer.push(point, &handle.inner.shared.budget).is_ok() {
            handle.mark(&mut buffer);
            return;
        }
        drop(buffer);
        handle.push_slowly(point);
    }

    /// Sends points of equal time; `x` and `y` are of one length (the shorter counts).
    pub fn send_many(&self, x: &[f64], y: &[f64], time: Micros) {
        let handle = self.0.current();
        let budget = &handle.inner.shared.budget;
        let (mut x, mut y) = (x, y);
        while !x.is_empty() && !y.is_empty() {
            let mut taken = 0;
            let mut buffer = handle.buffer();
            for (x, y) in x.iter().zip(y).take(BULK_POINTS) {
                let x = buffer.place(Some(*x));
                if buffer.closed || buffer.push(Point { x, y: *y, time: time.0 }, budget).is_err() {
                    break;
                }
                taken += 1;
            }
            if taken > 0 {
                handle.mark(&mut buffer);
            }
            drop(buffer);
            if taken == 0 {
                let point = Point { x: x[0], y: y[0], time: time.0 };
                handle.push_slowly(point);
                taken = 1;
            }
            (x, y) = (&x[taken..], &y[taken..]);
        }
    }

    /// Whether a send may have to wait for room, so that a caller can let go of a lock first. Costs one load.
    #[inline]
    pub fn may_wait(&self) -> bool {
        self.0.current().may_wait(CHUNK_POINTS * size_of::<Point>())
    }

    /// Points of this channel that the server has on disk: always the first so many that were sent and not dropped.
    pub fn acked_points(&self) -> u64 {
        self.0.acked()
    }
}

impl TextChannel {
    /// Sends a text; without `x` it continues the channel. A text of over 32 KiB arrives as several points.
    pub fn send(&self, x: Option<f64>, text: &str, time: Micros) {
        let add = |buffer: &mut Buffer| {
            let x = buffer.place(x);
            buffer.texts.push(TextPoint { x, time: time.0, text: text.into() });
        };
        let (handle, bytes) = (self.0.current(), ENTRY_BYTES + text.len());
        if handle.inner.shared.budget.may_fit(bytes) {
            handle.push(bytes, add, |buffer| buffer.dropped += 1);
        } else {
            handle.refuse(text.len(), handle.inner.shared.budget.limit());
        }
    }

    /// Whether sending a text may have to wait for room, so that a caller can let go of a lock first. Costs one load.
    pub fn may_wait(&self, text: &str) -> bool {
        let (handle, bytes) = (self.0.current(), ENTRY_BYTES + text.len());
        handle.inner.shared.budget.may_fit(bytes) && handle.may_wait(bytes)
    }

    /// Texts of this channel that the server has on disk; each part of a long text counts.
    pub fn acked_points(&self) -> u64 {
        self.0.acked()
    }
}

impl LogChannel {
    /// Appends bytes; `x` is the milliseconds since the attempt started. Very many are appended in several pieces, each as
    /// soon as it finds room.
    ///
    /// A log belongs to the process that opened it: bytes from a forked child have no place in the stream and are dropped
    /// and counted.
    pub fn send(&self, x: f64, bytes: &[u8], time: Micros) {
        let handle = self.0.current();
        for bytes in bytes.chunks((handle.inner.shared.budget.limit() / PIECES).max(1)) {
            let add = |buffer: &mut Buffer| {
                let lost_before = std::mem::take(&mut buffer.log_lost);
                buffer.log.push(LogPiece { x, time: time.0, bytes: bytes.into(), lost_before });
            };
            let lose = |buffer: &mut Buffer| buffer.log_lost += bytes.len() as u64;
            handle.push(ENTRY_BYTES + bytes.len(), add, lose);
        }
    }

    /// Pieces of this log that the server has on disk.
    pub fn acked_points(&self) -> u64 {
        self.0.acked()
    }
}

impl ImageChannel {
    /// Sends an image: the file first, then its point. Other channels never wait for it.
    pub fn send(&self, image: ImageData) {
        self.0.current().push_image(image);
    }

    /// Images of this channel that the server has on disk.
    pub fn acked_points(&self) -> u64 {
        self.0.acked()
    }
}

/// A channel and the writer it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) inner: Arc<Inner>,
    pub(super) core: Arc<Core>,
}

/// A channel of one process's writer.
#[derive(Debug)]
pub(super) struct Core {
    generation: u64,
    pub(super) number: u32,
    pub(super) name: ChannelName,
    pub(super) kind: ChannelKind,
    pub(super) origin: ChannelOrigin,
    buffer: Mutex<Buffer>,
    pub(super) acked: AtomicU64,
    /// The background thread has told the session of it.
    pub(super) announced: AtomicBool,
    /// This channel in a forked child.
    successor: OnceBox<Handle>,
}

impl Core {
    pub(super) fn new(number: u32, name: ChannelName, kind: ChannelKind, origin: ChannelOrigin) -> Self {
        Self {
            generation: fork::generation(),
            number,
            name,
            kind,
            origin,
            buffer: Mutex::default(),
            acked: AtomicU64::new(0),
            announced: AtomicBool::new(false),
            successor: OnceBox::new(),
        }
    }

    pub(super) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().expect("nothing panics while it holds this lock")
    }
}

impl Handle {
    /// This channel in this process; opened anew in a forked child that uses it for the first time.
    #[inline]
    fn current(&self) -> &Handle {
        if self.core.generation == fork::generation() { self } else { self.successor() }
    }

    #[cold]
    fn successor(&self) -> &Handle {
        let mut handle = self;
        while handle.core.generation != fork::generation() {
            handle = handle.core.successor.get_or_init(|| {
                let inner = Arc::clone(Inner::current(&handle.inner));
                let core = inner.shared.reopen_channel(&handle.core);
                Box::new(Handle { inner, core })
            });
        }
        handle
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.core.buffer()
    }

    /// Whether so many bytes do not fit now. Another thread may take the room in between: this is a hint.
    #[inline]
    fn may_wait(&self, bytes: usize) -> bool {
        let budget = &self.inner.shared.budget;
        budget.used() + bytes > budget.limit()
    }

    fn acked(&self) -> u64 {
        self.current().core.acked.load(Ordering::Acquire)
    }

    /// Tells the background thread once that this channel has something.
    #[inline]
    fn mark(&self, buffer: &mut Buffer) {
        if !buffer.dirty {
            buffer.dirty = true;
            self.inner.shared.mark_dirty(self.core.number);
        }
    }

    /// Adds something of so many bytes, or loses it when there is no room.
    fn push(&self, bytes: usize, add: impl FnOnce(&mut Buffer), lose: impl FnOnce(&mut Buffer)) {
        let budget = &self.inner.shared.budget;
        let room = budget.take(bytes) || self.wait_for_room(budget, bytes) && budget.take(bytes);
        let mut buffer = self.buffer();
        if room && !buffer.closed {
            add(&mut buffer);
        } else {
            lose(&mut buffer);
            if room {
                budget.give_back(bytes);
            }
        }
        self.mark(&mut buffer);
    }

    /// Counts something as dropped for which there can be no room, ever.
    fn refuse(&self, size_bytes: usize, limit_bytes: usize) {
        let channel = self.core.name.clone();
        self.inner.shared.settings.notices.say(Notice::TooLarge { channel, size_bytes, limit_bytes });
        let mut buffer = self.buffer();
        buffer.too_large += 1;
        self.mark(&mut buffer);
    }

    /// The way of a point that found no room: waits for it while there is hope, then counts it as dropped.
    #[cold]
    fn push_slowly(&self, point: Point) {
        let shared = &self.inner.shared;
        loop {
            let mut buffer = self.buffer();
            let full = match buffer.closed {
                true => None,
                false => match buffer.push(point, &shared.budget) {
                    Ok(()) => return self.mark(&mut buffer),
                    Err(full) => Some(full),
                },
            };
            drop(buffer);
            if !full.is_some_and(|full| self.wait_for_room(&shared.budget, full.bytes)) {
                let mut buffer = self.buffer();
                buffer.dropped += 1;
                return self.mark(&mut buffer);
            }
        }
    }

    fn wait_for_room(&self, budget: &Budget, bytes: usize) -> bool {
        if budget.is_stalled() {
            return false;
        }
        self.inner.shared.wake();
        budget.wait_for_room(bytes)
    }

    fn push_image(&self, image: ImageData) {
        let budget = &self.inner.shared.image_budget;
        let bytes = ENTRY_BYTES + image.bytes.len();
        if !budget.may_fit(bytes) {
            return self.refuse(image.bytes.len(), budget.limit());
        }
        let room = budget.take(bytes) || self.wait_for_room(budget, bytes) && budget.take(bytes);
        let mut buffer = self.buffer();
        if room && !buffer.closed {
            let x = buffer.place(image.x);
            buffer.images.push(ImageData { x: Some(x), ..image });
        } else {
            buffer.dropped += 1;
            if room {
                budget.give_back(bytes);
            }
        }
        self.mark(&mut buffer);
    }
}
