//! What tests of the engine share: an engine in memory, jobs, sessions, frames, and a backend that fails on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use neptune_store::kv::{
    Batch, CommitError, Family, Key, KeyRange, Kv, KvRead, Limits, MemoryKv, Page, ReadError, Scan, TooLarge,
};
use neptune_store::{Blobs, Store};
use neptune_wire::frame::FrameBuilder;
use neptune_wire::id::ClaimId;
use neptune_wire::ingest::OpenChannel;
use neptune_wire::job::ClaimJob;
use neptune_wire::{
    AttemptNumber, ChannelKind, ChannelName, ChannelOrigin, CreateJob, CreateProject, Job, JobRef, JobUid,
    Micros, ProjectKey, SessionId,
};

use tokio::sync::{oneshot, watch};

use crate::{Access, Engine, Grant, IngestEvent, IngestEvents, IngestSink};

pub(crate) const NOW: Micros = Micros(1_000_000_000_000_000);
pub(crate) const FIRST: AttemptNumber = AttemptNumber(1);

/// A backend in memory whose commits do as told.
#[derive(Clone, Default)]
pub(crate) struct TroubledKv {
    pub(crate) kv: MemoryKv,
    script: Arc<Mutex<VecDeque<Trouble>>>,
    full: Arc<Mutex<bool>>,
    dead: Arc<watch::Sender<bool>>,
    held_frames: Arc<Mutex<Option<Held>>>,
    /// Ranges of this job cannot be read.
    unreadable: Arc<Mutex<Option<JobUid>>>,
    /// How many commits wait.
    held: Arc<watch::Sender<u32>>,
}

/// A read of frames that is held: it says that it has begun, and waits until it may go on.
type Held = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// What happens to one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    Busy,
    /// Written, but nobody knows.
    UnknownWritten,
    /// Not written, but nobody knows.
    UnknownLost,
    /// Not written, and the same batch never will be.
    TooLarge,
    /// The disk fails: nothing is written any more.
    Fails,
    /// The process dies before or after this commit: it never answers, and nothing is written any more.
    DiesBefore,
    DiesAfter,
    /// Written once it is let go on.
    Waits,
}

impl TroubledKv {
    /// Says what happens to the next commits, in order; those after them go well.
    pub(crate) fn script(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.script.lock().unwrap().extend(troubles);
    }

    pub(crate) fn set_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }

    /// Makes what is stored of a job unreadable, or of none.
    pub(crate) fn set_unreadable(&self, job: Option<JobUid>) {
        *self.unreadable.lock().unwrap() = job;
    }

    /// Holds the next read of frames: it has begun when the first answers, and goes on when the second is sent to.
    pub(crate) fn hold_frames(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((begun, has_begun), (go, may_go)) = (oneshot::channel(), oneshot::channel());
        *self.held_frames.lock().unwrap() = Some((begun, may_go));
        (has_begun, go)
    }

    /// Waits until a commit waits.
    pub(crate) async fn held(&self) {
        self.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    }

    /// Lets those go on that wait.
    pub(crate) fn release(&self) {
        self.held.send_replace(0);
    }

    /// The process is gone: whatever still runs of it writes nothing.
    pub(crate) fn die(&self) {
        self.dead.send_replace(true);
    }

    /// Waits for the end of the process.
    pub(crate) async fn death(&self) {
        let mut dead = self.dead.subscribe();
        dead.wait_for(|dead| *dead).await.unwrap();
    }

    /// The same data for the process that comes after.
    pub(crate) fn reborn(&self) -> TroubledKv {
        TroubledKv { kv: self.kv.clone(), ..TroubledKv::default() }
    }

    async fn dead_stop(&self) {
        if *self.dead.borrow() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl KvRead for TroubledKv {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        self.kv.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, ReadError> {
        if keys.iter().any(|key| key.family == Family::Log) {
            let held = self.held_frames.lock().unwrap().take();
            if let Some((begun, may_go)) = held {
                begun.send(()).unwrap();
                may_go.await.unwrap();
            }
        }
        self.kv.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, ReadError> {
        let unreadable = *self.unreadable.lock().unwrap();
        let is_of = |job: JobUid| scan.range.start.windows(16).any(|bytes| bytes == job.as_bytes());
        if unreadable.is_some_and(is_of) {
            return Err(ReadError::Io("a disk that cannot read this".into()));
        }
        let family = scan.range.family;
        let page = self.kv.scan(scan).await?;
        // A damaged place in the log ends every scan that comes by.
        let is_of = |(key, _): &(Bytes, Bytes)| {
            family == Family::Log
                && unreadable.is_some_and(|job| key.windows(16).any(|bytes| bytes == job.as_bytes()))
        };
        if page.rows.iter().any(is_of) {
            return Err(ReadError::Io("a disk that cannot read this".into()));
        }
        Ok(page)
    }
}

#[async_trait]
impl Kv for TroubledKv {
    fn limits(&self) -> Limits {
        self.kv.limits()
    }

    async fn snapshot(&self) -> Result<Arc<dyn KvRead>, ReadError> {
        self.kv.snapshot().await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.dead_stop().await;
        let full = *self.full.lock().unwrap();
        if full {
            return Err(CommitError::ReadOnly);
        }
        let trouble = self.script.lock().unwrap().pop_front().unwrap_or(Trouble::None);
        match trouble {
            Trouble::None => self.kv.commit(batch).await,
            Trouble::Busy => Err(CommitError::Busy),
            Trouble::UnknownLost => Err(CommitError::Unknown("lost".into())),
            Trouble::TooLarge => {
                Err(CommitError::TooLarge(TooLarge { what: "batch", size: 2, limit: 1, unit: "bytes" }))
            }
            Trouble::Fails => Err(CommitError::Failed("a broken disk".into())),
            Trouble::UnknownWritten => {
                self.kv.commit(batch).await?;
                Err(CommitError::Unknown("written".into()))
            }
            Trouble::Waits => {
                let mut held = self.held.subscribe();
                self.held.send_modify(|held| *held += 1);
                held.wait_for(|held| *held == 0).await.unwrap();
                self.kv.commit(batch).await
            }
            Trouble::DiesBefore => {
                self.die();
                self.dead_stop().await;
                unreachable!("the dead do not answer")
            }
            Trouble::DiesAfter => {
                self.kv.commit(batch).await?;
                self.die();
                self.dead_stop().await;
                unreachable!("the dead do not answer")
            }
        }
    }

    async fn clear(&self, range: KeyRange) -> Result<(), CommitError> {
        self.dead_stop().await;
        let trouble = self.script.lock().unwrap().pop_front().unwrap_or(Trouble::None);
        match trouble {
            Trouble::DiesBefore => self.die(),
            Trouble::DiesAfter => {
                self.kv.clear(range.clone()).await?;
                self.die();
            }
            Trouble::Busy | Trouble::UnknownLost => return Err(CommitError::Unknown("lost".into())),
            Trouble::Fails => return Err(CommitError::Failed("a broken disk".into())),
            Trouble::None | Trouble::UnknownWritten | Trouble::TooLarge | Trouble::Waits => {}
        }
        self.dead_stop().await;
        self.kv.clear(range).await
    }
}

/// An engine over a backend.
pub(crate) async fn engine_over(kv: TroubledKv) -> Engine {
    let store = Store::open(Arc::new(kv), [7; 32]).await.unwrap();
    Engine::open(store, Blobs::in_memory()).await.unwrap()
}

/// An engine of its own with everything granted.
pub(crate) async fn engine() -> (Engine, Grant, TroubledKv) {
    let kv = TroubledKv::default();
    let engine = engine_over(kv.clone()).await;
    let grant = everything(&engine).await;
    (engine, grant, kv)
}

pub(crate) async fn everything(engine: &Engine) -> Grant {
    engine.access(Access::OpenLoopback).await.unwrap()
}

pub(crate) fn uid(seed: u8) -> JobUid {
    JobUid::from_bytes([seed; 16])
}

pub(crate) fn session(seed: u8) -> SessionId {
    SessionId::from_bytes([seed; 16])
}

pub(crate) fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

pub(crate) fn project() -> CreateProject {
    CreateProject { key: ProjectKey::new("TRIG").unwrap(), name: "Trigonometry".into() }
}

pub(crate) fn create_job(seed: u8) -> CreateJob {
    CreateJob {
        uid: Some(uid(seed)),
        project: ProjectKey::new("TRIG").unwrap(),
        name: format!("job {seed}"),
        description: String::new(),
        params: vec![],
        tags: vec![],
        properties: Default::default(),
        snapshot: None,
        command: vec![],
        environment: Default::default(),
        metric: None,
        created_micros: None,
    }
}

pub(crate) fn claim(seed: u8) -> ClaimJob {
    ClaimJob { claim: ClaimId::from_bytes([seed; 16]), host: Some("box".into()), history: None }
}

/// A job that was only created.
pub(crate) async fn created_job(engine: &Engine, grant: &Grant, seed: u8) -> Job {
    engine.create_project(grant, project(), NOW).await.unwrap();
    engine.create_job(grant, create_job(seed), uid(0), NOW).await.unwrap()
}

/// A job whose first attempt runs; answers its token too.
pub(crate) async fn running_job(engine: &Engine, grant: &Grant, seed: u8) -> (JobRef, String) {
    let job = created_job(engine, grant, seed).await;
    let reference = JobRef::Uid(job.uid);
    let claimed = engine.claim_job(grant, &reference, claim(seed), NOW).await.unwrap();
    (reference, claimed.token)
}

pub(crate) fn channel(number: u32, text: &str, kind: ChannelKind) -> OpenChannel {
    OpenChannel { number, name: name(text), kind, origin: ChannelOrigin::User }
}

pub(crate) fn stdout(number: u32) -> OpenChannel {
    OpenChannel { number, name: name("sys/stdout"), kind: ChannelKind::Text, origin: ChannelOrigin::Stdout }
}

/// A connection with one session open and its channels bound.
pub(crate) async fn writer(
    engine: &Engine,
    grant: &Grant,
    job: &JobRef,
    id: SessionId,
    channels: Vec<OpenChannel>,
) -> (IngestSink, IngestEvents, u64) {
    let (mut sink, events) = engine.open_ingest(grant);
    let mark = sink.open_session(id, job, FIRST, NOW).await.unwrap();
    let (_, refused) = sink.open_channels(id, channels, NOW).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    (sink, events, mark)
}

/// A frame with one block of numbers.
pub(crate) fn numbers(session: SessionId, seq: u64, channel: u32, points: &[(f64, f64)]) -> Bytes {
    let x: Vec<f64> = points.iter().map(|point| point.0).collect();
    let y: Vec<f64> = points.iter().map(|point| point.1).collect();
    let time: Vec<i64> = (0..points.len() as i64).map(|at| NOW.0 + at).collect();
    let mut frame = FrameBuilder::new(session, seq);
    assert_eq!(frame.push_numeric(channel, &x, &y, &time), points.len());
    frame.finish().into()
}

/// A frame with one block of a log.
pub(crate) fn log(session: SessionId, seq: u64, channel: u32, offset: u64, bytes: &[u8]) -> Bytes {
    let mut frame = FrameBuilder::new(session, seq);
    assert_eq!(frame.push_log(channel, offset, seq as f64, NOW.0, bytes), bytes.len());
    frame.finish().into()
}

/// Reads events until a session is acknowledged up to a number; answers the others.
pub(crate) async fn acked(events: &mut IngestEvents, id: SessionId, up_to: u64) -> Vec<IngestEvent> {
    let mut others = Vec::new();
    loop {
        let event = tokio::time::timeout(std::time::Duration::from_secs(60), events.next());
        match event.await.expect("an acknowledgement in time").expect("the connection lives") {
            IngestEvent::Acked { session, acked } if session == id => {
                assert!(acked <= up_to, "acknowledged {acked}, sent {up_to}");
                if acked == up_to {
                    return others;
                }
            }
            other => others.push(other),
        }
    }
}
