//! What a job produced, in memory: heads of its channels, its charts and sessions, rebuilt from the store when asked for.
//!
//! Numeric channels keep the points that are not sealed yet as columns; text, logs and images keep references into the
//! frame log, where what is open of them is read. One lock a job, held for short stretches and never over an await.
//! Frames go in by [`Inner::apply`] alone, in the order of their sequence, whether they were just committed or are read
//! again after a start: so both give the same heads. What is sealed of a channel is known by its state, and frames up to
//! the one it names are not applied to it.

pub(crate) mod log;
pub(crate) mod numeric;
pub(crate) mod refs;
pub(crate) mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use neptune_store::{ChannelRecord, ChannelState, ChannelStateRecord, FrameRange, SealRecord, Store};
use neptune_wire::frame::{Block, Frame, parse};
use neptune_wire::{
    AttemptNumber, Channel, ChannelKind, ChannelName, ChannelOrigin, ChannelSummary, Chart, JobUid, Micros,
    SessionId,
};
use tokio::sync::watch;

use self::log::LogHead;
use self::numeric::NumericHead;
use self::refs::RefsHead;
use self::session::Session;
use crate::Refused;
use crate::registry::LOCK;
use crate::seal::{Open, Sealer};

/// Frames of this session were made by the server from JSON; their channel numbers are the job's own.
pub(crate) const DIRECT: SessionId = neptune_store::DIRECT_SESSION;
/// Times that heads are read again because they changed while they were read.
const LOADS: u32 = 8;
/// The attempt of direct frames; no log is in them.
const NO_ATTEMPT: AttemptNumber = AttemptNumber(0);

/// One job's products.
pub(crate) struct JobHeads {
    pub(crate) uid: JobUid,
    /// One channel, chart or session is created at a time; held over the commit.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// One request of JSON points at a time, so that a key is never in two commits.
    pub(crate) appending: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
    /// Counts commits that added to any channel, and new channels and charts.
    pub(crate) grown: watch::Sender<u64>,
    /// What is to be sealed, and who does it.
    pub(crate) open: Open,
    sealer: Weak<Sealer>,
    /// The stored record of how far the job is sealed; held over a round.
    pub(crate) seal: tokio::sync::Mutex<Option<SealRecord>>,
    /// Frames that the seal says are cleared may still be there.
    pub(crate) uncleared: AtomicBool,
    used: AtomicI64,
    /// It differs from what is stored: nothing may be written by it any more.
    stale: AtomicBool,
}

/// What the lock guards.
pub(crate) struct Inner {
    /// By number.
    pub(crate) channels: Vec<ChannelHead>,
    pub(crate) by_name: HashMap<ChannelName, u32>,
    pub(crate) charts: Vec<Chart>,
    pub(crate) sessions: HashMap<SessionId, Arc<Session>>,
    /// Sequence of the next frame in the job's log; the lane alone takes it.
    pub(crate) next_seq: u64,
    /// Sequence of the last frame that was applied.
    pub(crate) applied: u64,
    /// Numeric channels with open points.
    pub(crate) open_channels: u64,
    /// Stored frames that cannot be read. What they hold is nowhere else, so the log is not cleared.
    pub(crate) unreadable: u64,
    /// Numeric channels that grew since the table of jobs last took them in, each once.
    fresh: Vec<u32>,
}

/// One channel.
pub(crate) struct ChannelHead {
    pub(crate) record: ChannelRecord,
    /// Frames up to this one are sealed.
    sealed_seq: u64,
    pub(crate) head: Head,
    /// It is among the fresh ones.
    fresh: bool,
}

/// Its points, by kind.
pub(crate) enum Head {
    Numeric(NumericHead),
    Text(RefsHead),
    Log(LogHead),
    Images(RefsHead),
}

/// What a frame added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) points: u64,
    /// Points of numeric channels, which are open now.
    pub(crate) open: u64,
    /// Lost at the sender.
    pub(crate) dropped: u64,
    /// Blocks that are of no channel here; what is in them is nowhere else.
    unplaced: u64,
}

/// Heads that were read, and what is open in them.
struct Loaded {
    heads: JobHeads,
    open_bytes: u64,
    open_points: u64,
}

impl JobHeads {
    /// Reads a job's tables, what is sealed of its channels, and the frames that are not.
    ///
    /// Cost: about the memory bandwidth of those frames; some 20 million points a second.
    pub(crate) async fn load(
        store: &Store,
        uid: JobUid,
        sealer: &Arc<Sealer>,
    ) -> Result<Arc<JobHeads>, Refused> {
        let mut seal = store.find_seal(&uid).await?;
        for _ in 0..LOADS {
            let heads = Self::load_as_of(store, uid, sealer, seal).await?;
            let now = store.find_seal(&uid).await?;
            if now == seal {
                let (bytes, open) = (heads.open_bytes, heads.open_points);
                let heads = Arc::new(heads.heads);
                if bytes > 0 {
                    sealer.added(&heads, bytes, open);
                }
                return Ok(heads);
            }
            // Heads from before a conflict were sealed meanwhile: states, frames and seal are not of one moment.
            seal = now;
        }
        Err(Refused::Busy)
    }

    async fn load_as_of(
        store: &Store,
        uid: JobUid,
        sealer: &Arc<Sealer>,
        seal: Option<SealRecord>,
    ) -> Result<Loaded, Refused> {
        let tables = store.read_job_tables(&uid).await?;
        let mut states = store.read_channel_states(&uid).await?;
        let cleared = seal.map_or(0, |seal| seal.cleared);
        let mut inner = Inner {
            channels: Vec::with_capacity(tables.channels.len()),
            by_name: HashMap::new(),
            charts: tables.charts,
            sessions: HashMap::new(),
            next_seq: cleared + 1,
            applied: cleared,
            open_channels: 0,
            unreadable: 0,
            fresh: Vec::new(),
        };
        for (number, record) in (0..).zip(tables.channels) {
            let name = record.name.clone();
            if !inner.add_channel(record, states.remove(&number)) {
                let why = format!("the sealed state of channel {name:?} of job {uid} is of another kind");
                return Err(Refused::Storage(why.into()));
            }
        }
        for stored in tables.sessions {
            inner.sessions.insert(stored.id, Arc::new(Session::from_stored(stored)));
        }
        let mut rest = Some(FrameRange::of_job_after(&uid, cleared));
        let (mut open_bytes, mut open_points) = (0, 0);
        while let Some(range) = rest {
            let page = store.read_frames(range).await?;
            for (seq, frame) in page.frames {
                open_bytes += frame.len() as u64;
                open_points += inner.replay(&uid, seq, &frame);
            }
            rest = page.rest;
        }
        let heads = JobHeads {
            uid,
            writing: tokio::sync::Mutex::default(),
            appending: tokio::sync::Mutex::default(),
            inner: Mutex::new(inner),
            grown: watch::Sender::new(0),
            open: Open::default(),
            sealer: Arc::downgrade(sealer),
            seal: tokio::sync::Mutex::new(seal),
            uncleared: AtomicBool::new(false),
            used: AtomicI64::new(0),
            stale: AtomicBool::new(false),
        };
        Ok(Loaded { heads, open_bytes, open_points })
    }

    /// The heads, locked; not to be held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(LOCK)
    }

    /// Refuses to go on with heads that differ from what is stored; whoever asks again gets those that do not.
    pub(crate) fn check_current(&self) -> Result<(), Refused> {
        if self.stale.load(Ordering::Acquire) { Err(Refused::Busy) } else { Ok(()) }
    }

    pub(crate) fn make_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Tells followers that there is more.
    pub(crate) fn grow(&self) {
        self.grown.send_modify(|count| *count += 1);
    }

    pub(crate) fn channel_count(&self) -> u64 {
        self.lock().channels.len() as u64
    }

    /// For how many micros nobody used the heads, by the time of ticks; `None` when they were used since the last one.
    pub(crate) fn idle_since(&self, now: Micros) -> Option<i64> {
        // 0 is "used": the first tick afterwards starts the count.
        match self.used.compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => None,
            Err(since) => Some(now.0 - since),
        }
    }

    /// Marks the heads as used.
    pub(crate) fn touch(&self) {
        self.used.store(0, Ordering::Relaxed);
    }
}

impl Drop for JobHeads {
    fn drop(&mut self) {
        if let Some(sealer) = self.sealer.upgrade() {
            sealer.forget(&self.open);
        }
    }
}

impl Inner {
    /// Takes in a channel that is stored, with what is sealed of it, unless that is of another kind: taken for nothing,
    /// it would be written over.
    pub(crate) fn add_channel(&mut self, record: ChannelRecord, state: Option<ChannelStateRecord>) -> bool {
        let number = self.channels.len() as u32;
        let sealed_seq = state.as_ref().map_or(0, |state| state.seq);
        let Some(head) = Head::from_state(&record, state.map(|state| state.state)) else { return false };
        self.by_name.insert(record.name.clone(), number);
        // What is sealed already, the table may not have taken in.
        let fresh = matches!(&head, Head::Numeric(head) if head.len() > 0);
        self.fresh.extend(fresh.then_some(number));
        self.channels.push(ChannelHead { record, sealed_seq, head, fresh });
        true
    }

    /// A channel's state was stored; answers how many of its points are not open any more.
    pub(crate) fn seal_channel(&mut self, channel: u32, record: ChannelStateRecord) -> u64 {
        let channel = &mut self.channels[channel as usize];
        channel.sealed_seq = record.seq;
        match (&mut channel.head, record.state) {
            (Head::Numeric(head), ChannelState::Numeric(state)) => {
                let before = head.open_count();
                head.seal(state);
                let left = head.open_count();
                self.open_channels -= u64::from(left == 0);
                before - left
            }
            (Head::Text(head), ChannelState::Text(state))
            | (Head::Images(head), ChannelState::Images(state)) => {
                head.seal(record.seq, state);
                0
            }
            (Head::Log(head), ChannelState::Log(state)) => {
                head.seal(record.seq, state);
                0
            }
            _ => 0,
        }
    }

    pub(crate) fn find_channel(&self, name: &ChannelName) -> Result<(u32, &ChannelHead), Refused> {
        let number = self.by_name.get(name);
        let number = *number.ok_or_else(|| Refused::UnknownChannel { channel: name.clone() })?;
        Ok((number, &self.channels[number as usize]))
    }

    /// Adds a frame that is stored under `seq`. `session` is whose it is; `None` for frames of the server itself.
    pub(crate) fn apply(&mut self, seq: u64, frame: &Frame<'_>, session: Option<&Session>) -> Added {
        let mut added = Added::default();
        self.applied = seq;
        let attempt = session.map_or(NO_ATTEMPT, |session| session.attempt);
        for (index, (number, block)) in (0..).zip(&frame.blocks) {
            let channel = match session {
                Some(session) => session.find_channel(*number),
                None => Some(*number),
            };
            let (job_number, channel) =
                (channel, channel.and_then(|channel| self.channels.get_mut(channel as usize)));
            let Some(channel) = channel else {
                tracing::error!(
                    seq,
                    number,
                    "a stored frame names a channel that is not bound; its points are not shown"
                );
                added.unplaced += 1;
                continue;
            };
            if seq <= channel.sealed_seq {
                continue;
            }
            match (&mut channel.head, block) {
                (Head::Numeric(head), Block::Numeric(numeric)) => {
                    self.open_channels += u64::from(head.open_count() == 0);
                    head.append(numeric);
                    if !std::mem::replace(&mut channel.fresh, true) {
                        self.fresh.extend(job_number);
                    }
                    added.open += numeric.len() as u64;
                }
                (Head::Text(head), Block::Text(texts)) => {
                    texts.entries().for_each(|entry| head.append(seq, entry.x, entry.time));
                }
                (Head::Images(head), Block::Images(images)) => {
                    images.entries().for_each(|entry| head.append(seq, entry.x, entry.time));
                }
                (Head::Log(head), Block::Log(log)) => {
                    let cut = head.append(seq, index, attempt, log);
                    added.dropped += cut.lost;
                }
                (head, Block::Dropped(count)) => {
                    added.dropped += u64::from(*count);
                    if let Head::Log(log) = head {
                        log.announce_lost(seq, attempt, u64::from(*count));
                    }
                    continue;
                }
                _ => {
                    tracing::error!(
                        seq,
                        number,
                        "a stored block is not of its channel's kind; it is not shown"
                    );
                    added.unplaced += 1;
                    continue;
                }
            }
            added.points += u64::from(block.count());
        }
        added
    }

    /// Names and summaries of the numeric channels that grew since this was last asked.
    pub(crate) fn take_fresh(&mut self) -> Vec<(ChannelName, ChannelSummary)> {
        let fresh = std::mem::take(&mut self.fresh);
        let taken = fresh.iter().map(|number| {
            let channel = &mut self.channels[*number as usize];
            channel.fresh = false;
            (channel.record.name.clone(), channel.summary())
        });
        taken.collect()
    }

    /// Whether the table has still to be told of anything.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Applies a frame that is read again; answers how many points are open by it.
    fn replay(&mut self, uid: &JobUid, seq: u64, bytes: &[u8]) -> u64 {
        (self.next_seq, self.applied) = (seq + 1, seq);
        let frame = match parse(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                self.unreadable += 1;
                tracing::error!(job = %uid, seq, %error, "a stored frame is damaged; its points are not shown");
                return 0;
            }
        };
        let session = match frame.header.session {
            DIRECT => None,
            id => match self.sessions.get(&id).cloned() {
                Some(session) => Some(session),
                None => {
                    self.unreadable += 1;
                    tracing::error!(job = %uid, seq, "a stored frame is of no known session; its points are not shown");
                    return 0;
                }
            },
        };
        let added = self.apply(seq, &frame, session.as_deref());
        self.unreadable += u64::from(added.unplaced > 0);
        added.open
    }

    /// Which channel of the job a number in a stored frame means.
    pub(crate) fn find_number(&self, session: &SessionId, number: u32) -> Option<u32> {
        if *session == DIRECT {
            return Some(number);
        }
        self.sessions.get(session)?.find_channel(number)
    }
}

impl Head {
    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Head::Numeric(_))
    }

    /// What is sealed of a channel; `None` if it is of another kind.
    fn from_state(record: &ChannelRecord, state: Option<ChannelState>) -> Option<Head> {
        let head = match (record.kind, record.origin, state) {
            (ChannelKind::Numeric, _, None) => Head::Numeric(NumericHead::default()),
            (ChannelKind::Numeric, _, Some(ChannelState::Numeric(state))) => {
                Head::Numeric(NumericHead::from_state(state))
            }
            (ChannelKind::Image, _, None) => Head::Images(RefsHead::default()),
            (ChannelKind::Image, _, Some(ChannelState::Images(state))) => {
                Head::Images(RefsHead::from_state(state))
            }
            (ChannelKind::Text, ChannelOrigin::Stdout | ChannelOrigin::Stderr, state) => match state {
                None => Head::Log(LogHead::default()),
                Some(ChannelState::Log(state)) => Head::Log(LogHead::from_state(state)),
                Some(_) => return None,
            },
            (ChannelKind::Text, ChannelOrigin::User | ChannelOrigin::System, state) => match state {
                None => Head::Text(RefsHead::default()),
                Some(ChannelState::Text(state)) => Head::Text(RefsHead::from_state(state)),
                Some(_) => return None,
            },
            _ => return None,
        };
        Some(head)
    }
}

impl ChannelHead {
    /// The channel as it is answered.
    pub(crate) fn channel(&self) -> Channel {
        let ChannelRecord { name, kind, origin, .. } = &self.record;
        Channel { name: name.clone(), kind: *kind, origin: *origin, summary: self.summary() }
    }

    fn summary(&self) -> ChannelSummary {
        match &self.head {
            Head::Numeric(head) => head.summary(),
            Head::Text(head) | Head::Images(head) => head.steps.summary(head.count()),
            Head::Log(head) => {
                ChannelSummary { log_bytes: Some(head.length()), ..head.steps.summary(head.line_count()) }
            }
        }
    }

    /// Points so far; lines for text and logs. Live marks count in it.
    pub(crate) fn count(&self) -> u64 {
        match &self.head {
            Head::Numeric(head) => head.len(),
            Head::Text(head) | Head::Images(head) => head.count(),
            Head::Log(head) => head.line_count(),
        }
    }

    /// Grows with everything that changes the summary.
    pub(crate) fn revision(&self) -> u64 {
        match &self.head {
            Head::Numeric(head) => head.len(),
            Head::Text(head) | Head::Images(head) => head.count(),
            Head::Log(head) => head.revision(),
        }
    }
}
