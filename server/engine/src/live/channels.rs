//! Following channels: their points, lines and images in order, from a place in each.

use std::sync::Arc;
use std::time::Duration;

use neptune_store::Store;
use neptune_wire::ChannelName;
use tokio::sync::watch;
use tokio::time::Instant;

use super::LiveEvent;
use crate::Refused;
use crate::heads::{ChannelHead, Head, JobHeads};
use crate::query::{images, lines};

/// Channels of one subscription.
const CHANNELS: usize = 1_000;
/// One channel is told of at most this often, which is as often as a screen shows it.
const EVERY: Duration = Duration::from_millis(16);
/// The most that is told of a channel at once.
const POINTS: u64 = 16 << 10;
const IMAGES: usize = 100;
/// Further behind than this, a reader does better to ask for the range as a whole.
const POINTS_BEHIND: u64 = 256 << 10;
const LINES_BEHIND: u64 = 10_000;
const IMAGES_BEHIND: u64 = 1_000;

pub(super) struct FollowChannels {
    heads: Arc<JobHeads>,
    grown: watch::Receiver<u64>,
    places: Vec<Place>,
    /// Whose turn it is, so that a busy channel does not starve the others.
    turn: usize,
}

/// Where a reader stands in one channel.
struct Place {
    name: ChannelName,
    number: u32,
    /// The first that was not told.
    next: u64,
    /// The line before `next` was told, or known, unfinished.
    open: bool,
    /// The state of the channel that was told of.
    revision: u64,
    not_before: Instant,
}

/// What a channel has for a reader.
enum News {
    Event(LiveEvent),
    Lines { until: u64, open: bool, revision: u64 },
    Images { until: u64 },
}

impl FollowChannels {
    pub(super) fn new(heads: Arc<JobHeads>, names: &[ChannelName]) -> Result<FollowChannels, Refused> {
        if names.len() > CHANNELS {
            return Err(Refused::TooLarge { what: "number of channels", limit: CHANNELS as u64 });
        }
        let grown = heads.grown.subscribe();
        let mut places = Vec::with_capacity(names.len());
        {
            let inner = heads.lock();
            for name in names {
                let (number, channel) = inner.find_channel(name)?;
                let open = matches!(&channel.head, Head::Log(log) if log.is_open());
                places.push(Place {
                    name: name.clone(),
                    number,
                    next: channel.count(),
                    open,
                    revision: channel.revision(),
                    not_before: Instant::now(),
                });
            }
        }
        Ok(FollowChannels { heads, grown, places, turn: 0 })
    }

    pub(super) fn marks(&self) -> Vec<u64> {
        self.places.iter().map(|place| place.next).collect()
    }

    pub(super) async fn next(&mut self, store: &Store) -> Option<LiveEvent> {
        loop {
            self.heads.check_current().ok()?;
            self.grown.mark_unchanged();
            let (found, due) = self.look();
            let Some((at, news)) = found else {
                tokio::select! {
                    grown = self.grown.changed() => grown.ok()?,
                    () = sleep_until(due), if due.is_some() => {}
                }
                continue;
            };
            let event = match news {
                News::Event(event) => event,
                News::Lines { until, open, revision } => self.lines(store, at, until, open, revision).await,
                News::Images { until } => self.images(store, at, until).await,
            };
            self.turn = at + 1;
            self.places[at].not_before = Instant::now() + EVERY;
            return Some(event);
        }
    }

    /// The next channel that has something and may tell it; else when the first of those that have to wait may.
    fn look(&mut self) -> (Option<(usize, News)>, Option<Instant>) {
        let (now, count) = (Instant::now(), self.places.len());
        let inner = self.heads.lock();
        let mut due: Option<Instant> = None;
        for at in (0..count).map(|step| (self.turn + step) % count) {
            let place = &mut self.places[at];
            let channel = &inner.channels[place.number as usize];
            if place.revision == channel.revision() {
                continue;
            }
            if place.not_before <= now {
                return (Some((at, place.news(channel))), None);
            }
            due = Some(due.map_or(place.not_before, |due| due.min(place.not_before)));
        }
        (None, due)
    }

    /// Reads and tells lines up to `until`, or as many as a few frames hold.
    async fn lines(&mut self, store: &Store, at: usize, until: u64, open: bool, revision: u64) -> LiveEvent {
        let place = &mut self.places[at];
        let from = if place.open { place.next - 1 } else { place.next };
        let read = lines::from(store, &self.heads, place.number, from).await;
        let mut lines = read.unwrap_or_else(|error| place.unreadable(&error));
        lines.retain(|line| line.line < until);
        let Some(last) = lines.last() else { return place.skip_to(until, open, revision) };
        place.next = last.line + 1;
        place.open = false;
        if place.next == until {
            (place.open, place.revision) = (open, revision);
        }
        LiveEvent::Lines { channel: place.name.clone(), lines: Arc::new(lines) }
    }

    /// Reads and tells images up to `until`, or as many as one event holds.
    async fn images(&mut self, store: &Store, at: usize, until: u64) -> LiveEvent {
        let place = &mut self.places[at];
        let read = images::from(store, &self.heads, place.number, place.next, IMAGES).await;
        let images = read.unwrap_or_else(|error| place.unreadable(&error));
        let Some(last) = images.last() else { return place.skip_to(until, false, until) };
        place.next = last.index + 1;
        place.revision = place.next;
        LiveEvent::Images { channel: place.name.clone(), images: Arc::new(images) }
    }
}

impl Place {
    /// What the channel, which grew, has for the reader. Points are taken along; lines and images are still to be read.
    fn news(&mut self, channel: &ChannelHead) -> News {
        let (count, revision) = (channel.count(), channel.revision());
        let open = matches!(&channel.head, Head::Log(log) if log.is_open());
        let limit = match &channel.head {
            Head::Numeric(_) => POINTS_BEHIND,
            Head::Text(_) | Head::Log(_) => LINES_BEHIND,
            Head::Images(_) => IMAGES_BEHIND,
        };
        // Points that lie in chunks are read by those who ask for a range.
        let sealed = match &channel.head {
            Head::Numeric(head) => head.sealed_count(),
            _ => 0,
        };
        if count - self.next > limit || self.next < sealed {
            return News::Event(self.skip_to(count, open, revision));
        }
        match &channel.head {
            Head::Numeric(head) => {
                let (index, end) = (self.next, count.min(self.next + POINTS));
                (self.next, self.revision) = (end, end);
                let points = Arc::new(head.copy(index..end));
                News::Event(LiveEvent::Points { channel: self.name.clone(), index, points })
            }
            Head::Text(_) | Head::Log(_) => News::Lines { until: count, open, revision },
            Head::Images(_) => News::Images { until: count },
        }
    }

    /// Leaves out what lies between, and says so.
    fn skip_to(&mut self, count: u64, open: bool, revision: u64) -> LiveEvent {
        let from = self.next;
        (self.next, self.open, self.revision) = (count, open, revision);
        LiveEvent::Reread { channel: Some(self.name.clone()), from }
    }

    /// Nothing can be told of what cannot be read; whoever reads the range meets the fault itself.
    fn unreadable<T>(&self, error: &Refused) -> Vec<T> {
        tracing::error!(channel = %self.name, %error, "live points could not be read");
        Vec::new()
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
