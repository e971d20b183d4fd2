//! What sealing makes of a text, log or image channel: sheets of what its open frames hold.
//!
//! [`prepare`] reads the frames and makes the writes, which changes nothing. Its sheets may be committed one after another
//! before the last writes, which go with the channel's state: until then no reader is sent to them, and a round that begins
//! anew writes them again. A head is turned to its sheets before the frames go, so a reader that finds a frame gone looks
//! at the head once more, and finds the sheet.

use bytes::Bytes;
use neptune_store::sheet::{ImageRow, LIGHT_BYTES, LogRow, Place, Row, Sheet, TextRow};
use neptune_store::sheets::SheetRange;
use neptune_store::{ChannelState, ChannelStateRecord, LogState, RowsState, Store, Writes, sheet};
use neptune_wire::frame::Block;

use crate::Refused;
use crate::heads::refs::FrameRef;
use crate::heads::{Head, JobHeads};
use crate::query::frames;

/// Frames that are read at once.
const FRAMES: usize = 16;
/// So much is sealed at once, before compression; what is beyond waits for the next time.
const PREPARED_BYTES: usize = 16 << 20;
/// Sheets of one commit, which leaves room for the states beside them.
const PIECE_BYTES: usize = 512 << 10;

/// What seals the open part of one channel, or as much of it as is done at once.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Sheets; each fits a commit. The last is committed with the state that names them, the others with it or before.
    pub(super) pieces: Vec<Writes>,
    pub(super) state: ChannelStateRecord,
    /// Nothing of the asked frames is left; else another [`prepare`] goes on.
    pub(super) is_all: bool,
}

/// Prepares the sealing of what is open of a text, log or image channel in frames up to `through`, the last that was
/// applied or an earlier one. `None` when there is nothing, or the channel is of numbers.
///
/// One round works on a job at a time. Cost: reads the frames, in the order of the log; some 200 MB/s.
///
/// # Errors
///
/// What hinders the store; a frame or sheet that is damaged.
pub(super) async fn prepare(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    through: u64,
) -> Result<Option<Prepared>, Refused> {
    let task = Task { store, heads, channel, through };
    enum Kind {
        Text(RowsState),
        Images(RowsState),
        Log(LogState),
    }
    let kind = match &heads.lock().channels[channel as usize].head {
        Head::Numeric(_) => return Ok(None),
        Head::Text(head) => Kind::Text(head.sealed()),
        Head::Images(head) => Kind::Images(head.sealed()),
        Head::Log(head) => Kind::Log(head.sealed()),
    };
    match kind {
        Kind::Text(old) => task.prepare_rows::<TextRow>(old, ChannelState::Text).await,
        Kind::Images(old) => task.prepare_rows::<ImageRow>(old, ChannelState::Images).await,
        Kind::Log(old) => task.prepare_log(old).await,
    }
}

/// One channel about to be sealed.
#[derive(Clone, Copy)]
struct Task<'a> {
    store: &'a Store,
    heads: &'a JobHeads,
    channel: u32,
    through: u64,
}

/// Rows of a kind that a frame holds as points of a channel.
trait PointRow: Row {
    fn push_block(block: &Block<'_>, frame: &Bytes, sheets: &mut Sheets<Self>);
}

impl PointRow for TextRow {
    fn push_block(block: &Block<'_>, frame: &Bytes, sheets: &mut Sheets<Self>) {
        let Block::Text(block) = block else { return };
        for entry in block.entries() {
            let text = frame.slice_ref(entry.text.as_bytes());
            sheets.push(TextRow { x: entry.x, time: entry.time, text, continues: entry.continues });
        }
    }
}

impl PointRow for ImageRow {
    fn push_block(block: &Block<'_>, frame: &Bytes, sheets: &mut Sheets<Self>) {
        let Block::Images(block) = block else { return };
        for entry in block.entries() {
            sheets.push(ImageRow {
                x: entry.x,
                time: entry.time,
                digest: entry.digest,
                width: entry.width,
                height: entry.height,
                size_bytes: entry.size_bytes,
                name: frame.slice_ref(entry.name.as_bytes()),
                description: frame.slice_ref(entry.description.as_bytes()),
            });
        }
    }
}

impl Task<'_> {
    async fn prepare_rows<R: PointRow>(
        self,
        old: RowsState,
        state: fn(RowsState) -> ChannelState,
    ) -> Result<Option<Prepared>, Refused> {
        let begin = Place { at: old.count, ..Place::default() };
        let mut sheets: Option<Sheets<R>> = None;
        let (mut taken, mut seq, mut is_all) = (0, self.through, true);
        loop {
            let refs = self.refs_to_seal(taken);
            let Some(last) = refs.last() else { break };
            let rows = match &mut sheets {
                Some(rows) if rows.taken_bytes >= PREPARED_BYTES => {
                    is_all = false;
                    break;
                }
                Some(rows) => rows,
                None => sheets.insert(self.open_sheets(old.last_sheet, begin).await?),
            };
            let seqs: Vec<u64> = refs.iter().map(|frame| frame.seq).collect();
            for (seq, bytes) in seqs.iter().zip(self.read_frames(&seqs).await?) {
                let frame = frames::open(*seq, &bytes)?;
                for block in frames::blocks(self.heads, &frame, self.channel) {
                    R::push_block(&block, &bytes, rows);
                }
            }
            taken += refs.len();
            seq = last.seq;
            rows.compress().await?;
        }
        let Some(rows) = sheets else { return Ok(None) };
        if is_all {
            seq = self.through;
        }
        let (count, steps) = match &self.heads.lock().channels[self.channel as usize].head {
            Head::Text(head) | Head::Images(head) => head.state_behind(seq),
            _ => return Err(self.differs()),
        };
        if rows.place.at != count {
            return Err(self.differs());
        }
        let (sealed, last_sheet) = rows.finish().await?;
        let new = ChannelStateRecord { seq, state: state(RowsState { count, last_sheet, steps }) };
        Ok(Some(self.prepared::<R>(sealed, new, is_all)))
    }

    fn refs_to_seal(self, first: usize) -> Vec<FrameRef> {
        match &self.heads.lock().channels[self.channel as usize].head {
            Head::Text(head) | Head::Images(head) => head.frames_to_seal(first, FRAMES, self.through),
            _ => vec![],
        }
    }

    async fn prepare_log(self, old: LogState) -> Result<Option<Prepared>, Refused> {
        let Some(mut new) = self.log_state_behind(self.through) else { return Ok(None) };
        let begin = Place { at: old.length, lines: old.lines, open: old.open };
        let mut rows: Sheets<LogRow> = self.open_sheets(old.last_sheet, begin).await?;
        let (mut taken, mut seq, mut is_all, mut lost) = (0, self.through, true, 0);
        loop {
            let pieces = match &self.heads.lock().channels[self.channel as usize].head {
                Head::Log(head) => head.pieces_to_seal(taken, FRAMES, self.through),
                _ => vec![],
            };
            if pieces.is_empty() {
                break;
            }
            if rows.taken_bytes >= PREPARED_BYTES {
                (is_all, new) = (false, self.log_state_behind(seq).ok_or_else(|| self.differs())?);
                break;
            }
            let seqs: Vec<u64> = pieces.iter().map(|piece| piece.seq).collect();
            for (piece, frame) in pieces.iter().zip(self.read_frames(&seqs).await?) {
                if piece.lost > 0 {
                    lost = piece.lost;
                    continue;
                }
                let log = frames::log_block(piece, &frame)?;
                let bytes = frame.slice_ref(&log.bytes[piece.skip as usize..]);
                let breaks = lost == 0 && piece.open == 0 && rows.place.open > 0;
                rows.push(LogRow { x: log.x, time: log.time, lost, breaks, bytes });
                lost = 0;
            }
            taken += pieces.len();
            seq = pieces[pieces.len() - 1].seq;
            rows.compress().await?;
        }
        if is_all {
            seq = self.through;
        }
        // Where the first bytes of a new attempt are still to come, the line before them has ended.
        let fits = (rows.place.at, rows.place.lines) == (new.length, new.lines);
        if !fits || ![0, rows.place.open].contains(&new.open) {
            return Err(self.differs());
        }
        let (sealed, last_sheet) = rows.finish().await?;
        let new = ChannelStateRecord { seq, state: ChannelState::Log(LogState { last_sheet, ..new }) };
        Ok(Some(self.prepared::<LogRow>(sealed, new, is_all)))
    }

    fn log_state_behind(self, seq: u64) -> Option<LogState> {
        match &self.heads.lock().channels[self.channel as usize].head {
            Head::Log(head) => head.state_behind(seq),
            _ => None,
        }
    }

    /// Frames cannot be gone: this round is the one that would let go of them.
    async fn read_frames(self, seqs: &[u64]) -> Result<Vec<Bytes>, Refused> {
        let frames = frames::read(self.store, self.heads, seqs).await?;
        frames.ok_or_else(|| frames::gone(seqs))
    }

    /// The last sheet if it is light, else a new one behind it.
    async fn open_sheets<R: Row>(self, last_sheet: u64, begin: Place) -> Result<Sheets<R>, Refused> {
        let mut sheet = Sheet { start: begin, rows: Vec::new() };
        if begin.at > 0 {
            let range =
                SheetRange { job: &self.heads.uid, channel: self.channel, at: last_sheet, until: begin.at };
            let last = self.store.read_sheets(range, 0).await?.pop();
            let fits = |last: &Sheet<R>| (last.start.at, last.end()) == (last_sheet, begin.at);
            let last = last.filter(fits).ok_or_else(|| self.differs())?;
            if last.weight() < LIGHT_BYTES {
                sheet = last;
            }
        }
        let place = sheet.rows.iter().fold(sheet.start, |place, row| row.place_behind(place));
        let (weight, old_rows) = (sheet.weight(), sheet.rows.len());
        Ok(Sheets {
            sealed: vec![],
            full: vec![],
            last_sheet,
            place,
            weight,
            sheet,
            old_rows,
            taken_bytes: 0,
        })
    }

    fn prepared<R: Row>(
        self,
        sealed: Vec<(Place, Bytes)>,
        state: ChannelStateRecord,
        is_all: bool,
    ) -> Prepared {
        let job = &self.heads.uid;
        let mut pieces: Vec<Writes> = Vec::new();
        for (place, bytes) in sealed {
            let mut one = Writes::new();
            if R::KIND == LogRow::KIND {
                one.put_log_sheet(job, self.channel, place, bytes);
            } else {
                one.put_sheet(job, self.channel, place.at, bytes);
            }
            match pieces.last_mut() {
                Some(open) if open.size_bytes() + one.size_bytes() <= PIECE_BYTES => open.append(one),
                _ => pieces.push(one),
            }
        }
        Prepared { pieces, state, is_all }
    }

    /// What is stored is not what the head says; nothing may be written by it.
    fn differs(self) -> Refused {
        let Task { heads, channel, .. } = self;
        Refused::Storage(
            format!("channel {channel} of job {} differs from its sealed state", heads.uid).into(),
        )
    }
}

/// Sheets being filled.
struct Sheets<R> {
    sealed: Vec<(Place, Bytes)>,
    /// Waiting to be compressed.
    full: Vec<Sheet<R>>,
    /// Where the last sheet begins that was there before.
    last_sheet: u64,
    sheet: Sheet<R>,
    /// Rows of it that were sealed before.
    old_rows: usize,
    weight: usize,
    /// Behind the last row.
    place: Place,
    /// Weight of all new rows.
    taken_bytes: usize,
}

impl<R: Row> Sheets<R> {
    fn push(&mut self, row: R) {
        if self.weight >= sheet::FULL_BYTES {
            self.close();
        }
        self.place = row.place_behind(self.place);
        self.weight += row.weight();
        self.taken_bytes += row.weight();
        self.sheet.rows.push(row);
    }

    fn close(&mut self) {
        let next = Sheet { start: self.place, rows: Vec::new() };
        self.full.push(std::mem::replace(&mut self.sheet, next));
        (self.weight, self.old_rows) = (0, 0);
    }

    /// Compresses what is full, on a thread that may take its time.
    async fn compress(&mut self) -> Result<(), Refused> {
        let full = std::mem::take(&mut self.full);
        if !full.is_empty() {
            let seal = move || full.into_iter().flat_map(Sheet::seal).collect::<Vec<_>>();
            let sealed = tokio::task::spawn_blocking(seal).await;
            self.sealed.extend(sealed.map_err(|broken| Refused::Storage(broken.into()))?);
        }
        Ok(())
    }

    /// The sheets, and where the last one begins. One that takes the place of an older one comes last of them: it may end
    /// before the rows of that do, and until the state names what comes behind it, the older one must stay.
    async fn finish(mut self) -> Result<(Vec<(Place, Bytes)>, u64), Refused> {
        if self.sheet.rows.len() > self.old_rows {
            self.close();
        }
        self.compress().await?;
        let last_sheet = self.sealed.last().map_or(self.last_sheet, |(place, _)| place.at);
        if let Some(at) = self.sealed.iter().position(|(place, _)| place.at == self.last_sheet) {
            let again = self.sealed.remove(at);
            self.sealed.push(again);
        }
        Ok((self.sealed, last_sheet))
    }
}

#[cfg(test)]
mod tests;
