//! What a job produced, in memory: heads of its channels, its charts and sessions, rebuilt from the store when asked for.
//!
//! Numeric channels keep their points as columns; text, logs and images keep references into the frame log and are read
//! from there. One lock a job, held for short stretches and never over an await. Frames go in by [`Inner::apply`] alone,
//! in the order of their sequence, whether they were just committed or are read again after a start: so both give the
//! same heads.

pub(crate) mod log;
pub(crate) mod numeric;
pub(crate) mod order;
pub(crate) mod refs;
pub(crate) mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use neptune_store::{ChannelRecord, FrameRange, Store};
use neptune_wire::frame::{Block, Frame, parse};
use neptune_wire::{
    AttemptNumber, Channel, ChannelKind, ChannelName, ChannelOrigin, ChannelSummary, Chart, JobUid, Micros,
    Number, SessionId,
};
use tokio::sync::watch;

use self::log::LogHead;
use self::numeric::NumericHead;
use self::refs::RefsHead;
use self::session::Session;
use crate::Refused;
use crate::registry::LOCK;

/// Frames of this session were made by the server from JSON; their channel numbers are the job's own.
pub(crate) const DIRECT: SessionId = neptune_store::DIRECT_SESSION;
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
}

/// One channel.
pub(crate) struct ChannelHead {
    pub(crate) record: ChannelRecord,
    pub(crate) head: Head,
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
    /// Lost at the sender.
    pub(crate) dropped: u64,
}

impl JobHeads {
    /// Reads a job's tables and its whole frame log.
    ///
    /// Cost: about the memory bandwidth of its frames; some 20 million points a second.
    pub(crate) async fn load(store: &Store, uid: JobUid) -> Result<JobHeads, Refused> {
        let tables = store.read_job_tables(&uid).await?;
        let mut inner = Inner {
            channels: Vec::with_capacity(tables.channels.len()),
            by_name: HashMap::new(),
            charts: tables.charts,
            sessions: HashMap::new(),
            next_seq: 1,
        };
        for record in tables.channels {
            inner.add_channel(record);
        }
        for stored in tables.sessions {
            inner.sessions.insert(stored.id, Arc::new(Session::from_stored(stored)));
        }
        let mut rest = Some(FrameRange::of_job(&uid));
        while let Some(range) = rest {
            let page = store.read_frames(range).await?;
            for (seq, bytes) in page.frames {
                inner.replay(&uid, seq, &bytes);
            }
            rest = page.rest;
        }
        Ok(JobHeads {
            uid,
            writing: tokio::sync::Mutex::default(),
            appending: tokio::sync::Mutex::default(),
            inner: Mutex::new(inner),
            grown: watch::Sender::new(0),
            used: AtomicI64::new(0),
            stale: AtomicBool::new(false),
        })
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

impl Inner {
    /// Takes in a channel that is stored; answers its number.
    pub(crate) fn add_channel(&mut self, record: ChannelRecord) -> u32 {
        let number = self.channels.len() as u32;
        self.by_name.insert(record.name.clone(), number);
        let head = match (record.kind, record.origin) {
            (ChannelKind::Numeric, _) => Head::Numeric(NumericHead::default()),
            (ChannelKind::Image, _) => Head::Images(RefsHead::default()),
            (ChannelKind::Text, ChannelOrigin::Stdout | ChannelOrigin::Stderr) => {
                Head::Log(LogHead::default())
            }
            (ChannelKind::Text, ChannelOrigin::User | ChannelOrigin::System) => {
                Head::Text(RefsHead::default())
            }
        };
        self.channels.push(ChannelHead { record, head });
        number
    }

    pub(crate) fn find_channel(&self, name: &ChannelName) -> Result<(u32, &ChannelHead), Refused> {
        let number = self.by_name.get(name);
        let number = *number.ok_or_else(|| Refused::UnknownChannel { channel: name.clone() })?;
        Ok((number, &self.channels[number as usize]))
    }

    /// Adds a frame that is stored under `seq`. `session` is whose it is; `None` for frames of the server itself.
    pub(crate) fn apply(&mut self, seq: u64, frame: &Frame<'_>, session: Option<&Session>) -> Added {
        let mut added = Added::default();
        let attempt = session.map_or(NO_ATTEMPT, |session| session.attempt);
        for (index, (number, block)) in (0..).zip(&frame.blocks) {
            let channel = match session {
                Some(session) => session.find_channel(*number),
                None => Some(*number),
            };
            let Some(channel) = channel.and_then(|channel| self.channels.get_mut(channel as usize)) else {
                tracing::error!(
                    seq,
                    number,
                    "a stored frame names a channel that is not bound; its points are not shown"
                );
                continue;
            };
            match (&mut channel.head, block) {
                (Head::Numeric(head), Block::Numeric(numeric)) => head.append(numeric),
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
                        log.announce_lost(attempt, u64::from(*count));
                    }
                    continue;
                }
                _ => {
                    tracing::error!(
                        seq,
                        number,
                        "a stored block is not of its channel's kind; it is not shown"
                    );
                    continue;
                }
            }
            added.points += u64::from(block.count());
        }
        added
    }

    fn replay(&mut self, uid: &JobUid, seq: u64, bytes: &[u8]) {
        self.next_seq = seq + 1;
        let frame = match parse(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(job = %uid, seq, %error, "a stored frame is damaged; its points are not shown");
                return;
            }
        };
        if frame.header.session == DIRECT {
            self.apply(seq, &frame, None);
        } else if let Some(session) = self.sessions.get(&frame.header.session).cloned() {
            self.apply(seq, &frame, Some(&session));
        } else {
            tracing::error!(job = %uid, seq, "a stored frame is of no known session; its points are not shown");
        }
    }

    /// Which channel of the job a number in a stored frame means.
    pub(crate) fn find_number(&self, session: &SessionId, number: u32) -> Option<u32> {
        if *session == DIRECT {
            return Some(number);
        }
        self.sessions.get(session)?.find_channel(number)
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

/// What is known of the x and times of a channel's points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Steps {
    last_x: f64,
    x_min: f64,
    x_max: f64,
    last_time: i64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { last_x: f64::NAN, x_min: f64::NAN, x_max: f64::NAN, last_time: 0 }
    }
}

impl Steps {
    pub(crate) fn add(&mut self, x: f64, time: i64) {
        // `min` and `max` leave NaN aside.
        *self = Self { last_x: x, x_min: self.x_min.min(x), x_max: self.x_max.max(x), last_time: time };
    }

    pub(crate) fn last_x(&self) -> f64 {
        self.last_x
    }

    pub(crate) fn summary(&self, count: u64) -> ChannelSummary {
        if count == 0 {
            return ChannelSummary::default();
        }
        ChannelSummary {
            count,
            last_x: Some(Number(self.last_x)),
            x_min: number(self.x_min),
            x_max: number(self.x_max),
            last_micros: Some(Micros(self.last_time)),
            ..ChannelSummary::default()
        }
    }
}

/// A number that may be missing: NaN stands for "none yet".
pub(crate) fn number(value: f64) -> Option<Number> {
    if value.is_nan() { None } else { Some(Number(value)) }
}
