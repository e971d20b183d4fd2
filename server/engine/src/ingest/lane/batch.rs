//! One commit of a lane: what fits in it, where its frames are placed in their jobs' logs, and what follows from it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use neptune_store::Disk;
use neptune_store::kv::Limits;
use neptune_store::{AppendedRecord, DroppedRecord, SessionRecord, WriteError, Writes};
use neptune_wire::frame::parse;
use neptune_wire::{JobUid, SessionId};
use tokio::sync::oneshot;

use super::{Entry, FrameEntry, JsonEntry, LogStep, What};
use crate::Refused;
use crate::engine::Core;
use crate::heads::log::LogCursor;
use crate::heads::session::Session;
use crate::heads::{Head, JobHeads};
use crate::ingest::connection::{Connection, Room};
use crate::ingest::{IngestEvent, OpenSession};
use crate::registry::JobCell;

/// Upper bounds of what keys and small records take: a frame's key, a session's two records, a job's count of drops.
const FRAME_KEY_BYTES: usize = 64;
const SESSION_BYTES: usize = 160;
const SMALL_BYTES: usize = 96;

/// Entries for one commit, in order.
pub(super) struct Batch {
    entries: Vec<Entry>,
    sessions: HashSet<(JobUid, SessionId)>,
    jobs: HashSet<JobUid>,
    ops_left: usize,
    bytes_left: usize,
}

impl Batch {
    pub(super) fn new(limits: &Limits) -> Batch {
        Batch { ops_left: limits.batch_ops, bytes_left: limits.batch_bytes, ..Batch::of(Vec::new()) }
    }

    /// Entries that fit together.
    fn of(entries: Vec<Entry>) -> Batch {
        Batch { entries, sessions: HashSet::new(), jobs: HashSet::new(), ops_left: 0, bytes_left: 0 }
    }

    /// Answers the requests in it that the disk is full.
    pub(super) fn refuse_json(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.entries = entries.into_iter().filter_map(Entry::refuse_json).collect();
    }

    /// Adds an entry; hands it back when it does not fit any more.
    pub(super) fn add(&mut self, entry: Entry) -> Option<Entry> {
        let (mut ops, mut bytes) = (0, entry.size_bytes());
        match &entry {
            Entry::Frame(frame) => {
                (ops, bytes) = (ops + 1, bytes + FRAME_KEY_BYTES);
                let job = frame.open.cell.uid;
                if !self.sessions.contains(&(job, frame.open.session.id)) {
                    (ops, bytes) = (ops + 2, bytes + SESSION_BYTES);
                }
                if !self.jobs.contains(&job) {
                    (ops, bytes) = (ops + 1, bytes + SMALL_BYTES);
                }
            }
            Entry::Json(json) => {
                // The remembered key is a condition and a put.
                ops += json.frames.len() + 2;
                bytes += json.frames.len() * FRAME_KEY_BYTES + SESSION_BYTES;
            }
        }
        if !self.entries.is_empty() && (ops > self.ops_left || bytes > self.bytes_left) {
            return Some(entry);
        }
        self.ops_left = self.ops_left.saturating_sub(ops);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        if let Entry::Frame(frame) = &entry {
            self.sessions.insert((frame.open.cell.uid, frame.open.session.id));
            self.jobs.insert(frame.open.cell.uid);
        }
        self.entries.push(entry);
        None
    }

    /// Gives every frame its place and puts the commit together. What was superseded meanwhile is left out.
    pub(super) fn place(self) -> Placed {
        let mut placed = Placed::default();
        for entry in self.entries {
            match entry {
                Entry::Frame(frame) => placed.place_frame(frame),
                Entry::Json(json) => placed.place_json(json),
            }
        }
        placed.finish();
        placed
    }
}

/// A commit and all that is to be told of it.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) writes: Writes,
    /// In order, each with the place of its first frame in the job's log.
    entries: Vec<(Entry, u64)>,
    jobs: HashMap<JobUid, PlacedJob>,
    marks: HashMap<(JobUid, SessionId), (Arc<OpenSession>, u64)>,
}

/// What the commit makes of one job.
struct PlacedJob {
    cell: Arc<JobCell>,
    heads: Arc<JobHeads>,
    next_seq: u64,
    dropped: u64,
    logs: HashMap<u32, LogCursor>,
}

impl PlacedJob {
    fn new(cell: &Arc<JobCell>, heads: &Arc<JobHeads>) -> PlacedJob {
        PlacedJob {
            cell: cell.clone(),
            heads: heads.clone(),
            next_seq: heads.lock().next_seq,
            dropped: cell.dropped.load(Ordering::Relaxed),
            logs: HashMap::new(),
        }
    }

    /// Follows a log as the heads will once the commit is applied; counts what it lost on the way.
    fn follow_log(&mut self, open: &OpenSession, step: LogStep) {
        let (LogStep::Block { channel, .. } | LogStep::Announced { channel, .. }) = step;
        let cursor = self.logs.entry(channel).or_insert_with(|| {
            match &self.heads.lock().channels[channel as usize].head {
                Head::Log(head) => head.cursor(),
                _ => LogCursor::default(),
            }
        });
        match step {
            LogStep::Block { offset, length, .. } => {
                let lost = cursor.take(open.session.attempt, offset, length).lost;
                self.dropped = self.dropped.saturating_add(lost);
            }
            LogStep::Announced { bytes, .. } => cursor.announce_lost(open.session.attempt, bytes),
        }
    }
}

impl Placed {
    fn job(&mut self, cell: &Arc<JobCell>, heads: &Arc<JobHeads>) -> &mut PlacedJob {
        self.jobs.entry(cell.uid).or_insert_with(|| PlacedJob::new(cell, heads))
    }

    fn place_frame(&mut self, entry: FrameEntry) {
        let open = entry.open.clone();
        let superseded = open.cell.check_attempt(open.session.attempt);
        if let Err(why) = superseded.and_then(|()| open.heads.check_current()) {
            open.session.give_back();
            entry.connection.tell(IngestEvent::Trouble { session: Some(open.session.id), why });
            return;
        }
        // Frames before it were given back while it stood in line. So was it, and its sender was told.
        let whose = (open.cell.uid, open.session.id);
        let before = self.marks.get(&whose).map_or_else(|| open.session.record().mark, |(_, mark)| *mark);
        if entry.seq != before + 1 {
            return;
        }
        let job = self.job(&open.cell, &open.heads);
        let (stored, logs, dropped) = match &entry.what {
            What::Frame { bytes, dropped, logs, .. } => (Some(bytes), &logs[..], *dropped),
            What::Refused { points, stand_in: Some((bytes, logs)), .. } => (Some(bytes), &logs[..], *points),
            What::Refused { points, stand_in: None, .. } => (None, &[][..], *points),
        };
        job.dropped = job.dropped.saturating_add(dropped);
        logs.iter().for_each(|step| job.follow_log(&open, *step));
        let place = job.next_seq;
        if let Some(bytes) = stored.cloned() {
            job.next_seq += 1;
            self.writes.put_frame(&open.cell.uid, place, bytes);
        }
        self.marks.insert(whose, (open, entry.seq));
        self.entries.push((Entry::Frame(entry), place));
    }

    fn place_json(&mut self, entry: JsonEntry) {
        if let Err(why) = entry.cell.check_kept().and_then(|()| entry.heads.check_current()) {
            // Nobody waits for the answer any more if it cannot be sent.
            let _ = entry.stored.send(Err(why));
            return;
        }
        let job = self.job(&entry.cell, &entry.heads);
        let place = job.next_seq;
        job.next_seq += entry.frames.len() as u64;
        for (seq, frame) in (place..).zip(&entry.frames) {
            self.writes.put_frame(&entry.cell.uid, seq, frame.clone());
        }
        let record = AppendedRecord { points: entry.points, asked: entry.asked };
        self.writes.create_appended(&entry.cell.uid, &entry.hash, &record);
        self.entries.push((Entry::Json(entry), place));
    }

    fn finish(&mut self) {
        for (open, mark) in self.marks.values() {
            let old = open.session.record();
            let new = SessionRecord { mark: *mark, ..old };
            self.writes.replace_session(&open.cell.uid, &open.session.id, &old, &new);
        }
        for (uid, job) in &self.jobs {
            if job.dropped != job.cell.dropped.load(Ordering::Relaxed) {
                self.writes.put_dropped(uid, &DroppedRecord { points: job.dropped });
            }
        }
    }

    /// Tells every sender in it that the disk is full.
    pub(super) fn tell_read_only(&self, disk: &Disk) {
        for (entry, _) in &self.entries {
            if let Entry::Frame(frame) = entry {
                frame.connection.tell_read_only(frame.open.session.id, disk);
            }
        }
    }

    /// The entries, to be placed again.
    pub(super) fn into_batch(self) -> Batch {
        Batch::of(self.entries.into_iter().map(|(entry, _)| entry).collect())
    }

    /// The commit is durable: heads grow, marks move, senders are told.
    pub(super) fn apply(self, core: &Core) {
        let mut told = Vec::with_capacity(self.entries.len());
        let mut answered = Vec::new();
        for (entry, place) in self.entries {
            match entry {
                Entry::Frame(frame) => told.push(apply_frame(frame, place, core)),
                Entry::Json(json) => answered.push(apply_json(json, place, core)),
            }
        }
        for job in self.jobs.into_values() {
            job.heads.lock().next_seq = job.next_seq;
            job.heads.grow();
            job.cell.mark();
            let before = job.cell.dropped.swap(job.dropped, Ordering::Relaxed);
            if before != job.dropped {
                core.counters.dropped_points.fetch_add(job.dropped - before, Ordering::Relaxed);
                if !job.cell.is_gone() {
                    core.registry.publish(&job.cell, |_, _, _| {});
                }
            }
        }
        for (open, mark) in self.marks.into_values() {
            open.session.stored(mark);
        }
        core.counters.commits.fetch_add(1, Ordering::Relaxed);
        // Last, so that whoever is acknowledged finds everything else done.
        for Told { open, connection, seq, room } in told {
            connection.acked(open.session.id, seq);
            drop(room);
        }
        for stored in answered {
            // Nobody waits any more when the engine is gone.
            let _ = stored.send(Ok(()));
        }
    }

    /// The commit will not be made: what was taken may be sent again, unless it is too large for any. After a conflict,
    /// what is in memory of these jobs differs from what is stored, so it is read again when it is next asked for.
    pub(super) fn give_back(self, core: &Core, error: WriteError) {
        if matches!(error, WriteError::Conflict) {
            for job in self.jobs.values() {
                job.heads.make_stale();
                core.sealer.drop_stale(&job.heads);
                job.cell.forget_heads(&job.heads);
                core.registry.table.note_unread(&job.cell);
            }
        }
        for (open, _) in self.marks.values() {
            open.session.give_back();
        }
        for (entry, _) in self.entries {
            match entry {
                // Whatever the reason, not "the disk is full": that means that the frame waits here.
                Entry::Frame(frame) => {
                    let session = Some(frame.open.session.id);
                    frame.connection.tell(IngestEvent::Trouble { session, why: Refused::Busy });
                }
                Entry::Json(json) => {
                    let why = match &error {
                        // Only alone: what fits a commit is never put beside what does not.
                        WriteError::TooLarge(error) => {
                            let limit = error.limit as u64;
                            Refused::TooLarge { what: "what one request stores", limit }
                        }
                        _ if core.store.disk().is_full() => Refused::ReadOnly,
                        _ => Refused::Busy,
                    };
                    let _ = json.stored.send(Err(why));
                }
            }
        }
    }
}

/// A frame that is settled but for its sender, who is told at the end.
struct Told {
    open: Arc<OpenSession>,
    connection: Arc<Connection>,
    seq: u64,
    room: Room,
}

fn apply_frame(frame: FrameEntry, place: u64, core: &Core) -> Told {
    let FrameEntry { open, connection, seq, what, room } = frame;
    match what {
        What::Frame { bytes, points, .. } => {
            apply_stored(core, &open.heads, place, &bytes, Some(&open.session));
            core.counters.frames.fetch_add(1, Ordering::Relaxed);
            core.counters.points.fetch_add(points, Ordering::Relaxed);
        }
        What::Refused { why, stand_in, .. } => {
            if let Some((bytes, _)) = stand_in {
                apply_stored(core, &open.heads, place, &bytes, Some(&open.session));
            }
            core.counters.refused_frames.fetch_add(1, Ordering::Relaxed);
            connection.tell(IngestEvent::Refused { session: open.session.id, seq, why });
        }
    }
    Told { open, connection, seq, room }
}

/// Answers whom to tell at the end.
fn apply_json(json: JsonEntry, place: u64, core: &Core) -> oneshot::Sender<Result<(), Refused>> {
    for (seq, bytes) in (place..).zip(&json.frames) {
        apply_stored(core, &json.heads, seq, bytes, None);
    }
    core.counters.frames.fetch_add(json.frames.len() as u64, Ordering::Relaxed);
    core.counters.points.fetch_add(json.points, Ordering::Relaxed);
    json.stored
}

fn apply_stored(core: &Core, heads: &Arc<JobHeads>, seq: u64, bytes: &[u8], session: Option<&Session>) {
    match parse(bytes) {
        Ok(frame) => {
            // Under the lock: what is sealed was counted before.
            let mut inner = heads.lock();
            let added = inner.apply(seq, &frame, session);
            core.sealer.added(heads, bytes.len() as u64, added.open);
        }
        // It was parsed before it lined up; memory that changes by itself is past helping.
        Err(error) => tracing::error!(seq, %error, "a stored frame cannot be read"),
    }
}
