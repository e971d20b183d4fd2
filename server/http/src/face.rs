//! What all requests share: the engine, the settings, the counters and the bounds on work done at once.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use neptune_engine::Engine;
use neptune_wire::Micros;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::metrics::Metrics;
use crate::routes::images::thumbnails::Thumbnails;
use crate::settings::Settings;

/// The face of one engine, to be served; cheap to clone.
#[derive(Debug, Clone)]
pub struct Face(pub(crate) Arc<Shared>);

/// What every request may use.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    /// Cancelled when the server begins to stop.
    pub(crate) stopping: CancellationToken,
    /// WebSockets outlive the request that opened them; a stop waits for them here.
    pub(crate) sockets: TaskTracker,
    pub(crate) requests: Semaphore,
    pub(crate) uploads: Semaphore,
    pub(crate) images: Arc<Semaphore>,
    pub(crate) thumbnails: Thumbnails,
    pub(crate) archives: Arc<Semaphore>,
    pub(crate) diffs: Semaphore,
}

impl Face {
    /// The face of an engine.
    pub fn new(engine: Engine, settings: Settings) -> Self {
        let metrics = Metrics::new(engine.clone(), settings.version);
        Self(Arc::new(Shared {
            engine,
            settings,
            metrics,
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
            requests: Semaphore::new(limits::REQUESTS_AT_ONCE),
            uploads: Semaphore::new(limits::UPLOADS_AT_ONCE),
            images: Arc::new(Semaphore::new(limits::IMAGES_AT_ONCE)),
            thumbnails: Thumbnails::new(),
            archives: Arc::new(Semaphore::new(limits::ARCHIVES_AT_ONCE)),
            diffs: Semaphore::new(limits::DIFFS_AT_ONCE),
        }))
    }
}

/// The present time. The engine asks no clock; whoever calls it brings the time along.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
