//! A runner's control connection: beats up, wishes down, reconnects by itself.
//!
//! The runner says what it holds with [`Control::update`]; that is sent at once, as often as the server asks (10 s), and
//! again after every reconnect. An end is repeated until the server says `forget`, so it is never lost while the runner
//! lives; should the runner end first, it stands in the job's folder ([`crate::JobFolder::record_exit`]).

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use neptune_wire::control::{Abort, BEAT_EVERY_MILLIS, Beat, Holding, StopMode};
use neptune_wire::ingest::{IngestDown, IngestUp};
use neptune_wire::problem::Code;
use neptune_wire::{AttemptNumber, JobRef, Problem};
use tokio::sync::{Notify, mpsc};

use crate::backoff::Backoff;
use crate::fork;
use crate::notice::{Notice, Notices};
use crate::rest::{Access, RestError};
use crate::socket::{Socket, text};

/// Events that wait for the runner: two kinds of stop, one forget, one superseded.
const EVENTS: usize = 8;
/// The longest wait of a caller; an `Instant` cannot name every `Duration` from now.
const WAIT_AT_MOST: Duration = Duration::from_secs(365 * 24 * 3600);

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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes the connection.
    notify: Notify,
}

#[derive(Debug)]
struct State {
    holding: Holding,
    forgotten: bool,
    /// Nothing more will come: forgotten, superseded or dropped.
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    fn finish(&self, forgotten: bool) {
        let mut state = self.state();
        state.over = true;
        state.forgotten |= forgotten;
        drop(state);
        self.changed.notify_all();
        self.notify.notify_one();
    }
}

impl Control {
    /// Opens a control connection in the background. Never waits and never fails for the network.
    ///
    /// The receiver works in async code (`recv`) and outside of it (`blocking_recv`); it ends after `Superseded`, and
    /// after `Forget`.
    pub fn open(settings: ControlSettings, holding: Holding) -> (Self, mpsc::Receiver<ControlEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let state = Mutex::new(State { holding, forgotten: false, over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), notify: Notify::new() });
        let link = Link {
            settings,
            shared: Arc::clone(&shared),
            events,
            told: HashSet::new(),
            begun: Instant::now(),
            seq: 0,
        };
        let notices = link.settings.notices.clone();
        let spawned = std::thread::Builder::new().name("neptune-control".into()).spawn(move || link.thread());
        if let Err(error) = spawned {
            notices.say(Notice::NoThread { why: error.to_string() });
            shared.finish(false);
        }
        (Self { shared }, receiver)
    }

    /// Says what the runner holds now; sent at once. With `phase: ended` and `exit` it is repeated until `forget`.
    pub fn update(&self, holding: Holding) {
        self.shared.state().holding = holding;
        self.shared.notify.notify_one();
    }

    /// Waits until the end is recorded; answers whether it is. Does not wait for a superseded attempt's.
    pub fn wait_forgotten(&self, within: Duration) -> bool {
        let by = Instant::now() + within.min(WAIT_AT_MOST);
        let mut state = self.shared.state();
        while !state.over {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.expect("nothing panics while it holds this lock").0;
        }
        state.forgotten
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.finish(false);
    }
}

/// The background half.
struct Link {
    settings: ControlSettings,
    shared: Arc<Shared>,
    events: mpsc::Sender<ControlEvent>,
    /// Stops that were told.
    told: HashSet<bool>,
    begun: Instant,
    seq: u64,
}

impl Link {
    fn thread(mut self) {
        let _ = nix::sys::signal::SigSet::all().thread_block();
        match fork::undivided(|| tokio::runtime::Builder::new_current_thread().enable_all().build()) {
            Ok(runtime) => {
                runtime.block_on(self.run());
                runtime.shutdown_background();
            }
            Err(error) => self.settings.notices.say(Notice::NoThread { why: error.to_string() }),
        }
        self.shared.finish(false);
    }

    async fn run(&mut self) {
        let mut backoff = Backoff::new();
        while !self.shared.state().over {
            let Err(error) = self.converse(&mut backoff).await else { return };
            if self.give_up(error) {
                return;
            }
            let wait = tokio::time::sleep(backoff.next_wait());
            tokio::pin!(wait);
            // An update is sent with the first beat of the next connection; only the end is not waited for.
            while !self.shared.state().over {
                tokio::select! {
                    () = &mut wait => break,
                    () = self.shared.notify.notified() => {}
                }
            }
        }
    }

    /// Whether there is no use in another connection.
    fn give_up(&mut self, error: RestError) -> bool {
        let notices = &self.settings.notices;
        match error {
            RestError::Refused(problem) if problem.code == Code::Superseded => {
                // The runner has an own reason to look at this channel no more if it is full.
                let _ = self.events.try_send(ControlEvent::Superseded(problem));
                self.shared.finish(false);
                return true;
            }
            RestError::Refused(problem)
                if !matches!(problem.code, Code::Busy | Code::ReadOnly | Code::Internal) =>
            {
                notices.say(Notice::ControlRefused { problem });
            }
            // The writer beside this connection says what there is to say of the network.
            _ => {}
        }
        false
    }

    /// One connection, until it breaks or there is nothing more to say.
    async fn converse(&mut self, backoff: &mut Backoff) -> Result<(), RestError> {
        let mut socket = Socket::connect(self.settings.access.clone()).await?;
        let (job, attempt) = (self.settings.job.clone(), self.settings.attempt);
        self.send(&socket, &IngestUp::OpenControl { job, attempt }).await?;
        let shared = Arc::clone(&self.shared);
        let mut every = Duration::from_millis(BEAT_EVERY_MILLIS);
        let mut open = false;
        loop {
            if shared.state().over {
                return Ok(());
            }
            let beat = tokio::time::sleep(every);
            tokio::select! {
                message = socket.next() => match message? {
                    IngestDown::ControlOpened { beat_every_millis } => {
                        every = Duration::from_millis(beat_every_millis.clamp(10, BEAT_EVERY_MILLIS));
                        open = true;
                        backoff.reset();
                        self.beat(&socket).await?;
                    }
                    message => self.obey(message)?,
                },
                () = shared.notify.notified(), if open => self.beat(&socket).await?,
                () = beat, if open => self.beat(&socket).await?,
            }
        }
    }

    async fn beat(&mut self, socket: &Socket) -> Result<(), RestError> {
        self.seq += 1;
        let uptime_micros = self.begun.elapsed().as_micros() as u64;
        let holding = vec![self.shared.state().holding.clone()];
        self.send(socket, &IngestUp::Beat(Beat { seq: self.seq, uptime_micros, holding })).await
    }

    async fn send(&self, socket: &Socket, message: &IngestUp) -> Result<(), RestError> {
        let url = || self.settings.access.url.clone();
        let sent = socket.outgoing.send(text(message)).await;
        sent.map_err(|_| RestError::Unreachable { url: url(), why: "connection closed".into() })
    }

    fn obey(&mut self, message: IngestDown) -> Result<(), RestError> {
        match message {
            IngestDown::Wish(wish) => {
                let ours = |job, attempt| {
                    let holding = &self.shared.state().holding;
                    holding.job == job && holding.attempt == attempt
                };
                let forget = wish.forget.iter().any(|named| ours(named.job, named.attempt));
                let stops: Vec<_> =
                    wish.stop.into_iter().filter(|stop| ours(stop.job, stop.attempt)).collect();
                stops.into_iter().for_each(|stop| self.stop(stop));
                if forget {
                    let _ = self.events.try_send(ControlEvent::Forget);
                    self.shared.finish(true);
                }
                Ok(())
            }
            IngestDown::Abort(abort) => {
                self.stop(abort);
                Ok(())
            }
            IngestDown::Problem { problem, .. } => Err(RestError::Refused(problem)),
            _ => Ok(()),
        }
    }

    fn stop(&mut self, abort: Abort) {
        if self.told.insert(abort.mode == StopMode::Kill) {
            let _ = self.events.try_send(ControlEvent::Stop(abort));
        }
    }
}
