//! Patience: attempts that were not heard of become silent, then lost.
//!
//! It is counted from the receipt of the last beat, and from the engine's start after a restart, in the time between
//! ticks. So it can only be longer than the runner thinks, whatever the clocks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::StreamExt;
use neptune_wire::Micros;
use neptune_wire::control::{LOST_AFTER_MILLIS, SILENT_AFTER_MILLIS};

use crate::Refused;
use crate::engine::Core;
use crate::registry::JobCell;
use crate::step::Event;

/// The most that one tick adds to anybody's silence. Ticks come every second; a gap of more is ours, not the runner's.
pub const TICK_MICROS_MAX: i64 = 5_000_000;
const SILENT_AFTER_MICROS: u64 = SILENT_AFTER_MILLIS * 1_000;
const LOST_AFTER_MICROS: u64 = LOST_AFTER_MILLIS * 1_000;
/// Changes made at a time, so that a rack that goes dark is a few commits, not thousands one after the other.
const AT_ONCE: usize = 64;

/// When the last tick was; `None` before the first.
#[derive(Default)]
pub(crate) struct LastTick(AtomicI64);

impl LastTick {
    /// The time of the last tick: the wall clock as the engine knows it, a second old at most while the server runs.
    pub(crate) fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::Relaxed))
    }

    /// Time since the last tick, as far as it counts.
    fn elapsed(&self, now: Micros) -> u64 {
        let last = self.0.swap(now.0, Ordering::Relaxed);
        if last == 0 { 0 } else { now.0.saturating_sub(last).clamp(0, TICK_MICROS_MAX) as u64 }
    }
}

impl Core {
    pub(crate) async fn watch_patience(self: Arc<Self>, now: Micros) -> Result<(), Refused> {
        let elapsed = self.last_tick.elapsed(now);
        let mut due = Vec::new();
        for cell in self.registry.list_live() {
            let unheard = cell.unheard.fetch_add(elapsed, Ordering::Relaxed) + elapsed;
            let silent = cell.is_silent();
            if unheard >= LOST_AFTER_MICROS || unheard >= SILENT_AFTER_MICROS && !silent {
                due.push(cell);
            }
        }
        let moved = due.into_iter().map(|cell| self.lose_patience(cell, now));
        let mut moved = futures::stream::iter(moved).buffer_unordered(AT_ONCE);
        let mut outcome = Ok(());
        while let Some(one) = moved.next().await {
            outcome = outcome.and(one);
        }
        outcome
    }

    async fn lose_patience(self: &Arc<Self>, cell: Arc<JobCell>, now: Micros) -> Result<(), Refused> {
        let core = self.clone();
        let moved = async move {
            let _one = cell.writing.lock().await;
            // Read again under the lock: a beat may have come since.
            let unheard = cell.unheard.load(Ordering::Relaxed);
            if unheard >= SILENT_AFTER_MICROS {
                let since = Micros(now.0.saturating_sub_unsigned(unheard));
                core.apply_event(&cell, Event::FellSilent { since }, None, now).await?;
            }
            if unheard >= LOST_AFTER_MICROS {
                core.apply_event(&cell, Event::GivenUp { now }, None, now).await?;
            }
            Ok(())
        };
        self.finish(moved).await
    }
}
