//! Lines of text channels and logs, and the raw bytes of logs.
//!
//! A point of a text channel is a line. A log's lines are cut from its bytes as [`Segments`] does; a line that is not
//! finished yet is a line too, and grows.

use bytes::{Bytes, BytesMut};
use neptune_store::Store;
use neptune_wire::frame::{Block, Log};
use neptune_wire::query::{Line, Lines, TextQuery};
use neptune_wire::{Micros, Number};

use super::frames;
use crate::Refused;
use crate::heads::log::{End, Piece, Segments};
use crate::heads::{Head, JobHeads};

const LIMIT: u32 = 1_000;
const LIMIT_MAX: u32 = 10_000;
/// Text of one page.
const PAGE_BYTES: usize = 4 << 20;
/// Text that one page of a search reads, with [`LINE_COST_BYTES`] for each line.
const SEARCH_BYTES: usize = 64 << 20;
/// What a line costs whatever its length, so that empty ones are bounded too.
const LINE_COST_BYTES: usize = 64;
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
    let needle = query.search.as_ref().map(|text| text.to_lowercase());
    let (mut at, mut lines) = (first, Vec::new());
    let (mut page_bytes, mut read_bytes) = (0, 0);
    'page: while at < total {
        let batch = from(store, heads, channel, at).await?;
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
            if needle.as_ref().is_none_or(|needle| line.text.to_lowercase().contains(needle)) {
                page_bytes += line.text.len();
                lines.push(line);
            }
        }
    }
    Ok(Lines { lines, total, next: Some(at).filter(|at| *at < total) })
}

/// Some lines from `line` on, at least one if there is one: what a few frames hold.
pub(crate) async fn from(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    line: u64,
) -> Result<Vec<Line>, Refused> {
    let is_log = matches!(heads.lock().channels[channel as usize].head, Head::Log(_));
    if is_log {
        log_lines(store, heads, channel, line).await
    } else {
        text_lines(store, heads, channel, line).await
    }
}

async fn text_lines(store: &Store, heads: &JobHeads, channel: u32, line: u64) -> Result<Vec<Line>, Refused> {
    let refs = match &heads.lock().channels[channel as usize].head {
        Head::Text(head) if line < head.count() => head.frames_from(line, frames::FRAMES).to_vec(),
        _ => return Ok(vec![]),
    };
    let seqs: Vec<u64> = refs.iter().map(|frame| frame.seq).collect();
    let mut lines = Vec::new();
    for (frame_ref, bytes) in refs.iter().zip(frames::read(store, heads, &seqs).await?) {
        let frame = frames::open(frame_ref.seq, &bytes)?;
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

async fn log_lines(store: &Store, heads: &JobHeads, channel: u32, line: u64) -> Result<Vec<Line>, Refused> {
    let mut reader = LineReader { from: line, lines: Vec::new(), open: None };
    let mut next = with_log(heads, channel, |log| log.find_line(line));
    loop {
        let pieces = with_log(heads, channel, |log| log.pieces(next, frames::FRAMES).to_vec());
        if pieces.is_empty() {
            // The last line is not finished: it is answered as far as it goes.
            reader.finish(false);
            return Ok(reader.lines);
        }
        next += pieces.len();
        let seqs: Vec<u64> = pieces.iter().map(|piece| piece.seq).collect();
        for (piece, bytes) in pieces.iter().zip(frames::read(store, heads, &seqs).await?) {
            reader.read(piece, &log_block(piece, &bytes)?);
        }
        if !reader.lines.is_empty() {
            // What is left open will be read again, from its beginning.
            let more = with_log(heads, channel, |log| !log.pieces(next, 1).is_empty());
            if !more {
                reader.finish(false);
            }
            return Ok(reader.lines);
        }
    }
}

fn with_log<T>(heads: &JobHeads, channel: u32, look: impl FnOnce(&crate::heads::log::LogHead) -> T) -> T {
    match &heads.lock().channels[channel as usize].head {
        Head::Log(log) => look(log),
        _ => look(&crate::heads::log::LogHead::default()),
    }
}

/// The block of a piece; its bytes still hold what the piece leaves out.
fn log_block<'a>(piece: &Piece, bytes: &'a [u8]) -> Result<Log<'a>, Refused> {
    let frame = frames::open(piece.seq, bytes)?;
    match frame.blocks.get(usize::from(piece.block)) {
        Some((_, Block::Log(log))) => Ok(*log),
        _ => Err(Refused::Storage(format!("frame {} has no log block {}", piece.seq, piece.block).into())),
    }
}

/// Puts lines together from pieces.
struct LineReader {
    from: u64,
    lines: Vec<Line>,
    open: Option<(Line, Vec<u8>)>,
}

impl LineReader {
    fn read(&mut self, piece: &Piece, log: &Log<'_>) {
        if piece.lost > 0 {
            self.finish(false);
            let text = format!("[neptune: {} bytes of this log were lost]", piece.lost);
            self.begin(piece.lines, log);
            self.extend(text.as_bytes());
            self.finish(false);
            return;
        }
        if piece.open == 0 {
            // A line that an attempt left unfinished ends where the next attempt begins.
            self.finish(false);
        }
        let mut number = piece.lines;
        for segment in Segments::new(piece.open, &log.bytes[piece.skip as usize..]) {
            if segment.begins {
                self.begin(number, log);
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

    fn begin(&mut self, number: u64, log: &Log<'_>) {
        if number >= self.from {
            let (x, time) = (Number(log.x), Micros(log.time));
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
pub(super) async fn log_bytes(
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
    let mut next = with_log(heads, channel, |log| log.find_byte(offset));
    while out.len() < limit {
        let pieces = with_log(heads, channel, |log| log.pieces(next, frames::FRAMES).to_vec());
        if pieces.is_empty() {
            break;
        }
        next += pieces.len();
        let seqs: Vec<u64> = pieces.iter().map(|piece| piece.seq).collect();
        for (piece, bytes) in pieces.iter().zip(frames::read(store, heads, &seqs).await?) {
            if piece.lost > 0 {
                continue;
            }
            let log = log_block(piece, &bytes)?;
            let stored = &log.bytes[piece.skip as usize..];
            let before = offset.saturating_sub(piece.start).min(stored.len() as u64) as usize;
            let room = limit - out.len();
            let wanted = &stored[before..];
            out.extend_from_slice(&wanted[..wanted.len().min(room)]);
        }
    }
    Ok(out.freeze())
}
