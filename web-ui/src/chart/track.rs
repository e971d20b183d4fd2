//! One channel over one range, kept whole while it grows: the subscription's marks, the envelopes it asked for and the
//! live points are joined so that every point is in once, whatever arrives first.
//!
//! Points are counted in order of arrival. `known` is how many of them the span holds; live points below it are
//! passed over, a gap above it asks for the missing range. While an answer is awaited, live points wait for it.

use neptune_wire::columns::{Data, Table};

use super::span::{NoEnvelope, Span};

/// Points that may wait for an answer; more are dropped and asked for.
const WAITING_POINTS: usize = 200_000;

/// Live points in order of arrival, the first of them number `index`.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Number of the first.
    pub index: u64,
    /// Steps.
    pub x: Vec<f64>,
    /// Values.
    pub y: Vec<f64>,
}

impl Points {
    /// Reads a binary message of `/api/v1/live`; answers the subscription and the points.
    ///
    /// # Errors
    ///
    /// [`NoEnvelope`] with the part that is missing.
    pub fn from_table(table: Table) -> Result<(u32, Self), NoEnvelope> {
        let fact = |name| table.meta.get(name).and_then(serde_json::Value::as_u64).ok_or(NoEnvelope(name));
        let id = u32::try_from(fact("id")?).map_err(|_| NoEnvelope("id"))?;
        let index = fact("index")?;
        let (mut x, mut y) = (None, None);
        for column in table.columns {
            match (column.name.as_str(), column.data) {
                ("x", Data::F64(values)) => x = Some(values),
                ("y", Data::F64(values)) => y = Some(values),
                _ => {}
            }
        }
        Ok((id, Self { index, x: x.ok_or(NoEnvelope("x"))?, y: y.ok_or(NoEnvelope("y"))? }))
    }

    fn end(&self) -> u64 {
        self.index + self.x.len().min(self.y.len()) as u64
    }
}

/// An envelope to ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Smallest x; all when absent.
    pub from: Option<f64>,
    /// Largest x; all when absent.
    pub to: Option<f64>,
}

/// One channel over one range.
#[derive(Debug)]
pub struct Track {
    range: Option<(f64, f64)>,
    span: Span,
    known: u64,
    /// How many points the channel has for certain, held or not.
    certain: u64,
    /// Points whose x is NaN, as far as the whole channel was read.
    without_x: u64,
    awaited: Option<Ask>,
    waiting: Vec<Points>,
    waiting_points: usize,
}

impl Track {
    /// The whole channel, to be filled by [`Track::subscribed`].
    pub fn whole() -> Self {
        Self::over(None)
    }

    /// A part of a channel whose subscription holds already, with the envelope to ask for.
    pub fn part(from: f64, to: f64) -> (Self, Ask) {
        let mut track = Self::over(Some((from, to)));
        let ask = track.ask_all();
        (track, ask)
    }

    fn over(range: Option<(f64, f64)>) -> Self {
        let span = Span::default();
        let waiting = Vec::new();
        Self { range, span, known: 0, certain: 0, without_x: 0, awaited: None, waiting, waiting_points: 0 }
    }

    /// What there is to draw.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// How many points of the channel are accounted for.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// Points whose x is NaN: they have no place on the axis.
    pub fn without_x(&self) -> u64 {
        self.without_x
    }

    /// Whether an answer is awaited.
    pub fn is_awaiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether nothing was answered yet.
    pub fn is_loading(&self) -> bool {
        self.awaited.is_some() && self.span.count() == 0
    }

    /// The subscription holds since the channel had `mark` points.
    pub fn subscribed(&mut self, mark: u64) -> Option<Ask> {
        self.forget_waiting();
        if mark < self.known {
            // Another history than the one shown: the server went back.
            *self = Self::over(self.range);
        }
        self.certain = mark;
        if mark == self.known { None } else { Some(self.ask_missing()) }
    }

    /// The server left out the points from number `from` on.
    pub fn reread(&mut self, from: u64) -> Option<Ask> {
        self.certain = self.certain.max(from + 1);
        (self.awaited.is_none() && from >= self.known).then(|| self.ask_missing())
    }

    /// Live points arrived; `buckets` is how many the chart draws.
    pub fn arrived(&mut self, points: &Points, buckets: usize) -> Option<Ask> {
        self.certain = self.certain.max(points.end());
        if self.awaited.is_some() {
            self.wait(points);
            return None;
        }
        if points.index > self.known {
            self.wait(points);
            return Some(self.ask_missing());
        }
        self.take(points, buckets);
        None
    }

    /// The envelope that was asked for, or why there is none; may ask for more.
    ///
    /// # Errors
    ///
    /// [`NoEnvelope`] when the answer is none; the track then stands as after [`Track::unanswered`].
    pub fn answered(&mut self, ask: Ask, table: &Table, buckets: usize) -> Result<Option<Ask>, NoEnvelope> {
        if self.awaited != Some(ask) {
            return Ok(None);
        }
        self.awaited = None;
        let (span, mark) = Span::from_table(table)?;
        let resumed = self.range.is_none().then_some(ask.from).flatten();
        match resumed {
            Some(x) => self.span.replace_from(x, span),
            None => self.span = span,
        }
        let newer = mark > self.known;
        self.known = mark;
        let whole = self.range.is_none();
        if resumed.is_some() && self.span.count() + self.without_x != mark {
            // Points came with an x before the range that was asked for: only the whole tells where.
            return Ok(Some(self.ask_all()));
        }
        if whole && resumed.is_none() {
            self.without_x = mark.saturating_sub(self.span.count());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_points = 0;
        for points in waiting {
            if points.index > self.known {
                self.wait(&points);
                return Ok(Some(self.ask_missing()));
            }
            self.take(&points, buckets);
        }
        // What was left out while the answer was on its way. An answer that brought nothing new is not asked for again.
        Ok((newer && self.known < self.certain).then(|| self.ask_missing()))
    }

    /// The envelope was not answered: what is shown stays, [`Track::retry`] asks again.
    pub fn unanswered(&mut self, ask: Ask) {
        if self.awaited == Some(ask) {
            self.awaited = None;
        }
    }

    /// Asks again for what is missing.
    pub fn retry(&mut self) -> Ask {
        self.ask_missing()
    }

    fn ask_missing(&mut self) -> Ask {
        match (self.range, self.span.resume_x()) {
            (None, Some(x)) if x.is_finite() => self.expect(Ask { from: Some(x), to: None }),
            _ => self.ask_all(),
        }
    }

    fn ask_all(&mut self) -> Ask {
        let (from, to) = self.range.unzip();
        self.expect(Ask { from, to })
    }

    fn expect(&mut self, ask: Ask) -> Ask {
        self.awaited = Some(ask);
        ask
    }

    fn wait(&mut self, points: &Points) {
        self.waiting_points += points.x.len();
        if self.waiting_points > WAITING_POINTS {
            // What is missing then is asked for after the answer.
            self.forget_waiting();
        } else {
            self.waiting.push(points.clone());
        }
    }

    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_points = 0;
    }

    fn take(&mut self, points: &Points, buckets: usize) {
        let end = points.end();
        let passed_over = (self.known - points.index) as usize;
        for (&x, &y) in points.x.iter().zip(&points.y).skip(passed_over) {
            self.without_x += u64::from(x.is_nan());
            if self.range.is_none_or(|(from, to)| from <= x && x <= to) {
                self.span.push(x, y);
                self.span.settle(buckets);
            }
        }
        self.known = self.known.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::tests::{span, table};
    use super::*;

    const ALL: Ask = Ask { from: None, to: None };

    /// Points `from..to` with x = y = their number.
    fn points(from: u64, to: u64) -> Points {
        let values: Vec<f64> = (from..to).map(|n| n as f64).collect();
        Points { index: from, x: values.clone(), y: values }
    }

    fn answer(from: u64, mark: u64) -> Table {
        let values: Vec<_> = (from..mark).map(|n| (n as f64, n as f64)).collect();
        table(&span(&values), mark)
    }

    fn xs(track: &Track) -> Vec<f64> {
        track.span().buckets().iter().map(|bucket| bucket.x_first).collect()
    }

    #[test]
    fn history_and_live_points_meet_without_doubles() {
        let mut track = Track::whole();
        assert_eq!(track.subscribed(3), Some(ALL));
        assert_eq!(track.arrived(&points(3, 5), 100), None);
        assert!(track.is_loading());
        // The answer knows one of the points that wait already.
        assert_eq!(track.answered(ALL, &answer(0, 4), 100), Ok(None));
        assert_eq!(xs(&track), [0.0, 1.0, 2.0, 3.0, 4.0]);
        track.arrived(&points(4, 7), 100);
        assert_eq!((xs(&track).len(), track.known(), track.span().count()), (7, 7, 7));
    }

    #[test]
    fn an_empty_channel_asks_for_nothing() {
        let mut track = Track::whole();
        assert_eq!(track.subscribed(0), None);
        track.arrived(&points(0, 2), 100);
        assert_eq!(track.known(), 2);
    }

    #[test]
    fn after_a_reconnect_only_the_gap_is_asked_for() {
        let mut track = Track::whole();
        track.subscribed(0);
        track.arrived(&points(0, 10), 100);
        assert_eq!(track.subscribed(10), None, "nothing was missed");
        let gap = track.subscribed(14).unwrap();
        assert_eq!(gap, Ask { from: Some(9.0), to: None });
        track.arrived(&points(14, 16), 100);
        assert_eq!(track.answered(gap, &answer(9, 15), 100), Ok(None));
        assert_eq!((xs(&track).len(), track.known()), (16, 16));
    }

    #[test]
    fn a_gap_whose_points_lie_elsewhere_asks_for_all() {
        let mut track = Track::whole();
        track.subscribed(0);
        track.arrived(&points(0, 10), 100);
        let gap = track.subscribed(12).unwrap();
        // One of the two missed points has x = 3.5, before the range.
        let late = table(&span(&[(9.0, 9.0), (10.0, 10.0)]), 12);
        assert_eq!(track.answered(gap, &late, 100), Ok(Some(ALL)));
        let mut values: Vec<_> = (0..11).map(|n| (f64::from(n), f64::from(n))).collect();
        values.push((3.5, 0.0));
        assert_eq!(track.answered(ALL, &table(&span(&values), 12), 100), Ok(None));
        assert_eq!((track.span().count(), track.known()), (12, 12));
    }

    #[test]
    fn points_without_x_are_no_gap() {
        let mut track = Track::whole();
        track.subscribed(5);
        // Five points of which two have NaN as x.
        track.answered(ALL, &table(&span(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]), 5), 100).unwrap();
        track.arrived(&Points { index: 5, x: vec![f64::NAN, 4.0], y: vec![0.0, 4.0] }, 100);
        let gap = track.subscribed(8).unwrap();
        let end = table(&span(&[(4.0, 4.0), (5.0, 5.0)]), 8);
        assert_eq!(gap.from, Some(4.0));
        assert_eq!(track.answered(gap, &end, 100), Ok(None));
    }

    #[test]
    fn a_jump_in_the_numbers_is_a_gap() {
        let mut track = Track::whole();
        track.subscribed(0);
        track.arrived(&points(0, 3), 100);
        let gap = track.arrived(&points(5, 6), 100).unwrap();
        assert_eq!(track.answered(gap, &answer(2, 5), 100), Ok(None));
        assert_eq!(xs(&track), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_reader_that_was_too_slow_reads_again() {
        let mut track = Track::whole();
        track.subscribed(0);
        track.arrived(&points(0, 3), 100);
        assert_eq!(track.reread(3), Some(Ask { from: Some(2.0), to: None }));
        assert_eq!(track.reread(3), None, "it is asked for already");
    }

    #[test]
    fn what_was_left_out_while_an_answer_was_awaited_is_asked_for() {
        let mut track = Track::whole();
        track.subscribed(3);
        assert_eq!(track.reread(5), None, "an answer is awaited");
        let more = track.answered(ALL, &answer(0, 4), 100).unwrap().expect("two points are missing");
        assert_eq!(more.from, Some(3.0));
        assert_eq!(track.answered(more, &answer(3, 6), 100), Ok(None));
        assert_eq!((track.known(), track.span().count()), (6, 6));
    }

    #[test]
    fn a_server_that_brings_nothing_new_is_not_asked_for_ever() {
        let mut track = Track::whole();
        track.subscribed(3);
        let more = track.answered(ALL, &answer(0, 2), 100).unwrap().expect("a point is missing");
        assert_eq!(track.answered(more, &answer(1, 2), 100), Ok(None));
    }

    #[test]
    fn a_flood_while_an_answer_is_awaited_is_asked_for() {
        let mut track = Track::whole();
        track.subscribed(3);
        let flood = WAITING_POINTS as u64 + 10;
        track.arrived(&points(3, flood), 100);
        let more = track.answered(ALL, &answer(0, 3), 100).unwrap().expect("the flood is missing");
        assert_eq!(more.from, Some(2.0));
    }

    #[test]
    fn a_part_takes_only_what_lies_in_it() {
        let (mut part, ask) = Track::part(2.0, 6.0);
        part.arrived(&points(4, 9), 100);
        assert_eq!(part.answered(ask, &table(&span(&[(2.0, 2.0), (3.0, 3.0)]), 4), 100), Ok(None));
        assert_eq!(xs(&part), [2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(part.known(), 9);
    }

    #[test]
    fn a_server_that_went_back_is_believed() {
        let mut track = Track::whole();
        track.subscribed(0);
        track.arrived(&points(0, 10), 100);
        assert_eq!(track.subscribed(4), Some(ALL));
        track.answered(ALL, &answer(0, 4), 100).unwrap();
        assert_eq!(track.known(), 4);
    }

    #[test]
    fn an_old_answer_is_not_taken_for_the_new_one() {
        let mut track = Track::whole();
        track.subscribed(3);
        track.unanswered(ALL);
        assert_eq!(track.answered(ALL, &answer(0, 3), 100), Ok(None));
        assert_eq!(track.known(), 0);
        assert_eq!(track.retry(), ALL);
        track.answered(ALL, &answer(0, 3), 100).unwrap();
        assert_eq!(track.known(), 3);
    }

    #[test]
    fn a_live_message_is_read() {
        let meta = serde_json::json!({"id": 7, "index": 41}).as_object().unwrap().clone();
        let table = Table { name: "loss".into(), meta, columns: vec![] }
            .with("x", Data::F64(vec![1.0]))
            .with("y", Data::F64(vec![2.0]))
            .with("time", Data::I64(vec![3]));
        assert_eq!(Points::from_table(table), Ok((7, Points { index: 41, x: vec![1.0], y: vec![2.0] })));
        assert_eq!(Points::from_table(Table::default()), Err(NoEnvelope("id")));
    }
}
