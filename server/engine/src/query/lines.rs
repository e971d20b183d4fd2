//! Lines of text channels and logs, and the raw bytes of logs.
//!
//! A point of a text channel is a line. A log's lines are cut from its bytes as [`Segments`] does; a line that is not
//! finished yet is a line too, and grows. What is sealed is read from sheets, what is open from frames, as one sequence.

mod needle;

use bytes::{Bytes, BytesMut};
use neptune_store::Store;
use neptune_store::sheet::TextRow;
use neptune_store::sheets::SheetRange;
use neptune_wire::frame::Block;
use neptune_wire::query::{Line, Lines, TextQuery};
use neptune_wire::{Micros, Number};

use self::needle::Needle;
use super::frames;
use super::stretches::{Stretch, stretches};
use crate::Refused;
use crate::heads::log::{End, LogPlace, Segments};
use crate::heads::refs::{FoundPoint, FrameRef};
use crate::heads::{Head, JobHeads};

const LIMIT: u32 = 1_000;
const LIMIT_MAX: u32 = 10_000;
/// Text of one page.
const PAGE_BYTES: usize = 4 << 20;
/// Text that one page of a search reads, with [`LINE_COST_BYTES`] for each line.
const SEARCH_BYTES: usize = 64 << 20;
/// What a line costs whatever its length, so that empty ones are bounded too.
const LINE_COST_BYTES: usize = 64;
/// Sheets that a search reads at once, besides the one it begins in: about a megabyte of text.
const SEARCH_SHEETS: usize = 8;
/// Bytes of a log that are read at once.
const LOG_BYTES: usize = 4 << 20;

pub(super) async fn page(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    query: &TextQuery,
) -> Result<Lines, Refused> {
    let limit = query.limit.unwrap_or_else(|| query.tail.unwrap_or(LIMIT).min(LIMIT_MAX));
    for (field, value) in [("limit", Some(limit)), ("tail", query.tail)] {
        if value.is_some_and(|value| !(1..=LIMIT_MAX).contains(&value)) {
            return Err(Refused::field(field, "must be 1 to 10000"));
        }
    }
    if query.line.is_some() && query.tail.is_some() {
        return Err(Refused::field("tail", "cannot be given together with `line`"));
    }
    let total = heads.lock().channels[channel as usize].count();
    let first = query.tail.map_or(query.line.unwrap_or(0), |tail| total.saturating_sub(tail.into()));
    let needle = query.search.as_deref().map(Needle::new);
    let more = if needle.is_some() { SEARCH_SHEETS } else { 0 };
    let (mut at, mut lines) = (first, Vec::new());
    let (mut page_bytes, mut read_bytes) = (0, 0);
    'page: while at < total {
        let batch = read(store, heads, channel, at, more).await?;
        if needle.is_some() {
            // A search goes through a megabyte at a time; others have their turn between.
            tokio::task::yield_now().await;
        }
        if batch.is_empty() {
            break;
        }
        for line in batch {
            let is_full =
                lines.len() == limit as usize || page_bytes >= PAGE_BYTES || read_bytes >= SEARCH_BYTES;
            if is_full || line.line >= total {
                break 'page;
            }
            at = line.line + 1;
            read_bytes += line.text.len() + LINE_COST_BYTES;
            if needle.as_ref().is_none_or(|needle| needle.is_in(&line.text)) {
                page_bytes += line.text.len();
                lines.push(line);
            }
        }
    }
    Ok(Lines { lines, total, next: Some(at).filter(|at| *at < total) })
}

/// Some lines from `line` on, at least one if there is one: what a sheet or a few frames hold.
pub(crate) async fn from(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    line: u64,
) -> Result<Vec<Line>, Refused> {
    read(store, heads, channel, line, 0).await
}

/// As [`from`], of at most so many further sheets.
async fn read(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    line: u64,
    more: usize,
) -> Result<Vec<Line>, Refused> {
    let is_log = matches!(heads.lock().channels[channel as usize].head, Head::Log(_));
    if is_log {
        log_lines(store, heads, channel, line, more).await
    } else {
        text_lines(store, heads, channel, line, more).await
    }
}

async fn text_lines(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    line: u64,
    more: usize,
) -> Result<Vec<Line>, Refused> {
    let mut seqs = Vec::new();
    for _ in 0..frames::LOOKS {
        let found = match &heads.lock().channels[channel as usize].head {
            Head::Text(head) => head.find(line, frames::FRAMES),
            _ => FoundPoint::End,
        };
        match found {
            FoundPoint::End => return Ok(vec![]),
            FoundPoint::Sealed { until } => {
                let range = SheetRange { job: &heads.uid, channel, at: line, until };
                return sealed_lines(store, range, more).await;
            }
            FoundPoint::Open(refs) => {
                seqs = refs.iter().map(|frame| frame.seq).collect();
                if let Some(frames) = frames::read(store, heads, &seqs).await? {
                    return open_lines(heads, channel, line, &refs, &frames);
                }
            }
        }
    }
    Err(frames::gone(&seqs))
}

async fn sealed_lines(store: &Store, range: SheetRange<'_>, more: usize) -> Result<Vec<Line>, Refused> {
    let sheets = store.read_sheets::<TextRow>(range, more).await?;
    let rows = sheets.into_iter().flat_map(|sheet| (sheet.start.at..).zip(sheet.rows));
    let line = |(line, row): (u64, TextRow)| Line {
        line,
        x: Number(row.x),
        time: Micros(row.time),
        // It is UTF-8, or the sheet would have been refused.
        text: String::from_utf8_lossy(&row.text).into_owned(),
        continues: row.continues,
    };
    Ok(rows.skip_while(|(number, _)| *number < range.at).map(line).collect())
}

fn open_lines(
    heads: &JobHeads,
    channel: u32,
    line: u64,
    refs: &[FrameRef],
    frames: &[Bytes],
) -> Result<Vec<Line>, Refused> {
    let mut lines = Vec::new();
    for (frame_ref, bytes) in refs.iter().zip(frames) {
        let frame = frames::open(frame_ref.seq, bytes)?;
        let mut number = frame_ref.first;
        for block in frames::blocks(heads, &frame, channel) {
            let Block::Text(block) = block else { continue };
            for entry in block.entries() {
                if number >= line {
                    lines.push(Line {
                        line: number,
                        x: Number(entry.x),
                        time: Micros(entry.time),
                        text: entry.text.into(),
                        continues: entry.continues,
                    });
                }
                number += 1;
            }
        }
    }
    Ok(lines)
}

async fn log_lines(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    line: u64,
    more: usize,
) -> Result<Vec<Line>, Refused> {
    let mut reader = LineReader { from: line, lines: Vec::new(), open: None };
    let mut place = LogPlace::Line(line);
    loop {
        let read = stretches(store, heads, channel, place, more).await?;
        let Some(last) = read.last() else {
            // The last line is not finished: it is answered as far as it goes.
            reader.finish(false);
            return Ok(reader.lines);
        };
        place = LogPlace::Byte(last.end());
        read.iter().for_each(|stretch| reader.read(stretch));
        if !reader.lines.is_empty() {
            // What is left open will be read again, from its beginning.
            let is_end = match &heads.lock().channels[channel as usize].head {
                Head::Log(log) => log.length() <= last.end(),
                _ => true,
            };
            if is_end {
                reader.finish(false);
            }
            return Ok(reader.lines);
        }
    }
}

/// Puts lines together from stretches.
struct LineReader {
    from: u64,
    lines: Vec<Line>,
    open: Option<(Line, Vec<u8>)>,
}

impl LineReader {
    fn read(&mut self, stretch: &Stretch) {
        if stretch.lost > 0 {
            self.finish(false);
            let text = format!("[neptune: {} bytes of this log were lost]", stretch.lost);
            self.begin(stretch.lines, stretch);
            self.extend(text.as_bytes());
            self.finish(false);
            return;
        }
        if stretch.open == 0 {
            // A line that an attempt left unfinished ends where the next attempt begins.
            self.finish(false);
        }
        let mut number = stretch.lines;
        for segment in Segments::new(stretch.open, &stretch.bytes) {
            if segment.begins {
                self.begin(number, stretch);
                number += 1;
            }
            self.extend(segment.bytes);
            match segment.end {
                End::Feed => self.finish(false),
                End::Long => self.finish(true),
                End::Open => {}
            }
        }
    }

    fn begin(&mut self, number: u64, stretch: &Stretch) {
        if number >= self.from {
            let (x, time) = (Number(stretch.x), Micros(stretch.time));
            let line = Line { line: number, x, time, text: String::new(), continues: false };
            self.open = Some((line, Vec::new()));
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if let Some((_, text)) = &mut self.open {
            text.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self, continues: bool) {
        if let Some((line, text)) = self.open.take() {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.lines.push(Line { text, continues, ..line });
        }
    }
}

/// Bytes of a log from `offset` on.
pub(crate) async fn log_bytes(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    offset: u64,
    limit: usize,
) -> Result<Bytes, Refused> {
    let limit = limit.min(LOG_BYTES);
    let is_log = matches!(heads.lock().channels[channel as usize].head, Head::Log(_));
    if !is_log {
        return Err(Refused::Protocol {
            wanted: "only a log is a stream of bytes; read this channel's lines",
        });
    }
    let mut out = BytesMut::new();
    let mut at = offset;
    while out.len() < limit {
        let read = stretches(store, heads, channel, LogPlace::Byte(at), 0).await?;
        let Some(last) = read.last() else { break };
        for stretch in &read {
            let before = at.saturating_sub(stretch.start).min(stretch.bytes.len() as u64) as usize;
            let (room, wanted) = (limit - out.len(), &stretch.bytes[before..]);
            out.extend_from_slice(&wanted[..wanted.len().min(room)]);
        }
        at = last.end();
    }
    Ok(out.freeze())
}
