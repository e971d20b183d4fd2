//! A writer: one session of one attempt. Points go in without waiting, and reach the server exactly once.
//!
//! ```text
//! send ──> channel buffer ──(background thread, every 20 ms)──> numbered frame ──> memory ──> server
//!                                                                                └──(a moment later)──> spool on disk
//! ```
//!
//! **What is where.** A point lies in its channel's buffer for up to 20 ms and then in a numbered frame in memory. A frame
//! that is not acknowledged within [`SPOOL_AFTER`] of being made is written to the spool, so a process that is killed
//! while the server is away loses at most that moment; with the server there, spool and disk are never touched. Written
//! frames survive the process at once, and a power loss after [`SYNC_EVERY`] (they are fsynced at most that often).
//!
//! **Bounds.** Memory first, then the spool ([`Limits`]). Only when both are full are points dropped, counted per channel
//! and reported to the server. A caller waits for one thing alone: when it outruns the disk, for the room that the disk is
//! making, at most a second; never for the network, and never for a disk that is full or takes nothing.
//!
//! **Forks.** A forked child that uses an inherited writer or channel gets a session and a spool of its own, opened at the
//! first use; what the parent had buffered stays the parent's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use neptune_wire::channel::ChannelOrigin;
use neptune_wire::ingest::SESSION_CHANNELS;
use neptune_wire::job::PatchJob;
use neptune_wire::{AttemptNumber, ChannelKind, ChannelName, CreateChart, JobRef, Micros};

use crate::environment::{Environment, EnvironmentError};
use crate::notice::Notices;
use crate::rest::Access;

mod buffer;
mod channel;
mod inner;
mod link;
mod shared;

pub use channel::{ImageChannel, ImageData, LogChannel, NumericChannel, TextChannel};
use inner::Inner;
pub(crate) use shared::Request;

/// How often buffers become frames while points come; a rate that people see as live.
pub const FRAME_EVERY: Duration = Duration::from_millis(20);
/// An unacknowledged frame of this age goes to disk.
pub const SPOOL_AFTER: Duration = Duration::from_secs(1);
/// Written spool data is fsynced at most this often.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How a writer is opened.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// The job; its uid when it is not registered yet.
    pub job: JobRef,
    /// Which try of the job.
    pub attempt: AttemptNumber,
    /// The server and the attempt's token; without it everything goes to the spool.
    pub access: Option<Access>,
    /// The job's folder ([`crate::JobFolder`]); made when something must be spooled.
    pub spool_dir: PathBuf,
    /// How much is kept where.
    pub limits: Limits,
    /// How long dropping the writer may take.
    pub drop_within: Duration,
    /// Who hears of trouble.
    pub notices: Notices,
}

/// How much a writer keeps where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Buffered points, texts and logs, and frames on their way.
    pub memory_bytes: usize,
    /// Images on their way.
    pub image_memory_bytes: usize,
    /// Spool on disk.
    pub spool_bytes: u64,
    /// What the spool leaves free on its disk (on a small disk a tenth of it), until the writer closes.
    pub disk_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            image_memory_bytes: 128 << 20,
            spool_bytes: 8 << 30,
            disk_free_bytes: 1 << 30,
        }
    }
}

impl WriterSettings {
    /// Settings with the default limits; notices go to standard error.
    pub fn new(job: JobRef, attempt: AttemptNumber, access: Option<Access>, spool_dir: PathBuf) -> Self {
        let (limits, notices) = (Limits::default(), Notices::default());
        Self { job, attempt, access, spool_dir, limits, drop_within: Duration::from_secs(5), notices }
    }
}

impl From<Environment> for WriterSettings {
    fn from(environment: Environment) -> Self {
        Self::new(environment.job, environment.attempt, environment.access, environment.spool_dir)
    }
}

/// Why a channel cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// This writer opened a channel of this name with another kind or origin.
    #[error("channel \"{name}\" is {}, not {}; one name has one kind", found.as_str(), wanted.as_str())]
    KindDiffers {
        /// The channel.
        name: ChannelName,
        /// What it is.
        found: ChannelKind,
        /// What was asked for.
        wanted: ChannelKind,
    },
    /// `sys/…` belongs to Neptune itself, and only that does.
    #[error(
        "channel \"{name}\": names that begin with sys/ belong to Neptune's own channels, other names to the program"
    )]
    Reserved {
        /// The channel.
        name: ChannelName,
    },
    /// A session holds so many.
    #[error("a program may open at most {SESSION_CHANNELS} channels")]
    TooMany,
}

/// What has become of everything that was sent before a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    /// The server has all of it on its disk.
    pub all_acked: bool,
    /// Points, texts, log pieces and images that the server does not have yet.
    pub waiting_points: u64,
    /// Where they wait, when any are on disk. What is not, when a writer closes, is lost and told as [`Notice::Lost`].
    ///
    /// [`Notice::Lost`]: crate::Notice::Lost
    pub spool: Option<PathBuf>,
}

impl Flushed {
    /// Of a forked child that never used the writer.
    const NOTHING: Self = Self { all_acked: true, waiting_points: 0, spool: None };
}

/// What a writer has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Points (texts, log pieces, images) taken from the program.
    pub sent_points: u64,
    /// Points the server has on disk.
    pub acked_points: u64,
    /// Points the server refused for their content.
    pub refused_points: u64,
    /// Points dropped here because memory and spool were full; log bytes count one each.
    pub dropped_points: u64,
    /// Bytes in memory: buffers and frames.
    pub memory_bytes: usize,
    /// Bytes in the spool.
    pub spool_bytes: u64,
    /// Whether a connection is open.
    pub connected: bool,
    /// How often the connection was made.
    pub connections: u64,
    /// Whether a newer attempt runs.
    pub superseded: bool,
}

/// One session of one attempt; see the [module](self).
#[derive(Debug)]
pub struct Writer {
    inner: Arc<Inner>,
}

impl Writer {
    /// Opens a writer. Never waits for the network and never fails because of it.
    pub fn open(settings: WriterSettings) -> Self {
        Self { inner: Inner::open(settings) }
    }

    /// Opens a writer as a runner said in the environment; `None` when no runner started this program.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`] with the variable that is wrong.
    pub fn from_env() -> Result<Option<Self>, EnvironmentError> {
        Ok(Environment::read()?.map(|environment| Self::open(environment.into())))
    }

    /// Opens a channel of numbers, or answers the one that is open.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; whether the *server* has the name with another kind is found out later and told as a notice.
    pub fn open_numeric(
        &self,
        name: &ChannelName,
        origin: ChannelOrigin,
    ) -> Result<NumericChannel, ChannelError> {
        self.open_channel(name, ChannelKind::Numeric, origin).map(NumericChannel)
    }

    /// Opens a channel of texts, or answers the one that is open.
    ///
    /// # Errors
    ///
    /// As [`Self::open_numeric`].
    pub fn open_text(&self, name: &ChannelName) -> Result<TextChannel, ChannelError> {
        self.open_channel(name, ChannelKind::Text, ChannelOrigin::User).map(TextChannel)
    }

    /// Opens a channel of images, or answers the one that is open.
    ///
    /// # Errors
    ///
    /// As [`Self::open_numeric`].
    pub fn open_images(&self, name: &ChannelName) -> Result<ImageChannel, ChannelError> {
        self.open_channel(name, ChannelKind::Image, ChannelOrigin::User).map(ImageChannel)
    }

    /// Opens the log of standard output or standard error. One process writes a log: its offsets count on from 0.
    ///
    /// # Errors
    ///
    /// As [`Self::open_numeric`].
    pub fn open_log(&self, stream: LogStream) -> Result<LogChannel, ChannelError> {
        let origin = stream.origin();
        let name = origin.log_name().and_then(|name| ChannelName::new(name).ok());
        let name = name.expect("the names of logs are valid channel names");
        self.open_channel(&name, ChannelKind::Text, origin).map(LogChannel)
    }

    fn open_channel(
        &self,
        name: &ChannelName,
        kind: ChannelKind,
        origin: ChannelOrigin,
    ) -> Result<channel::Handle, ChannelError> {
        let inner = Inner::current(&self.inner);
        let core = inner.shared.open_channel(name, kind, origin)?;
        Ok(channel::Handle { inner: Arc::clone(inner), core })
    }

    /// Changes the job's name, description, tags or properties, after all changes before it.
    pub fn patch_job(&self, patch: PatchJob) {
        Inner::current(&self.inner).shared.push_request(shared::Request::Patch(patch));
    }

    /// Creates a chart, after all changes before it.
    pub fn create_chart(&self, chart: CreateChart) {
        Inner::current(&self.inner).shared.push_request(shared::Request::Chart(chart));
    }

    /// Waits until the server has everything sent before, but at most so long. Whatever it does not have is on disk then,
    /// as far as the disk takes it.
    ///
    /// A server that was reached a moment ago is waited for, it may be restarting; one that was not gets one try.
    pub fn flush(&self, within: Duration) -> Flushed {
        Inner::existing(&self.inner).map_or(Flushed::NOTHING, |inner| inner.shared.flush(within))
    }

    /// Flushes and ends the session; what is sent afterwards is dropped and counted. Closing twice is closing once.
    pub fn close(&self, within: Duration) -> Flushed {
        Inner::existing(&self.inner).map_or(Flushed::NOTHING, |inner| inner.close(within))
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        Inner::existing(&self.inner).map_or_else(Stats::default, |inner| inner.shared.stats())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A forked child that never used the writer has nothing to close, and the parent's is not its own.
        if let Some(inner) = Inner::existing(&self.inner) {
            inner.close(inner.shared.settings.drop_within);
        }
    }
}

/// The two byte streams of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    fn origin(self) -> ChannelOrigin {
        match self {
            Self::Stdout => ChannelOrigin::Stdout,
            Self::Stderr => ChannelOrigin::Stderr,
        }
    }
}

/// The wall clock, as points carry it.
pub fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Micros(since.map_or(0, |since| since.as_micros() as i64))
}
