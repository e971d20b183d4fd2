//! Following rows: what passes a filter, and only what changes of it.
//!
//! A follower holds which rows passed when it last looked (a bit a row) and, for rows it told, a number made of their
//! values: a row whose asked columns stayed as they were is not told again. It keeps no queue: its place is the number of
//! the last change it has seen.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use neptune_wire::table::JobRow;
use neptune_wire::{Job, JobUid, Micros, ProjectKey};
use tokio::sync::watch;

use super::Table;
use super::answer::Asked;
use super::filter::{Expr, Operand};
use super::paged::{Mask, NONE, PAGE_ROWS};
use super::plan::Plan;
use super::question::refused;
use super::rows::{Changed, Rows, Shown};
use crate::registry::Registry;
use crate::{LiveEvent, Refused};

/// Changed rows that are looked at together.
const BATCH: usize = 256;

/// One follower's question and place.
pub(crate) struct FollowRows {
    project: Option<ProjectKey>,
    filter: Expr,
    columns: Option<Vec<Operand>>,
    changed: watch::Receiver<u64>,
    seen: u64,
    /// Rows that passed.
    inside: Vec<Mask>,
    told: HashMap<u32, u64>,
    waiting: VecDeque<LiveEvent>,
}

impl FollowRows {
    /// Looks at all rows.
    ///
    /// # Errors
    ///
    /// [`Refused::Text`] for a filter whose values do not fit its columns.
    pub(crate) fn new(
        table: &Table,
        project: Option<ProjectKey>,
        filter: Expr,
        columns: Option<Vec<Operand>>,
        now: Micros,
    ) -> Result<FollowRows, Refused> {
        let changed = table.follow();
        let rows = table.current();
        let mut follow = FollowRows {
            project,
            filter,
            columns,
            changed,
            seen: rows.last_change(),
            inside: Vec::new(),
            told: HashMap::new(),
            waiting: VecDeque::new(),
        };
        let plans = follow.plans(&rows, now)?;
        let passing = |page| plans.iter().fold(rows.present(page), |open, plan| plan.select(page, &open));
        let inside = (0..rows.page_count()).map(passing).collect();
        follow.inside = inside;
        Ok(follow)
    }

    pub(crate) async fn next(&mut self, registry: &Registry, now: impl Fn() -> Micros) -> Option<LiveEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            self.changed.mark_unchanged();
            let more = self.look(registry, now());
            if !more && self.waiting.is_empty() {
                self.changed.changed().await.ok()?;
            }
        }
    }

    /// Looks at rows that changed. Answers whether there were as many as are looked at together.
    fn look(&mut self, registry: &Registry, now: Micros) -> bool {
        let mut left = Vec::new();
        let mut rows_in = Vec::new();
        // What was marked meanwhile is taken in by the table's own task, which sets the pace.
        let rows = registry.table.read();
        let (changed, seen) = rows.changed_after(self.seen, BATCH);
        let Ok(plans) = self.plans(&rows, now) else { return false };
        let mut inside = std::mem::take(&mut self.inside);
        inside.resize(rows.page_count() as usize, NONE);
        for Changed { row, uid } in &changed {
            let (page, word, bit) = place(*row);
            let is_there = rows.find(uid) == Some(*row);
            let mut only = NONE;
            only[word] = bit;
            let passes = is_there && plans.iter().fold(only, |open, plan| plan.select(page, &open)) != NONE;
            let was_inside = inside[page as usize][word] & bit != 0;
            match (was_inside, passes) {
                (_, true) => {
                    inside[page as usize][word] |= bit;
                    rows_in.push((*row, *uid, !was_inside));
                }
                (true, false) => {
                    inside[page as usize][word] &= !bit;
                    left.push((*row, *uid));
                }
                (false, false) => {}
            }
        }
        drop(plans);
        (self.inside, self.seen) = (inside, seen);
        for (row, uid) in left {
            self.told.remove(&row);
            self.waiting.push_back(LiveEvent::Left(uid));
        }
        for (row, uid, entered) in rows_in {
            let event = self.event(&rows, registry, row, uid, entered, now);
            self.waiting.extend(event);
        }
        changed.len() == BATCH
    }

    /// What is told of a row that passes; nothing if that was told before.
    fn event(
        &mut self,
        rows: &Rows,
        registry: &Registry,
        row: u32,
        uid: JobUid,
        entered: bool,
        now: Micros,
    ) -> Option<LiveEvent> {
        let Some(columns) = &self.columns else {
            let job: Arc<Job> = registry.find_uid(&uid)?.job();
            return Some(LiveEvent::Job(job));
        };
        let answer = Asked::new(rows, columns, now).row(row)?;
        let number = number_of(&answer);
        let before = self.told.insert(row, number);
        (entered || before != Some(number)).then(|| LiveEvent::Row { row: Arc::new(answer), entered })
    }

    fn plans<'t>(&self, rows: &'t Rows, now: Micros) -> Result<Vec<Plan<'t>>, Refused> {
        // A job that is deleted leaves, one that is restored enters.
        let mut plans = vec![Plan::Shown { rows, shown: Shown::Kept }];
        plans.extend(self.project.as_ref().map(|key| Plan::project(rows, key.as_str())));
        plans.push(Plan::new(rows, &self.filter, now).map_err(|error| refused("filter", error))?);
        Ok(plans)
    }
}

fn place(row: u32) -> (u32, usize, u64) {
    let at = row as usize % PAGE_ROWS;
    (row / PAGE_ROWS as u32, at / 64, 1 << (at % 64))
}

/// A number that two rows of different values hardly share.
fn number_of(row: &JobRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    // The values hold f64, whose written form tells every two apart but the bits of NaN, which no one is told.
    format!("{:?}", row.values).hash(&mut hasher);
    hasher.finish()
}
