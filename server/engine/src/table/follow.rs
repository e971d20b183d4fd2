//! Following rows: what passes a filter, and only what changes of it.
//!
//! A follower holds which rows passed when it last looked (a bit a row) and, for rows it told, a number made of their
//! values: a row whose asked columns stayed as they were is not told again. It keeps no queue: its place is the number of
//! the last change it has seen.
//!
//! It looks at most every [`LOOK_EVERY`], on a thread for work that takes its time: the rows are locked while they are taken
//! in, and a look at all of them is milliseconds.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use neptune_wire::table::JobRow;
use neptune_wire::{JobUid, Micros, ProjectKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::answer::Asked;
use super::filter::{Expr, Operand};
use super::paged::{Mask, NONE, PAGE_ROWS};
use super::plan::Plan;
use super::question::refused;
use super::rows::{Changed, Rows, Shown};
use crate::engine::Core;
use crate::registry::Registry;
use crate::{LiveEvent, Refused};

/// Changed rows that are looked at together.
const BATCH: usize = 256;
/// What changes within this is told together.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a follower asks.
pub(crate) struct Asks {
    pub(crate) project: Option<ProjectKey>,
    pub(crate) filter: Expr,
    /// Whole jobs are told without.
    pub(crate) columns: Option<Vec<Operand>>,
}

/// One follower.
pub(crate) struct FollowRows {
    changed: watch::Receiver<u64>,
    /// There is something that was not looked at.
    behind: bool,
    next_look: Instant,
    /// While it does not look.
    place: Option<Box<Place>>,
    /// While it does.
    looking: Option<JoinHandle<(Box<Place>, Seen)>>,
    waiting: VecDeque<LiveEvent>,
}

/// What a follower knows.
struct Place {
    asks: Asks,
    /// When it began.
    begun: Micros,
    /// The number of the last change of a row that was looked at.
    seen: u64,
    /// The number of the newest change of a job when it began.
    jobs_seen: u64,
    /// Rows that passed.
    inside: Vec<Mask>,
    told: HashMap<u32, u64>,
}

/// What a look has found.
struct Seen {
    events: VecDeque<LiveEvent>,
    /// There may be more.
    more: bool,
}

impl FollowRows {
    /// Looks at all rows.
    ///
    /// # Errors
    ///
    /// [`Refused::Text`] for a filter whose values do not fit its columns.
    pub(crate) async fn new(core: &Arc<Core>, asks: Asks, now: Micros) -> Result<FollowRows, Refused> {
        let changed = core.registry.table.follow();
        let core = core.clone();
        let begun = tokio::task::spawn_blocking(move || Place::new(&core.registry, asks, now));
        let place = begun.await.map_err(|broken| Refused::Storage(Box::new(broken)))??;
        Ok(FollowRows {
            changed,
            behind: true,
            next_look: Instant::now(),
            place: Some(Box::new(place)),
            looking: None,
            waiting: VecDeque::new(),
        })
    }

    /// The next event; cancel-safe, as what is on its way is kept. `None` when the table has failed.
    pub(crate) async fn next(&mut self, core: &Arc<Core>) -> Option<LiveEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.looking.is_none() {
                if !self.behind {
                    self.changed.changed().await.ok()?;
                    self.behind = true;
                }
                tokio::time::sleep_until(self.next_look).await;
                self.changed.mark_unchanged();
                let (mut place, core) = (self.place.take()?, core.clone());
                self.looking = Some(tokio::task::spawn_blocking(move || {
                    let seen = place.look(&core);
                    (place, seen)
                }));
            }
            let looked = self.looking.as_mut()?.await;
            self.looking = None;
            let (place, Seen { events, more }) = looked.ok()?;
            self.place = Some(place);
            (self.waiting, self.behind) = (events, more);
            if !more {
                self.next_look = Instant::now() + LOOK_EVERY;
            }
        }
    }
}

impl Place {
    fn new(registry: &Registry, asks: Asks, now: Micros) -> Result<Place, Refused> {
        // Before the rows are looked at: what is numbered so far, they have.
        let jobs_seen = *registry.follow().borrow();
        let rows = registry.table.current();
        let mut place = Place {
            asks,
            begun: now,
            seen: rows.last_change(),
            jobs_seen,
            inside: Vec::new(),
            told: HashMap::new(),
        };
        let plans = place.plans(&rows, now)?;
        let passing = |page| plans.iter().fold(rows.present(page), |open, plan| plan.select(page, &open));
        let inside = (0..rows.page_count()).map(passing).collect();
        drop(plans);
        place.inside = inside;
        Ok(place)
    }

    /// Looks at rows that changed.
    fn look(&mut self, core: &Core) -> Seen {
        let mut left = Vec::new();
        let mut rows_in = Vec::new();
        // Before the first tick the engine does not know the time.
        let now = core.last_tick.now().max(self.begun);
        let registry = &core.registry;
        // What was marked meanwhile is taken in by the table's own task.
        let rows = registry.table.read();
        let (changed, seen) = rows.changed_after(self.seen, BATCH);
        let mut events = VecDeque::new();
        let Ok(plans) = self.plans(&rows, now) else { return Seen { events, more: false } };
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
            events.push_back(LiveEvent::Left(uid));
        }
        for (row, uid, entered) in rows_in {
            let event = self.event(&rows, registry, row, uid, entered, now);
            events.extend(event);
        }
        Seen { events, more: changed.len() == BATCH }
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
        let Some(columns) = &self.asks.columns else {
            let cell = registry.find_uid(&uid)?;
            // Its metrics change the row, but not the job. Read before the job, which may be newer then and is told again.
            let change = cell.change();
            let before = self.told.insert(row, change).unwrap_or(self.jobs_seen);
            return (entered || change > before).then(|| LiveEvent::Job(cell.job()));
        };
        let answer = Asked::new(rows, columns, now).row(row)?;
        let number = number_of(&answer);
        let before = self.told.insert(row, number);
        (entered || before != Some(number)).then(|| LiveEvent::Row { row: Arc::new(answer), entered })
    }

    fn plans<'t>(&self, rows: &'t Rows, now: Micros) -> Result<Vec<Plan<'t>>, Refused> {
        // A job that is deleted leaves, one that is restored enters.
        let mut plans = vec![Plan::Shown { rows, shown: Shown::Kept }];
        plans.extend(self.asks.project.as_ref().map(|key| Plan::project(rows, key.as_str())));
        plans.push(Plan::new(rows, &self.asks.filter, now).map_err(|error| refused("filter", error))?);
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
