//! Sheets against the states that count their rows, and the lines of logs against where they are found.

use std::collections::HashMap;

use neptune_wire::JobUid;

use super::Damage;
use crate::key::StoreKey;
use crate::record::{ChannelState, ChannelStateRecord};
use crate::sheet::{ImageRow, LogRow, Place, Row, Sheet, TextRow};
use crate::store::{Store, StoreError};

/// What was read of sealed text, logs and images so far. Sheets come in order of channel and place.
#[derive(Default)]
pub(super) struct SheetCheck {
    /// How far each channel is sealed; taken out once its sheets are read.
    ends: HashMap<(JobUid, u32), End>,
    open: Option<Series>,
}

/// Where a channel's sealed rows end.
#[derive(Debug, Clone, Copy)]
struct End {
    kind: u8,
    place: Place,
}

/// The channel whose sheets are being read.
struct Series {
    job: JobUid,
    channel: u32,
    /// `None` for a channel without a state: all of it is left over.
    end: Option<End>,
    read: Place,
    /// What was found wrong hides how much there is.
    damaged: bool,
}

impl SheetCheck {
    pub(super) fn add_state(&mut self, job: JobUid, channel: u32, record: &ChannelStateRecord) {
        let end = match &record.state {
            ChannelState::Numeric(_) => return,
            ChannelState::Text(state) => {
                End { kind: TextRow::KIND, place: Place { at: state.count, ..Place::default() } }
            }
            ChannelState::Images(state) => {
                End { kind: ImageRow::KIND, place: Place { at: state.count, ..Place::default() } }
            }
            ChannelState::Log(state) => {
                let place = Place { at: state.length, lines: state.lines, open: state.open };
                End { kind: LogRow::KIND, place }
            }
        };
        self.ends.insert((job, channel), end);
    }

    /// Takes in the next sheet.
    pub(super) async fn add_sheet(
        &mut self,
        store: &Store,
        (job, channel, first): (JobUid, u32, u64),
        value: &[u8],
        tell: &mut (dyn FnMut(Damage) + Send),
    ) -> Result<(), StoreError> {
        if self.open.as_ref().is_some_and(|open| (open.job, open.channel) != (job, channel)) {
            self.end_series(tell);
        }
        let ends = &mut self.ends;
        let series = self.open.get_or_insert_with(|| {
            let end = ends.remove(&(job, channel));
            Series { job, channel, end, read: Place::default(), damaged: false }
        });
        match series.end.map(|end| end.kind) {
            Some(TextRow::KIND) => series.add::<TextRow>(first, value, tell),
            Some(ImageRow::KIND) => series.add::<ImageRow>(first, value, tell),
            Some(LogRow::KIND) if series.is_next(first) => {
                let line = StoreKey::LogLine { job, channel, line: series.read.lines, first };
                if !store.has(&line).await? {
                    tell(Damage::Missing { key: line.encode(), what: "the line of this sheet" });
                }
                series.add::<LogRow>(first, value, tell);
            }
            _ => {}
        }
        Ok(())
    }

    /// The last sheet was read.
    pub(super) fn end(&mut self, tell: &mut (dyn FnMut(Damage) + Send)) {
        self.end_series(tell);
        for ((job, channel), end) in std::mem::take(&mut self.ends) {
            let read = Place::default();
            Series { job, channel, end: Some(end), read, damaged: false }.end(tell);
        }
    }

    fn end_series(&mut self, tell: &mut (dyn FnMut(Damage) + Send)) {
        if let Some(series) = self.open.take() {
            series.end(tell);
        }
    }
}

impl Series {
    /// What lies beyond the state's end, or not where the rows before it end, is left over.
    fn is_next(&self, first: u64) -> bool {
        first == self.read.at && self.end.is_some_and(|end| first < end.place.at)
    }

    fn add<R: Row>(&mut self, first: u64, value: &[u8], tell: &mut (dyn FnMut(Damage) + Send)) {
        let Some(end) = self.end.filter(|_| self.is_next(first)) else { return };
        let key = StoreKey::Sheet { job: self.job, channel: self.channel, first }.encode();
        let mut sheet = match Sheet::<R>::decode(first, value) {
            Ok(sheet) => sheet,
            Err(source) => {
                self.damaged = true;
                return tell(Damage::Sheet { key, source });
            }
        };
        // A new attempt leaves the last line of the one before unfinished.
        let fits = sheet.start.lines == self.read.lines && [0, self.read.open].contains(&sheet.start.open);
        if !fits {
            tell(Damage::Value { key, wanted: "a sheet with the number of lines before it" });
        }
        sheet.truncate(end.place.at);
        self.read = sheet.rows.iter().fold(sheet.start, |place, row| row.place_behind(place));
    }

    fn end(self, tell: &mut (dyn FnMut(Damage) + Send)) {
        let Series { job, channel, end: Some(End { place: end, .. }), read, damaged: false } = self else {
            return;
        };
        if read.at < end.at {
            tell(Damage::Rows { job, channel, count: end.at, found: read.at });
        } else if read.lines != end.lines || ![0, read.open].contains(&end.open) {
            let key = StoreKey::ChannelState { job, channel }.encode();
            tell(Damage::Value { key, wanted: "the number of lines in the log" });
        }
    }
}
