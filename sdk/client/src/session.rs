//! One session: numbers frames, sends them once and in order, and knows which the server has.
//!
//! Frames 1 to `acked` are on the server's disk. What follows is in the spool, the newest up to
//! `last` in memory. On a connection everything from `acked + 1` is sent again; the server
//! drops what it has. Frames are sent only while no `open_channels` waits for its answer: then it is known which channels
//! were refused, and a frame that holds points of a refused channel beside others is sent without them.
//!
//! A number that neither memory nor spool can give (a damaged sector, a server restored from a backup) is filled by a
//! frame that says that something was dropped, so a session never stands still.
//!
//! This is state only: no sockets, no clock, no tasks. [`crate::writer`] and [`mod@crate::sync`] drive it.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use neptune_wire::frame::{self, Block, FrameBuilder};
use neptune_wire::ingest::{IngestDown, IngestUp, OPEN_CHANNELS, OpenChannel, RefusedChannel};
use neptune_wire::{Digest, Problem, SessionId};

use crate::spool::{FrameReader, Spool};

mod blobs;
mod compose;
mod rewrite;

pub(crate) use blobs::{Blobs, Gate, Upload};
use rewrite::without;

/// Frames on their way without an acknowledgement.
const IN_FLIGHT_BYTES: usize = 8 << 20;
const IN_FLIGHT_FRAMES: usize = 4096;

/// Points per channel in a frame, in the order of its blocks; bytes of a log count as one piece.
type Counts = Arc<[(u32, u32)]>;

/// A frame in memory.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    seq: u64,
    bytes: Bytes,
    counts: Counts,
    images: Arc<[Digest]>,
    made: Instant,
}

/// A frame that was sent and not acknowledged yet.
#[derive(Debug)]
struct InFlight {
    seq: u64,
    bytes: usize,
    /// Of what was sent.
    counts: Counts,
    /// Points that were left out.
    left_out: u64,
    images: Arc<[Digest]>,
    refused: bool,
}

/// Where a session stands on the current connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Closed,
    Opening,
    Open,
    Closing,
    /// Closed for good.
    Ended,
}

/// What a message from the server came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// Nothing a driver must act on.
    Nothing,
    /// The session is open. `forgotten`: acknowledged frames that the server does not have any more.
    Opened { forgotten: u64 },
    /// Channels that will never be bound.
    ChannelsRefused(Vec<RefusedChannel>),
    /// A frame was refused for its content.
    FrameRefused(Problem),
    /// The session is closed and everything of it is on the server's disk.
    Ended,
    /// The connection is of no more use: begin a new one.
    Reconnect(String),
}

/// What became of frames since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) acked: Vec<(u32, u32)>,
    pub(crate) refused_points: u64,
    pub(crate) images: Vec<Digest>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    /// Highest number given.
    last: u64,
    acked: u64,
    sent: u64,
    memory: VecDeque<Held>,
    memory_bytes: usize,
    spool: Option<Spool>,
    reader: FrameReader,
    channels: Vec<OpenChannel>,
    channels_on_disk: usize,
    refused: HashSet<u32>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    standing: Standing,
    announced: usize,
    unanswered: usize,
    /// The next frame waits for an image's file.
    waits_for_blob: bool,
    outcome: Outcome,
    composing: compose::Composing,
}

impl Session {
    /// A new session.
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            last: 0,
            acked: 0,
            sent: 0,
            memory: VecDeque::new(),
            memory_bytes: 0,
            spool: None,
            reader: FrameReader::default(),
            channels: vec![],
            channels_on_disk: 0,
            refused: HashSet::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            standing: Standing::Closed,
            announced: 0,
            unanswered: 0,
            waits_for_blob: false,
            outcome: Outcome::default(),
            composing: compose::Composing::default(),
        }
    }

    /// The session of a process that is gone.
    pub(crate) fn resume(spool: Spool) -> io::Result<Self> {
        let mut session = Self::new(spool.file().session);
        session.channels = spool.read_channels()?;
        session.channels_on_disk = session.channels.len();
        session.last = spool.frames().last_seq().unwrap_or(0);
        session.spool = Some(spool);
        Ok(session)
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The server has every frame.
    pub(crate) fn is_settled(&self) -> bool {
        self.acked >= self.last
    }

    /// Open, and no answer but acknowledgements is waited for.
    pub(crate) fn is_sending(&self) -> bool {
        self.standing == Standing::Open && self.unanswered == 0
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.standing == Standing::Ended
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Points in memory alone.
    pub(crate) fn memory_points(&self) -> u64 {
        self.memory.iter().map(|held| sum(held.counts.iter())).sum()
    }

    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    pub(crate) fn spool_mut(&mut self) -> Option<&mut Spool> {
        self.spool.as_mut()
    }

    pub(crate) fn take_spool(&mut self) -> Option<Spool> {
        self.spool.take()
    }

    pub(crate) fn take_outcome(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    /// When the oldest frame was made that is in memory alone.
    pub(crate) fn oldest_made(&self) -> Option<Instant> {
        self.memory.front().map(|held| held.made)
    }

    /// Adds a channel; its number must be new to the session.
    pub(crate) fn add_channel(&mut self, channel: OpenChannel) {
        self.channels.push(channel);
    }

    /// The channel of this number.
    pub(crate) fn find_channel(&self, number: u32) -> Option<&OpenChannel> {
        self.channels.iter().find(|channel| channel.number == number)
    }

    /// A connection began or ended: nothing is open on it.
    pub(crate) fn reset_connection(&mut self) {
        if self.standing != Standing::Ended {
            self.standing = Standing::Closed;
        }
        (self.announced, self.unanswered, self.sent) = (0, 0, self.acked);
        self.waits_for_blob = false;
    }

    /// An image's file arrived, or never will.
    pub(crate) fn unblock(&mut self) {
        self.waits_for_blob = false;
    }

    /// Whether [`Self::next_control`] or [`Self::next_frame`] may have something.
    pub(crate) fn wants_to_send(&self) -> bool {
        match self.standing {
            Standing::Closed => true,
            Standing::Opening | Standing::Closing | Standing::Ended => false,
            Standing::Open => {
                self.announced < self.channels.len()
                    || self.unanswered == 0
                        && self.sent < self.last
                        && !self.waits_for_blob
                        && self.has_window()
            }
        }
    }

    fn has_window(&self) -> bool {
        self.in_flight_bytes < IN_FLIGHT_BYTES && self.in_flight.len() < IN_FLIGHT_FRAMES
    }

    /// The next control message; frames follow once there is none.
    pub(crate) fn next_control(&mut self, open: impl FnOnce(SessionId) -> IngestUp) -> Option<IngestUp> {
        match self.standing {
            Standing::Closed => {
                self.standing = Standing::Opening;
                Some(open(self.id))
            }
            Standing::Open if self.announced < self.channels.len() => {
                let end = (self.announced + OPEN_CHANNELS).min(self.channels.len());
                let channels = self.channels[self.announced..end].to_vec();
                self.announced = end;
                self.unanswered += 1;
                Some(IngestUp::OpenChannels { session: self.id, channels })
            }
            _ => None,
        }
    }

    /// Whether [`Self::close`] has a message: everything is acknowledged and the session is open.
    pub(crate) fn can_close(&self) -> bool {
        self.standing == Standing::Open && self.is_settled() && self.unanswered == 0
    }

    /// The message that closes the session, when it can be closed.
    pub(crate) fn close(&mut self) -> Option<IngestUp> {
        if !self.can_close() {
            return None;
        }
        self.standing = Standing::Closing;
        Some(IngestUp::CloseSession { session: self.id })
    }

    /// The next frame to send, if one may be sent now.
    ///
    /// # Errors
    ///
    /// What the disk said when the spool cannot be read.
    pub(crate) fn next_frame(&mut self, blobs: &mut Blobs) -> io::Result<Option<Bytes>> {
        if self.standing != Standing::Open
            || self.unanswered > 0
            || self.sent >= self.last
            || !self.has_window()
        {
            return Ok(None);
        }
        let held = self.read_frame(self.sent + 1)?;
        let mut lost = HashSet::new();
        for digest in held.images.iter() {
            match blobs.gate(*digest, self.spool.as_ref()) {
                Gate::Send => {}
                Gate::Wait => {
                    self.waits_for_blob = true;
                    return Ok(None);
                }
                Gate::Without => {
                    lost.insert(*digest);
                }
            }
        }
        let is_refused = |(channel, _): &&(u32, u32)| self.refused.contains(channel);
        let refused = sum(held.counts.iter().filter(is_refused));
        let (mut bytes, mut counts, mut left_out) = (held.bytes, held.counts, 0);
        // A frame of refused channels alone goes as it is: the server refuses and counts it.
        if (refused > 0 && refused < sum(counts.iter()) || !lost.is_empty())
            && let Ok(rewritten) = without(&bytes, &self.refused, &lost)
        {
            (bytes, left_out) = (rewritten, refused);
            counts = counts.iter().filter(|count| !is_refused(count)).copied().collect();
            if !lost.is_empty() {
                // An image has its frame for itself.
                (left_out, counts) = (sum(counts.iter()), Arc::default());
            }
        }
        self.sent += 1;
        self.in_flight_bytes += bytes.len();
        let images = held.images;
        let (seq, bytes_sent) = (self.sent, bytes.len());
        self.in_flight.push_back(InFlight {
            seq,
            bytes: bytes_sent,
            counts,
            left_out,
            images,
            refused: false,
        });
        Ok(Some(bytes))
    }

    fn read_frame(&mut self, seq: u64) -> io::Result<Held> {
        if let Some(front) = self.memory.front().map(|held| held.seq)
            && let Some(held) = seq.checked_sub(front).and_then(|at| self.memory.get(at as usize))
        {
            return Ok(held.clone());
        }
        let found = match &self.spool {
            Some(spool) => self.reader.read_from(spool.frames(), seq)?,
            None => None,
        };
        match found {
            Some((found, bytes)) if found == seq => Ok(held_from_bytes(seq, bytes)),
            _ => Ok(held_from_bytes(seq, self.filler(seq))),
        }
    }

    /// A frame that takes the place of a lost one.
    fn filler(&self, seq: u64) -> Bytes {
        let mut builder = FrameBuilder::new(self.id, seq);
        let bound = self.channels.iter().find(|channel| !self.refused.contains(&channel.number));
        if let Some(channel) = bound {
            builder.push_dropped(channel.number, 1);
        }
        builder.finish().into()
    }

    /// Takes a message about this session.
    pub(crate) fn hear(&mut self, message: IngestDown) -> Heard {
        match message {
            IngestDown::SessionOpened { acked, .. } if self.standing == Standing::Opening => {
                self.standing = Standing::Open;
                let forgotten = self.acked.saturating_sub(acked);
                if forgotten > 0 {
                    self.acked = acked;
                }
                self.advance(acked);
                self.last = self.last.max(acked);
                self.sent = acked;
                self.in_flight.clear();
                self.in_flight_bytes = 0;
                Heard::Opened { forgotten }
            }
            IngestDown::ChannelsOpened { refused, .. } if self.unanswered > 0 => {
                self.unanswered -= 1;
                self.refused.extend(refused.iter().map(|channel| channel.number));
                if refused.is_empty() { Heard::Nothing } else { Heard::ChannelsRefused(refused) }
            }
            IngestDown::Acked { acked, .. } if acked <= self.sent => {
                self.advance(acked);
                Heard::Nothing
            }
            IngestDown::Refused { seq, problem, .. } if seq <= self.sent => {
                if let Some(entry) = self.in_flight.iter_mut().find(|entry| entry.seq == seq) {
                    entry.refused = true;
                }
                Heard::FrameRefused(problem)
            }
            IngestDown::Gap { expected, .. } => {
                Heard::Reconnect(format!("the server wants frame {expected} after {}", self.sent))
            }
            IngestDown::SessionClosed { acked, .. } if self.standing == Standing::Closing => {
                self.advance(acked.min(self.sent));
                self.standing = if self.is_settled() { Standing::Ended } else { Standing::Closed };
                if self.is_settled() { Heard::Ended } else { Heard::Reconnect("closed too early".into()) }
            }
            other => Heard::Reconnect(format!("an answer that nothing asked for: {other:?}")),
        }
    }

    /// The server has everything up to this number.
    fn advance(&mut self, acked: u64) {
        if acked <= self.acked {
            return;
        }
        self.acked = acked;
        while let Some(entry) = self.in_flight.pop_front_if(|entry| entry.seq <= acked) {
            self.in_flight_bytes -= entry.bytes;
            self.outcome.images.extend(entry.images.iter());
            self.outcome.refused_points += entry.left_out;
            if entry.refused {
                self.outcome.refused_points += sum(entry.counts.iter());
            } else {
                self.outcome.acked.extend(entry.counts.iter());
            }
        }
        while let Some(held) = self.memory.pop_front_if(|held| held.seq <= acked) {
            self.memory_bytes -= held.bytes.len();
        }
        if let Some(spool) = &mut self.spool {
            spool.release_frames(acked);
        }
    }

    /// Writes everything that is in memory alone to the spool, which `create` makes when there is none yet.
    ///
    /// # Errors
    ///
    /// What the disk said; what it did not take stays in memory then.
    pub(crate) fn spill(
        &mut self,
        blobs: &mut Blobs,
        create: impl FnOnce(SessionId) -> io::Result<Spool>,
    ) -> io::Result<()> {
        if self.memory.is_empty() {
            return Ok(());
        }
        let spool = match &mut self.spool {
            Some(spool) => spool,
            None => self.spool.insert(create(self.id)?),
        };
        spool.append_channels(&self.channels[self.channels_on_disk..])?;
        self.channels_on_disk = self.channels.len();
        let (mut stored, mut frames) = (Ok(()), vec![]);
        for held in &self.memory {
            stored = held.images.iter().try_for_each(|digest| blobs.store(*digest, spool));
            if stored.is_err() {
                break;
            }
            frames.push((held.seq, held.bytes.clone()));
        }
        let appended = spool.append_frames(&frames);
        // A disk that fills up on the way has taken some.
        let written = spool.frames().last_seq().unwrap_or(0);
        while let Some(held) = self.memory.pop_front_if(|held| held.seq <= written) {
            self.memory_bytes -= held.bytes.len();
        }
        stored.and(appended)
    }

    /// Makes a spool if there is none, for what is not a frame.
    pub(crate) fn spool_or_create(
        &mut self,
        create: impl FnOnce(SessionId) -> io::Result<Spool>,
    ) -> io::Result<&mut Spool> {
        match &mut self.spool {
            Some(spool) => Ok(spool),
            none => Ok(none.insert(create(self.id)?)),
        }
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a (u32, u32)>) -> u64 {
    counts.map(|(_, count)| u64::from(*count)).sum()
}

fn held_from_bytes(seq: u64, bytes: Bytes) -> Held {
    let (mut counts, mut images) = (vec![], vec![]);
    if let Ok(frame) = frame::parse(&bytes) {
        for (channel, block) in &frame.blocks {
            counts.extend(counted(*channel, block));
            if let Block::Images(block) = block {
                images.extend(block.entries().map(|entry| entry.digest));
            }
        }
    }
    Held { seq, bytes, counts: counts.into(), images: images.into(), made: Instant::now() }
}

/// Points of a block; a report of dropped ones has none.
fn counted(channel: u32, block: &Block<'_>) -> Option<(u32, u32)> {
    (!matches!(block, Block::Dropped(_))).then(|| (channel, block.count()))
}

#[cfg(test)]
mod tests;
