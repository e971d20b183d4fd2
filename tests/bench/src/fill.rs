//! A server with a claimed job, and a writer into it: what most rows begin with.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neptune_client::{Access, Blocking, Rest, Writer, WriterSettings, new_claim_id, new_job_uid};
use neptune_end_to_end::{Server, ServerOptions};
use neptune_wire::job::ClaimJob;
use neptune_wire::{AttemptNumber, CreateJob, CreateProject, Job, ProjectKey};
use tempfile::TempDir;

/// A running server on an empty folder.
pub(crate) struct Bench {
    /// The process.
    pub server: Server,
    /// Requests to it.
    pub rest: Blocking,
    folder: TempDir,
}

/// A job that a writer may fill.
pub(crate) struct OpenJob {
    /// As created.
    pub job: Job,
    attempt: AttemptNumber,
    token: String,
}

impl Bench {
    /// Starts a server on a fresh folder.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path(), ServerOptions::default())?;
        let rest = Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?;
        let key = ProjectKey::new("BENCH")?;
        rest.wait(rest.rest().create_project(&CreateProject { key, name: "bench".into() }))?;
        Ok(Self { server, rest, folder })
    }

    /// Creates a job and claims it.
    pub(crate) fn open_job(&self, name: &str) -> Result<OpenJob> {
        let create: CreateJob = serde_json::from_value(serde_json::json!({
            "uid": new_job_uid(), "project": "BENCH", "name": name,
        }))?;
        let job = self.rest.wait(self.rest.rest().create_job(&create))?;
        let claim = ClaimJob { claim: new_claim_id(), host: None, history: None };
        let claimed = self.rest.wait(self.rest.rest().claim_job(&job.uid.into(), &claim))?;
        Ok(OpenJob { job, attempt: claimed.attempt, token: claimed.token })
    }

    /// Opens a writer of the job.
    pub(crate) fn writer(&self, open: &OpenJob) -> Writer {
        let access = Access { url: self.server.url().into(), token: Some(open.token.clone()) };
        let spool = self.folder.path().join("spool").join(open.job.uid.to_string());
        Writer::open(WriterSettings::new(open.job.uid.into(), open.attempt, Some(access), spool))
    }
}

/// Waits until everything sent so far is on the server's disk.
pub(crate) fn settle(writer: &Writer) -> Result<()> {
    let flushed = writer.flush(Duration::from_secs(120));
    ensure!(flushed.all_acked, "{} points still wait after two minutes", flushed.waiting_points);
    Ok(())
}

/// Resident memory of a process in MB.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// The value below which the given part of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((part * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}
