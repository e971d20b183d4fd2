//! The columns of all jobs: one row a job, which it keeps; what changed last is known by number.
//!
//! A row whose job is gone is given to the next new job. Metrics have five lanes, the count first, because it is there
//! whenever the channel is. Tags are one text of a job, each tag followed by a line end, so that a set is one code.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use neptune_wire::{ChannelSummary, Job, JobId, JobUid, Number, ParamValue, ProjectKey};

use super::coded::{Coded, Kind};
use super::filter::{Stat, number_of};
use super::paged::{Cell as _, Mask, NONE, PAGE_ROWS, Paged, cell};
use super::plan::without;

/// Lanes of a metric.
pub(crate) const LANES: usize = 5;

/// Rows that are saved together.
pub(crate) const CHUNK_ROWS: u32 = 64;

/// All rows.
#[derive(Debug)]
pub(crate) struct Rows {
    uids: Vec<JobUid>,
    by_uid: HashMap<JobUid, u32>,
    free: Vec<u32>,
    present: Vec<Mask>,
    /// Rows of jobs that are deleted and can be restored; they are present too.
    deleted: Vec<Mask>,
    pub(crate) texts: Texts,
    pub(crate) numbers: Numbers,
    metrics: Vec<Metric>,
    metric_index: HashMap<Arc<str>, usize>,
    pub(crate) params: BTreeMap<Arc<str>, Coded>,
    pub(crate) properties: BTreeMap<Arc<str>, Coded>,
    /// Which properties a row has; rows without any are not in it.
    properties_of: HashMap<u32, Box<[Arc<str>]>>,
    last_change: u64,
    /// By row: the number of its latest change.
    changes: Vec<u64>,
    /// Changed rows under the number of their latest change, and which job the row was of.
    latest: BTreeMap<u64, (u32, JobUid)>,
    /// Chunks of rows whose metrics differ from what is saved of them.
    unsaved: BTreeSet<u32>,
    /// Jobs of whose metrics not all that is stored is in.
    unread: HashSet<JobUid>,
}

/// Text that every job may have.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) project: Coded,
    pub(crate) name: Coded,
    pub(crate) description: Coded,
    pub(crate) state: Coded,
    pub(crate) reason: Coded,
    pub(crate) host: Coded,
    pub(crate) tags: Coded,
}

/// Numbers that every job may have.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Second half of the id.
    pub(crate) number: Paged<f64>,
    pub(crate) created: Paged<f64>,
    pub(crate) started: Paged<f64>,
    pub(crate) ended: Paged<f64>,
    pub(crate) attempt: Paged<f64>,
    pub(crate) exit_code: Paged<f64>,
    pub(crate) dropped: Paged<f64>,
}

/// The summaries of one metric.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: Arc<str>,
    pub(crate) cells: Paged<f64>,
}

/// Which jobs are asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Those that are not deleted.
    #[default]
    Kept,
    /// Those that are, and can be restored.
    Deleted,
}

impl Shown {
    /// As a request has it, where nothing said means `false`.
    pub(crate) fn from_asked(deleted: Option<bool>) -> Shown {
        if deleted == Some(true) { Shown::Deleted } else { Shown::Kept }
    }
}

/// A changed row, for those who follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) row: u32,
    pub(crate) uid: JobUid,
}

impl Default for Rows {
    fn default() -> Rows {
        let number = || Paged::new(1);
        Rows {
            uids: Vec::new(),
            by_uid: HashMap::new(),
            free: Vec::new(),
            present: Vec::new(),
            deleted: Vec::new(),
            texts: Texts {
                project: Coded::new(),
                name: Coded::new(),
                description: Coded::new(),
                state: Coded::new(),
                reason: Coded::new(),
                host: Coded::new(),
                tags: Coded::new(),
            },
            numbers: Numbers {
                number: number(),
                created: number(),
                started: number(),
                ended: number(),
                attempt: number(),
                exit_code: number(),
                dropped: number(),
            },
            metrics: Vec::new(),
            metric_index: HashMap::new(),
            params: BTreeMap::new(),
            properties: BTreeMap::new(),
            properties_of: HashMap::new(),
            last_change: 0,
            changes: Vec::new(),
            latest: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            unread: HashSet::new(),
        }
    }
}

impl Rows {
    pub(crate) fn find(&self, uid: &JobUid) -> Option<u32> {
        self.by_uid.get(uid).copied()
    }

    pub(crate) fn uid(&self, row: u32) -> JobUid {
        self.uids[row as usize]
    }

    /// The id of a row's job; `None` for a row that is of none.
    pub(crate) fn id(&self, row: u32) -> Option<JobId> {
        let project = ProjectKey::new(&self.texts.project.find(row)?.text).ok()?;
        Some(JobId { project, number: self.numbers.number.get(row, 0) as u64 })
    }

    pub(crate) fn page_count(&self) -> u32 {
        self.present.len() as u32
    }

    /// Rows of a page that are of a job.
    pub(crate) fn present(&self, page: u32) -> Mask {
        self.present.get(page as usize).copied().unwrap_or(NONE)
    }

    /// Those of `open` that are of jobs which are asked about.
    pub(crate) fn shown(&self, page: u32, open: &Mask, shown: Shown) -> Mask {
        let deleted = self.deleted.get(page as usize).unwrap_or(&NONE);
        let kept = without(open, deleted);
        match shown {
            Shown::Kept => kept,
            Shown::Deleted => without(open, &kept),
        }
    }

    /// Whether any job is deleted.
    pub(crate) fn has_deleted(&self) -> bool {
        self.deleted.iter().any(|page| *page != NONE)
    }

    pub(crate) fn find_metric(&self, name: &str) -> Option<&Metric> {
        self.metric_index.get(name).map(|at| &self.metrics[*at])
    }

    pub(crate) fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The row of a job; a new one if it has none. Answers whether it is new.
    pub(crate) fn row_of(&mut self, uid: &JobUid) -> (u32, bool) {
        if let Some(row) = self.find(uid) {
            return (row, false);
        }
        let row = self.free.pop().unwrap_or(self.uids.len() as u32);
        if row as usize == self.uids.len() {
            self.uids.push(*uid);
            self.changes.push(0);
            if self.present.len() * PAGE_ROWS <= row as usize {
                self.present.push(NONE);
            }
        }
        self.uids[row as usize] = *uid;
        self.by_uid.insert(*uid, row);
        self.present[row as usize / PAGE_ROWS][row as usize % PAGE_ROWS / 64] |= 1 << (row % 64);
        (row, true)
    }

    /// Takes in what a job says of itself.
    pub(crate) fn take_job(&mut self, job: &Job) {
        let (row, _) = self.row_of(&job.uid);
        // Its metrics may have been taken in before.
        let fresh = self.numbers.number.get(row, 0).is_absent();
        let changed = self.take_fields(row, job)
            | self.take_properties(row, job)
            | self.take_deleted(row, job.deleted.is_some());
        if fresh {
            self.take_params(row, job);
        }
        if changed || fresh {
            self.note_change(row);
        }
    }

    fn take_fields(&mut self, row: u32, job: &Job) -> bool {
        let Texts { project, name, description, state, reason, host, tags } = &mut self.texts;
        let text = |column: &mut Coded, text: &str| match text {
            "" => column.clear(row),
            text => column.set(row, Kind::Text, text, f64::ABSENT),
        };
        let joined: String = job.tags.iter().flat_map(|tag| [tag.as_str(), "\n"]).collect();
        let texts = text(project, job.project.as_str())
            | name.set(row, Kind::Text, &job.name, f64::ABSENT)
            | text(description, &job.description)
            // The number gives states the order of a job's life.
            | state.set(row, Kind::Text, job.state.as_str(), f64::from(job.state as u8))
            | text(reason, job.reason.as_deref().unwrap_or_default())
            | text(host, job.host.as_deref().unwrap_or_default())
            | text(tags, &joined);
        let Numbers { number, created, started, ended, attempt, exit_code, dropped } = &mut self.numbers;
        let set = |column: &mut Paged<f64>, value: Option<f64>| column.set(row, &[cell(value)]);
        let numbers = set(number, Some(job.id.number as f64))
            | set(created, Some(job.created_micros.0 as f64))
            | set(started, job.started_micros.map(|micros| micros.0 as f64))
            | set(ended, job.ended_micros.map(|micros| micros.0 as f64))
            | set(attempt, job.attempt.map(|attempt| f64::from(attempt.0)))
            | set(exit_code, job.exit_code.map(f64::from))
            | set(dropped, Some(job.dropped_points as f64));
        texts | numbers
    }

    fn take_deleted(&mut self, row: u32, deleted: bool) -> bool {
        let (page, word, bit) = (row as usize / PAGE_ROWS, row as usize % PAGE_ROWS / 64, 1 << (row % 64));
        if !deleted && self.deleted.len() <= page {
            return false;
        }
        if self.deleted.len() <= page {
            self.deleted.resize(page + 1, NONE);
        }
        let before = self.deleted[page][word];
        let after = if deleted { before | bit } else { before & !bit };
        self.deleted[page][word] = after;
        before != after
    }

    fn take_properties(&mut self, row: u32, job: &Job) -> bool {
        let mut changed = false;
        let old = self.properties_of.remove(&row).unwrap_or_default();
        for name in old.iter().filter(|name| !job.properties.contains_key(&***name)) {
            changed |= take_away(&mut self.properties, name, row);
        }
        for (name, text) in &job.properties {
            let column = column(&mut self.properties, name);
            changed |= column.set(row, Kind::Text, text, cell(number_of(text)));
        }
        if !job.properties.is_empty() {
            let names = job.properties.keys().filter_map(|name| {
                self.properties.get_key_value(name.as_str()).map(|(name, _)| name.clone())
            });
            let names = names.collect();
            self.properties_of.insert(row, names);
        }
        changed
    }

    /// Params never change.
    fn take_params(&mut self, row: u32, job: &Job) {
        for param in &job.params {
            let column = column(&mut self.params, param.name.as_str());
            let (kind, number) = match &param.value {
                ParamValue::Boolean(_) => (Kind::Boolean, f64::ABSENT),
                ParamValue::Integer(value) => (Kind::Integer, *value as f64),
                ParamValue::Double(Number(value)) => (Kind::Double, cell(Some(*value))),
                ParamValue::String(text) => (Kind::Text, cell(number_of(text))),
            };
            column.set(row, kind, &param.value.to_string(), number);
        }
    }

    /// Takes in the summary of a numeric channel. Answers whether anything changed; [`Rows::note_change`] is the
    /// caller's, once for all channels of a row.
    pub(crate) fn take_metric(&mut self, row: u32, name: &str, cells: &MetricCells) -> bool {
        let at = match self.metric_index.get(name) {
            Some(at) => *at,
            None => {
                let name: Arc<str> = name.into();
                self.metrics.push(Metric { name: name.clone(), cells: Paged::new(LANES) });
                self.metric_index.insert(name, self.metrics.len() - 1);
                self.metrics.len() - 1
            }
        };
        let changed = self.metrics[at].cells.set(row, &cells.0);
        if changed {
            self.unsaved.insert(row / CHUNK_ROWS);
        }
        changed
    }

    /// Gives a job the row it had before a start; not if it has one already, or the row is of another.
    pub(crate) fn put_back(&mut self, row: u32, uid: &JobUid) -> bool {
        while self.uids.len() <= row as usize {
            self.free.push(self.uids.len() as u32);
            self.uids.push(JobUid::from_bytes([0; 16]));
            self.changes.push(0);
            if self.present.len() * PAGE_ROWS < self.uids.len() {
                self.present.push(NONE);
            }
        }
        // Rows are put back in order, so what is looked for is mostly the last.
        let Some(at) = self.free.iter().rposition(|free| *free == row) else { return false };
        if self.by_uid.contains_key(uid) {
            return false;
        }
        let last = self.free.len() - 1;
        self.free.swap(at, last);
        self.row_of(uid);
        true
    }

    /// Takes out the chunks whose metrics differ from what is saved.
    pub(crate) fn take_unsaved(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.unsaved)
    }

    /// Notes that what is saved of a chunk is not as it should be.
    pub(crate) fn note_unsaved(&mut self, chunk: u32) {
        self.unsaved.insert(chunk);
    }

    /// Notes that not all that is stored of a job's metrics is in.
    pub(crate) fn note_unread(&mut self, uid: &JobUid) {
        self.unread.insert(*uid);
        if let Some(row) = self.find(uid) {
            self.unsaved.insert(row / CHUNK_ROWS);
        }
    }

    /// Notes that all of it is.
    pub(crate) fn note_read(&mut self, uid: &JobUid) {
        if self.unread.remove(uid)
            && let Some(row) = self.find(uid)
        {
            self.unsaved.insert(row / CHUNK_ROWS);
        }
    }

    pub(crate) fn is_unread(&self, uid: &JobUid) -> bool {
        self.unread.contains(uid)
    }

    pub(crate) fn unread(&self) -> &HashSet<JobUid> {
        &self.unread
    }

    /// Forgets a job; its row goes to the next new one.
    pub(crate) fn remove(&mut self, uid: &JobUid) {
        self.unread.remove(uid);
        let Some(row) = self.by_uid.remove(uid) else { return };
        // Told while its id is still known.
        self.note_change(row);
        let Texts { project, name, description, state, reason, host, tags } = &mut self.texts;
        for column in [project, name, description, state, reason, host, tags] {
            column.clear(row);
        }
        let Numbers { number, created, started, ended, attempt, exit_code, dropped } = &mut self.numbers;
        for column in [number, created, started, ended, attempt, exit_code, dropped] {
            column.clear(row);
        }
        for metric in &mut self.metrics {
            metric.cells.clear(row);
        }
        for columns in [&mut self.params, &mut self.properties] {
            columns.retain(|_, column| !column.clear(row) || column.codes.held() > 0);
        }
        self.properties_of.remove(&row);
        self.take_deleted(row, false);
        self.unsaved.insert(row / CHUNK_ROWS);
        self.present[row as usize / PAGE_ROWS][row as usize % PAGE_ROWS / 64] &= !(1 << (row % 64));
        self.free.push(row);
    }

    /// Gives a row the next number of change.
    pub(crate) fn note_change(&mut self, row: u32) {
        self.last_change += 1;
        let before = std::mem::replace(&mut self.changes[row as usize], self.last_change);
        // Of a row that was given away the end of the job before is still to be told.
        if self.latest.get(&before).is_some_and(|(_, uid)| *uid == self.uids[row as usize]) {
            self.latest.remove(&before);
        }
        self.latest.insert(self.last_change, (row, self.uids[row as usize]));
    }

    pub(crate) fn last_change(&self) -> u64 {
        self.last_change
    }

    /// At most `limit` rows changed after a number, and the number to go on from.
    pub(crate) fn changed_after(&self, change: u64, limit: usize) -> (Vec<Changed>, u64) {
        let later = self.latest.range(change + 1..).take(limit);
        let mut last = change;
        let rows = later.map(|(at, (row, uid))| {
            last = *at;
            Changed { row: *row, uid: *uid }
        });
        (rows.collect(), last)
    }
}

/// The five lanes of a metric's cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetricCells(pub(crate) [f64; LANES]);

impl From<&ChannelSummary> for MetricCells {
    fn from(summary: &ChannelSummary) -> MetricCells {
        let value = |number: Option<Number>| cell(number.map(|number| number.0));
        let mut cells = [f64::ABSENT; LANES];
        cells[lane_of(Stat::Count)] = summary.count as f64;
        cells[lane_of(Stat::Last)] = value(summary.last);
        cells[lane_of(Stat::Min)] = value(summary.min);
        cells[lane_of(Stat::Max)] = value(summary.max);
        cells[lane_of(Stat::Mean)] = value(summary.mean);
        MetricCells(cells)
    }
}

pub(crate) fn lane_of(stat: Stat) -> usize {
    match stat {
        Stat::Count => 0,
        Stat::Last => 1,
        Stat::Min => 2,
        Stat::Max => 3,
        Stat::Mean => 4,
    }
}

fn column<'a>(columns: &'a mut BTreeMap<Arc<str>, Coded>, name: &str) -> &'a mut Coded {
    // Two looks where the column is new; most are not.
    if !columns.contains_key(name) {
        columns.insert(name.into(), Coded::new());
    }
    columns.get_mut(name).expect("it was put there just now")
}

/// Clears a row in a column, and the column with its last row.
fn take_away(columns: &mut BTreeMap<Arc<str>, Coded>, name: &str, row: u32) -> bool {
    let Some(column) = columns.get_mut(name) else { return false };
    let changed = column.clear(row);
    if column.codes.held() == 0 {
        columns.remove(name);
    }
    changed
}
