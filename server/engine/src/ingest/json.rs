//! Points that come as JSON: made into frames of the server itself, stored in one commit with their idempotency key.

use std::sync::Arc;

use bytes::Bytes;
use neptune_store::Writes;
use neptune_wire::frame::{FrameBuilder, TEXT_BYTES};
use neptune_wire::query::{AppendPoints, Appended, JsonPoint, JsonValue};
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, CreateChannel, Digest, Micros, Number};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::lane::{Entry, JsonEntry};
use crate::Refused;
use crate::channels::{NEW_CHANNELS, NewChannels};
use crate::engine::Core;
use crate::heads::{ChannelHead, DIRECT, Head, JobHeads};
use crate::registry::JobCell;

/// Longest idempotency key.
const KEY_BYTES: usize = 256;
/// Bytes of all frames of one request: with their keys they fit one commit of 1 MiB.
pub(crate) const FRAMES_BYTES: usize = 900 << 10;

/// What stands for an idempotency key.
pub(crate) fn key_hash(key: &str) -> Result<Digest, Refused> {
    if key.is_empty() || key.len() > KEY_BYTES {
        return Err(Refused::field("Idempotency-Key", "must be 1 to 256 bytes, different for every request"));
    }
    Ok(Digest::from_bytes(*blake3::hash(key.as_bytes()).as_bytes()))
}

impl Core {
    pub(super) async fn append_json(
        &self,
        cell: Arc<JobCell>,
        hash: Digest,
        points: AppendPoints,
        now: Micros,
    ) -> Result<Appended, Refused> {
        let heads = cell.heads(self).await?;
        let _one = heads.appending.lock().await;
        let asked = digest_of(&points);
        if let Some(before) = self.store.find_appended(&cell.uid, &hash).await? {
            if before.asked != asked {
                let by =
                    "other points; a key stands for one request, take another key for another".to_owned();
                return Err(Refused::Taken { what: "idempotency key", by });
            }
            return Ok(Appended { points: before.points, repeated: true });
        }
        let count = points.values().map(Vec::len).sum::<usize>() as u64;
        let columns = self.columns_from_json(&heads, points, now).await?;
        let frames = frames_from_columns(&columns)?;
        if frames.is_empty() {
            return Ok(Appended { points: 0, repeated: false });
        }
        let size_bytes = frames.iter().map(Bytes::len).sum::<usize>() as u32;
        let room = self.room_for_request(&cell, &heads, size_bytes).await?;
        let (stored, told) = oneshot::channel();
        let lane = self.lanes.lane_of(&cell.uid);
        let (cell, heads) = (cell.clone(), heads.clone());
        let entry = JsonEntry { cell, heads, hash, asked, frames, points: count, stored, _room: room };
        lane.line_up(Entry::Json(entry), &self.store.limits());
        told.await.unwrap_or(Err(Refused::Busy))?;
        Ok(Appended { points: count, repeated: false })
    }

    /// Waits for room for a request's frames, but not while the disk is full or once the job is removed: a request wants an
    /// answer, and until it has one, no other is looked at and no removal goes on.
    pub(crate) async fn room_for_request(
        &self,
        cell: &JobCell,
        heads: &JobHeads,
        size_bytes: u32,
    ) -> Result<OwnedSemaphorePermit, Refused> {
        let room = async {
            self.sealer.room(heads, &self.stopping).await;
            cell.check_kept()?;
            if self.has_failed() {
                return Err(Refused::Failed);
            }
            let room = self.lanes.room().acquire_many_owned(size_bytes).await;
            Ok(room.expect("this semaphore is never closed"))
        };
        let mut disk = self.store.disk().follow();
        tokio::select! {
            biased;
            _ = disk.wait_for(|full| *full) => Err(Refused::ReadOnly),
            room = room => room,
        }
    }

    /// Finds or creates the channels and gives every point its x, y and time.
    async fn columns_from_json(
        &self,
        heads: &JobHeads,
        points: AppendPoints,
        now: Micros,
    ) -> Result<Vec<(u32, Column)>, Refused> {
        let _one = heads.writing.lock().await;
        heads.check_current()?;
        let mut new = NewChannels::of(heads);
        let mut columns = Vec::new();
        for (name, points) in &points {
            let Some(first) = points.first() else { continue };
            let (number, kind, last_x) = find_channel(heads, &mut new, name, first, now)?;
            columns.push((number, Column::read(name, kind, last_x, points, now)?));
        }
        if new.count() > NEW_CHANNELS {
            return Err(Refused::TooLarge { what: "number of new channels", limit: NEW_CHANNELS as u64 });
        }
        let writes: Writes = new.writes(&heads.uid);
        if !writes.is_empty() {
            self.store.commit(writes).await?;
            new.add_to_heads();
        }
        Ok(columns)
    }
}

/// What tells two requests under one key apart.
fn digest_of(points: &AppendPoints) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let text = |hasher: &mut blake3::Hasher, text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    for (name, points) in points {
        text(&mut hasher, name.as_str());
        hasher.update(&(points.len() as u64).to_le_bytes());
        for JsonPoint { x, y, time } in points {
            // A leading byte tells what is there from what is not.
            if let Some(x) = x {
                hasher.update(&[1]).update(&x.0.to_bits().to_le_bytes());
            }
            if let Some(time) = time {
                hasher.update(&[2]).update(&time.0.to_le_bytes());
            }
            match y {
                JsonValue::Number(y) => {
                    hasher.update(&[3]).update(&y.0.to_bits().to_le_bytes());
                }
                JsonValue::Text(y) => text(hasher.update(&[4]), y),
            }
        }
    }
    *hasher.finalize().as_bytes()
}

/// A channel's number, kind and last x; it is made when there is none.
fn find_channel(
    heads: &JobHeads,
    new: &mut NewChannels<'_>,
    name: &ChannelName,
    first: &JsonPoint,
    now: Micros,
) -> Result<(u32, ChannelKind, f64), Refused> {
    if name.is_system() {
        return Err(Refused::field(
            name.as_str(),
            "names that begin with sys/ belong to Neptune; choose another",
        ));
    }
    if let Ok((number, channel)) = heads.lock().find_channel(name) {
        return Ok((number, channel.record.kind, last_x(channel)));
    }
    let kind = match first.y {
        JsonValue::Number(_) => ChannelKind::Numeric,
        JsonValue::Text(_) => ChannelKind::Text,
    };
    let create = CreateChannel { name: name.clone(), kind, origin: ChannelOrigin::User };
    Ok((new.find_or_add(create, now)?, kind, f64::NAN))
}

fn last_x(channel: &ChannelHead) -> f64 {
    match &channel.head {
        Head::Numeric(head) => head.last_x(),
        Head::Text(head) | Head::Images(head) => head.steps.last_x(),
        Head::Log(head) => head.steps.last_x(),
    }
}

/// The points of one channel.
enum Column {
    Numeric { x: Vec<f64>, y: Vec<f64>, time: Vec<i64> },
    Text(Vec<(f64, String, i64)>),
}

impl Column {
    fn read(
        name: &ChannelName,
        kind: ChannelKind,
        mut last_x: f64,
        points: &[JsonPoint],
        now: Micros,
    ) -> Result<Column, Refused> {
        let mut steps = points.iter().map(|point| {
            // 1, then one more than the last whole x; an x that is no number continues nothing.
            let next = if last_x.is_finite() { last_x.floor() + 1.0 } else { 1.0 };
            let x = point.x.map_or(next, |Number(x)| x);
            last_x = x;
            (x, point.time.unwrap_or(now).0)
        });
        let wrong = |at: usize, wanted| Err(Refused::field(format!("{name}[{at}][1]"), wanted));
        match kind {
            ChannelKind::Numeric => {
                let (mut x, mut y, mut time) = (vec![], vec![], vec![]);
                for (at, point) in points.iter().enumerate() {
                    let JsonValue::Number(Number(value)) = point.y else {
                        return wrong(at, "must be a number or \"NaN\", \"Infinity\", \"-Infinity\"");
                    };
                    let Some((step, when)) = steps.next() else { break };
                    x.push(step);
                    y.push(value);
                    time.push(when);
                }
                Ok(Column::Numeric { x, y, time })
            }
            ChannelKind::Text => {
                let mut texts = vec![];
                for (at, point) in points.iter().enumerate() {
                    let text = match &point.y {
                        JsonValue::Text(text) => text.clone(),
                        // The words that stand for numbers are words too.
                        JsonValue::Number(Number(value)) if value.is_nan() => "NaN".into(),
                        JsonValue::Number(Number(f64::INFINITY)) => "Infinity".into(),
                        JsonValue::Number(Number(f64::NEG_INFINITY)) => "-Infinity".into(),
                        JsonValue::Number(_) => {
                            return wrong(at, "must be a text: the channel is of kind text");
                        }
                    };
                    let Some((step, when)) = steps.next() else { break };
                    texts.push((step, text, when));
                }
                Ok(Column::Text(texts))
            }
            ChannelKind::Image => wrong(0, "images cannot be sent as JSON"),
        }
    }
}

/// Frames of the server's own session, whose channel numbers are the job's.
fn frames_from_columns(columns: &[(u32, Column)]) -> Result<Vec<Bytes>, Refused> {
    let mut frames = Frames { done: Vec::new(), size_bytes: 0, open: FrameBuilder::new(DIRECT, 1) };
    for (channel, column) in columns {
        match column {
            Column::Numeric { x, y, time } => {
                let mut at = 0;
                while at < y.len() {
                    at +=
                        frames.push(|frame| frame.push_numeric(*channel, &x[at..], &y[at..], &time[at..]))?;
                }
            }
            Column::Text(texts) => {
                for (x, text, time) in texts {
                    let mut parts = text_parts(text).peekable();
                    while let Some(part) = parts.next() {
                        let goes_on = parts.peek().is_some();
                        frames
                            .push(|frame| usize::from(frame.push_text(*channel, *x, *time, part, goes_on)))?;
                    }
                }
            }
        }
    }
    frames.finish()
}

/// A text in parts that fit one point each; one part for an empty text.
fn text_parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, left) = text.split_at(text.floor_char_boundary(TEXT_BYTES));
        rest = (!left.is_empty()).then_some(left);
        Some(part)
    })
}

struct Frames {
    done: Vec<Bytes>,
    size_bytes: usize,
    open: FrameBuilder,
}

impl Frames {
    /// Pushes into the open frame, or into a new one when it is full; answers what `push` answers, at least 1.
    fn push(&mut self, push: impl Fn(&mut FrameBuilder) -> usize) -> Result<usize, Refused> {
        let taken = push(&mut self.open);
        if taken > 0 {
            return Ok(taken);
        }
        self.close()?;
        Ok(push(&mut self.open).max(1))
    }

    fn close(&mut self) -> Result<(), Refused> {
        let next = FrameBuilder::new(DIRECT, self.done.len() as u64 + 2);
        let full = std::mem::replace(&mut self.open, next);
        let bytes = full.finish();
        self.size_bytes += bytes.len();
        if self.size_bytes > FRAMES_BYTES {
            let what = "size of one request's points in bytes";
            return Err(Refused::TooLarge { what, limit: FRAMES_BYTES as u64 });
        }
        self.done.push(bytes.into());
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Bytes>, Refused> {
        if !self.open.is_empty() {
            self.close()?;
        }
        Ok(self.done)
    }
}
