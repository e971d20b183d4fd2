//! A server with claimed jobs, and writers into them: what most rows begin with.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use neptune_client::{Access, Blocking, Rest, Writer, WriterSettings, new_claim_id, new_job_uid};
use neptune_end_to_end::{Server, ServerOptions};
use neptune_wire::ingest::OpenChannel;
use neptune_wire::job::ClaimJob;
use neptune_wire::{AttemptNumber, ChannelSummary, CreateJob, CreateProject, Job, ProjectKey};
use tempfile::TempDir;

use crate::data::Source;
use crate::http::{Http, gauge};
use crate::process::check_memory;
use crate::swarm::{Outcome, Pace, Plan, Swarm};

/// Requests on their way at once: enough for group commits, few enough for the server's bound.
const REQUESTS: usize = 128;
/// Frames of one writer on their way, 4 MB: more than a commit takes.
const FRAMES: usize = 64;
/// The longest that one filling may take.
const FILLING: Duration = Duration::from_secs(4 * 3600);

/// How often the machine's memory is looked at: a fast row takes half a gigabyte a second.
pub(crate) const MEMORY_CHECK: Duration = Duration::from_millis(200);

/// A running server on an empty folder.
pub(crate) struct Bench {
    /// The process.
    pub server: Server,
    /// Requests to it.
    pub rest: Blocking,
    folder: TempDir,
}

/// A job that a writer may fill.
#[derive(Debug, Clone)]
pub(crate) struct OpenJob {
    /// As created.
    pub job: Job,
    /// Of whoever claimed it.
    pub attempt: AttemptNumber,
    /// Of the attempt.
    pub token: String,
}

impl Bench {
    /// Starts a server on a fresh folder.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path(), ServerOptions::default())?;
        let rest = connect(&server)?;
        let key = ProjectKey::new("BENCH")?;
        rest.wait(rest.rest().create_project(&CreateProject { key, name: "bench".into() }))?;
        Ok(Self { server, rest, folder })
    }

    /// Starts the stopped or killed server again, and forgets the connections to the one that was.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.server.start_again()?;
        self.rest = connect(&self.server)?;
        Ok(())
    }

    /// Waits for work that fills the server, and ends it with an error before the machine is out of memory.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.rest.wait(async {
            tokio::select! {
                done = work => done,
                error = short_of_memory() => Err(error),
            }
        })
    }

    /// Creates a job and claims it.
    pub(crate) fn open_job(&self, name: &str) -> Result<OpenJob> {
        self.rest.wait(open_job(self.rest.rest(), name.to_owned()))
    }

    /// Creates and claims so many jobs, many at once.
    pub(crate) fn open_jobs(&self, name: &str, count: usize) -> Result<Vec<OpenJob>> {
        let rest = self.rest.rest();
        let jobs = (0..count).map(|i| open_job(rest, format!("{name} {i}")));
        self.rest.wait(stream::iter(jobs).buffered(REQUESTS).try_collect())
    }

    /// Opens a writer of the job.
    pub(crate) fn writer(&self, open: &OpenJob) -> Writer {
        let access = Access { url: self.server.url().into(), token: Some(open.token.clone()) };
        let spool = self.folder.path().join("spool").join(open.job.uid.to_string());
        Writer::open(WriterSettings::new(open.job.uid.into(), open.attempt, Some(access), spool))
    }

    /// Sends everything a source has into a job, as fast as it is taken.
    pub(crate) fn fill<S: Source>(
        &self,
        job: &OpenJob,
        channels: &[OpenChannel],
        source: impl Fn() -> S,
    ) -> Result<Outcome> {
        let jobs = std::slice::from_ref(job);
        let plan = Plan { pace: Pace::Window(FRAMES), length: FILLING, may_break: false };
        self.wait(async {
            Swarm::connect(self.server.url(), jobs, channels, |_| source()).await?.run(plan).await
        })
    }

    /// The points (lines) that the server has of each job, over all its channels.
    pub(crate) fn stored_points(&self, jobs: &[OpenJob]) -> Result<Vec<u64>> {
        let rest = self.rest.rest();
        let counts = jobs.iter().map(|open| async move {
            let channels = rest.list_channels(&open.job.uid.into()).await?;
            anyhow::Ok(channels.iter().map(|channel| channel.summary.count).sum::<u64>())
        });
        self.rest.wait(stream::iter(counts).buffered(REQUESTS / 8).try_collect())
    }

    /// Fails unless the server has exactly the points that it acknowledged, job by job.
    pub(crate) fn verify(&self, jobs: &[OpenJob], outcome: &Outcome) -> Result<()> {
        let stored = self.stored_points(jobs)?;
        for ((open, share), stored) in jobs.iter().zip(&outcome.clients).zip(stored) {
            let (job, acked) = (&open.job.id, share.acked_points);
            ensure!(stored == acked, "{job} has {stored} points, {acked} were acknowledged");
        }
        Ok(())
    }

    /// What the server knows of one channel.
    pub(crate) fn summary(&self, open: &OpenJob, channel: &str) -> Result<ChannelSummary> {
        let channels = self.rest.wait(self.rest.rest().list_channels(&open.job.uid.into()))?;
        let found = channels.into_iter().find(|found| found.name.as_str() == channel);
        Ok(found.with_context(|| format!("the server has no channel {channel:?}"))?.summary)
    }

    /// Waits until nothing waits to be sealed into chunks any more; false where the server knows no sealing.
    pub(crate) fn wait_until_sealed(&self, within: Duration) -> Result<bool> {
        let deadline = Instant::now() + within;
        loop {
            let metrics = Http::connect(self.server.url())?.fetch("/metrics")?.text()?;
            let Some(unsealed) = gauge(&metrics, "neptune_unsealed_bytes") else { return Ok(false) };
            if unsealed == 0.0 {
                return Ok(true);
            }
            ensure!(Instant::now() < deadline, "{unsealed} bytes are not sealed after {within:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn connect(server: &Server) -> Result<Blocking> {
    Ok(Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?)
}

/// Returns once there is hardly any memory left.
async fn short_of_memory() -> anyhow::Error {
    loop {
        if let Err(error) = check_memory() {
            return error;
        }
        tokio::time::sleep(MEMORY_CHECK).await;
    }
}

async fn open_job(rest: &Rest, name: String) -> Result<OpenJob> {
    let create: CreateJob = serde_json::from_value(serde_json::json!({
        "uid": new_job_uid(), "project": "BENCH", "name": name,
    }))?;
    let job = rest.create_job(&create).await?;
    let claim = ClaimJob { claim: new_claim_id(), host: None, history: None };
    let claimed = rest.claim_job(&job.uid.into(), &claim).await?;
    Ok(OpenJob { job, attempt: claimed.attempt, token: claimed.token })
}

/// Waits until everything sent so far is on the server's disk.
pub(crate) fn settle(writer: &Writer) -> Result<()> {
    let flushed = writer.flush(Duration::from_secs(120));
    ensure!(flushed.all_acked, "{} points still wait after two minutes", flushed.waiting_points);
    Ok(())
}
