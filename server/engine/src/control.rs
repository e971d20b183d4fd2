//! Runners: beats in, wishes and abort hints out.

use neptune_wire::control::{Abort, Beat, Wish};
use neptune_wire::{AttemptNumber, JobRef, Micros};

use crate::{Engine, Grant, Refused};

/// A runner's control connection: beats go in by [`Control::beat`], hints come out of [`Control::next_abort`].
#[derive(Debug)]
pub struct Control {}

impl Engine {
    /// Opens the control connection of an attempt; a newer connection of the same attempt replaces the older.
    pub async fn open_control(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _attempt: AttemptNumber,
        _now: Micros,
    ) -> Result<Control, Refused> {
        todo!("control")
    }
}

impl Control {
    /// Takes a beat (states, ends) and answers what the server wants; ends are durable before `forget` names them.
    pub async fn beat(&mut self, _beat: Beat, _now: Micros) -> Result<Wish, Refused> {
        todo!("control")
    }

    /// Waits for a wish to end the attempt; cancel-safe. `None` when a newer connection replaced this one.
    pub async fn next_abort(&mut self) -> Option<Abort> {
        todo!("control")
    }
}
