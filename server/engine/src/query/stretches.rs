//! Stretches of a log's bytes from a place on, from sheets where it is sealed, from frames where it is open.

use bytes::Bytes;
use neptune_store::Store;
use neptune_store::sheet::{LogRow, Row as _, Sheet};
use neptune_store::sheets::SheetRange;

use super::frames;
use crate::Refused;
use crate::heads::log::{FoundPlace, LogPlace, Piece};
use crate::heads::{Head, JobHeads};

/// Bytes of the stored stream that came at once, or the mark of lost ones.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    /// Offset of its first byte.
    pub(super) start: u64,
    /// Lines that began before it.
    pub(super) lines: u64,
    /// Bytes of the line that is unfinished where it begins; 0 if a line begins there.
    pub(super) open: u32,
    /// So many bytes were lost here; it has none then.
    pub(super) lost: u64,
    /// Milliseconds since the attempt started.
    pub(super) x: f64,
    /// Microseconds since the epoch.
    pub(super) time: i64,
    pub(super) bytes: Bytes,
}

impl Stretch {
    /// Offset of the byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The stretch that holds a place and some that follow, none left out; of at most so many further sheets. Empty behind the
/// end. The first may begin before the place.
pub(super) async fn stretches(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    place: LogPlace,
    more: usize,
) -> Result<Vec<Stretch>, Refused> {
    let mut seqs = Vec::new();
    for _ in 0..frames::LOOKS {
        let found = match &heads.lock().channels[channel as usize].head {
            Head::Log(log) => log.find(place, frames::FRAMES),
            _ => FoundPlace::End,
        };
        match found {
            FoundPlace::End => return Ok(vec![]),
            FoundPlace::Sealed { until } => {
                let at = match place {
                    LogPlace::Line(line) => store.find_log_line(&heads.uid, channel, line).await?,
                    LogPlace::Byte(offset) => offset,
                };
                let range = SheetRange { job: &heads.uid, channel, at, until };
                let sheets = store.read_sheets::<LogRow>(range, more).await?;
                return Ok(sealed(sheets, at));
            }
            FoundPlace::Open(pieces) => {
                seqs = pieces.iter().map(|piece| piece.seq).collect();
                if let Some(frames) = frames::read(store, heads, &seqs).await? {
                    return pieces.iter().zip(frames).map(|(piece, frame)| open(piece, &frame)).collect();
                }
            }
        }
    }
    Err(frames::gone(&seqs))
}

/// The stretches of sheets that reach beyond `at`.
fn sealed(sheets: Vec<Sheet<LogRow>>, at: u64) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    for sheet in sheets {
        let mut place = sheet.start;
        for row in sheet.rows {
            let behind = row.place_behind(place);
            let LogRow { x, time, lost, breaks, bytes } = row;
            if behind.at > at {
                let start = place.at;
                let here = Stretch {
                    start,
                    lines: place.lines,
                    open: place.open,
                    lost,
                    x,
                    time,
                    bytes: Bytes::new(),
                };
                if lost > 0 {
                    stretches.push(Stretch { open: 0, ..here.clone() });
                    stretches.push(Stretch { lines: place.lines + 1, open: 0, lost: 0, bytes, ..here });
                } else {
                    let open = if breaks { 0 } else { place.open };
                    stretches.push(Stretch { open, bytes, ..here });
                }
            }
            place = behind;
        }
    }
    stretches
}

fn open(piece: &Piece, frame: &Bytes) -> Result<Stretch, Refused> {
    let log = frames::log_block(piece, frame)?;
    let Piece { start, lines, open, lost, skip, .. } = *piece;
    let bytes = if lost > 0 { Bytes::new() } else { frame.slice_ref(&log.bytes[skip as usize..]) };
    Ok(Stretch { start, lines, open, lost, x: log.x, time: log.time, bytes })
}
