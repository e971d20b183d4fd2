//! What callers put in and the background thread takes out: one buffer per channel under a lock that is nearly always free.
//!
//! A numeric buffer is a list of full chunks and one open chunk that grows by doubling, so a point costs a lock and a
//! store of 24 bytes, and memory is asked for once per doubling, later once per [`CHUNK_POINTS`]. All buffers of a writer
//! ask one [`Budget`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::channel::ImageData;

/// Points of a full chunk: 96 KiB, below the size from which the C library maps memory page by page.
pub(super) const CHUNK_POINTS: usize = 4096;
const FIRST_POINTS: usize = 4;
/// What an entry of text, log or image costs besides its bytes.
pub(super) const ENTRY_BYTES: usize = 64;
/// A caller that outruns the disk waits so long for room, once; then nobody waits until the disk makes progress again.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// A numeric point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) time: i64,
}

/// A text point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextPoint {
    pub(super) x: f64,
    pub(super) time: i64,
    pub(super) text: Box<str>,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogPiece {
    pub(super) x: f64,
    pub(super) time: i64,
    pub(super) bytes: Box<[u8]>,
    /// Bytes that were dropped before it: its place in the stream is behind them.
    pub(super) lost_before: u64,
}

/// Everything of one channel that is not in a frame yet.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) chunks: Vec<Vec<Point>>,
    pub(super) open: Vec<Point>,
    /// An empty chunk to go on with when `open` is taken away.
    spare: Vec<Point>,
    pub(super) texts: Vec<TextPoint>,
    pub(super) log: Vec<LogPiece>,
    pub(super) images: Vec<ImageData>,
    /// Points for which there was no room, since the last report.
    pub(super) dropped: u64,
    /// Points that are larger than all memory, since the last report.
    pub(super) too_large: u64,
    /// Bytes of a log for which there was no room, behind the last piece.
    pub(super) log_lost: u64,
    /// x of a point that comes without one: 1 at first, later one more than the whole part of the last x.
    next_x: Option<f64>,
    /// Whether the background thread has been told that there is something.
    pub(super) dirty: bool,
    /// Nothing more is taken.
    pub(super) closed: bool,
}

/// There is no room in memory for so many bytes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) bytes: usize,
}

impl Buffer {
    /// The x to use, and remembers it as the last one.
    pub(super) fn place(&mut self, x: Option<f64>) -> f64 {
        let x = x.or(self.next_x).unwrap_or(1.0);
        if x.is_finite() {
            self.next_x = Some(x.floor() + 1.0);
        }
        x
    }

    /// Adds a point.
    #[inline]
    pub(super) fn push(&mut self, point: Point, budget: &Budget) -> Result<(), Full> {
        if self.open.len() == self.open.capacity() {
            self.grow(budget)?;
        }
        self.open.push(point);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, budget: &Budget) -> Result<(), Full> {
        let points = match self.open.capacity() {
            0 => FIRST_POINTS,
            capacity if capacity < CHUNK_POINTS => capacity,
            _ => CHUNK_POINTS,
        };
        let bytes = points * size_of::<Point>();
        if !budget.take(bytes) {
            return Err(Full { bytes });
        }
        if self.open.capacity() >= CHUNK_POINTS {
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(CHUNK_POINTS));
            self.chunks.push(full);
        } else {
            self.open.reserve_exact(points);
        }
        Ok(())
    }

    /// Goes on with the chunk that was lent.
    pub(super) fn swap_in_spare(&mut self) {
        self.open = std::mem::take(&mut self.spare);
    }

    /// Takes an empty chunk for the time when `open` is taken away; answers the one that is not needed.
    pub(super) fn lend(&mut self, chunk: Vec<Point>) -> Vec<Point> {
        match self.spare.capacity() < chunk.capacity() {
            true => std::mem::replace(&mut self.spare, chunk),
            false => chunk,
        }
    }
}

/// The memory all buffers and frames of a writer may use together.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// A caller waited in vain: until frames leave memory again nobody waits.
    stalled: AtomicBool,
    turn: Mutex<()>,
    freed: Condvar,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        let (used, stalled) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { limit, used, stalled, turn: Mutex::new(()), freed: Condvar::new() }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether so many bytes fit when nothing else is there.
    pub(super) fn may_fit(&self, bytes: usize) -> bool {
        bytes <= self.limit
    }

    /// Takes memory if there is room.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.limit;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// The disk takes nothing: until frames leave memory again nobody waits for room.
    pub(super) fn give_up(&self) {
        self.stalled.store(true, Ordering::Relaxed);
        self.freed.notify_all();
    }

    /// Whether waiting for room is known to be in vain.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Makes the frames' share of `before` bytes one of `after`, room or not: it replaces what is given back next.
    pub(super) fn settle(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(more) => drop(self.used.fetch_add(more, Ordering::Relaxed)),
            None => {
                self.stalled.store(false, Ordering::Relaxed);
                self.give_back(before - after);
            }
        }
    }

    /// Gives memory back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_all();
    }

    /// Waits for room that the background thread is making. Not for long, and not again after waiting in vain.
    pub(super) fn wait_for_room(&self, bytes: usize) -> bool {
        let deadline = Instant::now() + ROOM_WITHIN;
        let mut turn = self.turn.lock().expect("nothing panics while it holds this lock");
        while self.used() + bytes > self.limit {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_stalled() {
                self.give_up();
                return false;
            }
            // The notifier does not take the lock, so a wake-up can be missed; the short wait bounds that.
            let wait = left.min(Duration::from_millis(2));
            turn = self.freed.wait_timeout(turn, wait).expect("nothing panics while it holds this lock").0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64) -> Point {
        Point { x, y: 0.5, time: 7 }
    }

    #[test]
    fn points_come_out_in_order_and_memory_is_counted() {
        let budget = Budget::new(10 << 20);
        let mut buffer = Buffer::default();
        for x in 0..10_000 {
            buffer.push(point(f64::from(x)), &budget).unwrap();
        }
        let points: Vec<_> =
            buffer.chunks.iter().flatten().chain(&buffer.open).map(|point| point.x).collect();
        assert_eq!(points, (0..10_000).map(f64::from).collect::<Vec<_>>());
        let held: usize = buffer.chunks.iter().chain([&buffer.open]).map(Vec::capacity).sum();
        assert_eq!(budget.used(), held * size_of::<Point>());
    }

    #[test]
    fn a_full_budget_takes_no_more_and_does_not_stall_callers_for_ever() {
        let budget = Budget::new(100 * size_of::<Point>());
        let mut buffer = Buffer::default();
        let mut taken = 0;
        while buffer.push(point(0.0), &budget).is_ok() {
            taken += 1;
        }
        assert!((50..=100).contains(&taken), "{taken}");
        let begin = Instant::now();
        assert!(!budget.wait_for_room(usize::MAX / 2));
        assert!((0..1000).all(|_| !budget.wait_for_room(usize::MAX / 2)));
        assert!(begin.elapsed() < 2 * ROOM_WITHIN, "{:?}", begin.elapsed());
        budget.settle(buffer.open.capacity() * size_of::<Point>(), 0);
        assert!(budget.wait_for_room(1));
    }

    #[test]
    fn a_missing_x_goes_on_from_the_last() {
        let mut buffer = Buffer::default();
        let xs: Vec<_> = [None, None, Some(7.5), None, Some(f64::NAN), None, Some(-1.0), None]
            .into_iter()
            .map(|x| buffer.place(x).to_string())
            .collect();
        assert_eq!(xs, ["1", "2", "7.5", "8", "NaN", "9", "-1", "0"]);
    }
}
