//! Jobs with sources and a picture, made and removed at once, again and again, on a server that dies meanwhile: what the
//! jobs that are left name is there, byte for byte. Neighbours share a picture, and all share a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use neptune_client::rest::{BlobSource, digest_bytes};
use neptune_client::writer::now;
use neptune_client::{
    Access, Blocking, ImageData, Rest, RestError, Writer, WriterSettings, new_claim_id, new_job_uid,
};
use neptune_wire::job::{ClaimJob, Exit, ExitKind};
use neptune_wire::life::DeleteQuery;
use neptune_wire::problem::Code;
use neptune_wire::snapshot::{File, Manifest, Mode};
use neptune_wire::{ChannelName, CreateJob, JobRef};

/// Jobs that are there at a time.
const KEPT: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// The jobs being made and removed.
pub(crate) struct Churn {
    making: JoinHandle<Result<Vec<Made>>>,
    enough: Arc<AtomicBool>,
}

/// One of them, and its number.
struct Made {
    job: JobRef,
    at: usize,
}

fn own_file(at: usize) -> Vec<u8> {
    format!("file of {at}").into_bytes()
}

fn picture(at: usize) -> Vec<u8> {
    format!("picture of {}", at / 2).into_bytes()
}

const SHARED: &[u8] = b"file of all";

impl Churn {
    pub(crate) fn start(url: &str, folder: &Path) -> Churn {
        let enough = Arc::new(AtomicBool::new(false));
        let (url, spool, stop) = (url.to_owned(), folder.join("churn"), enough.clone());
        let making = std::thread::spawn(move || {
            let maker = Maker { rest: Blocking::new(Rest::new(access(&url))?)?, url, spool };
            let mut made = Vec::new();
            for at in 0.. {
                if stop.load(Ordering::Acquire) && at > KEPT {
                    break;
                }
                made.push(maker.make(at).with_context(|| format!("job {at}"))?);
                if made.len() > KEPT {
                    maker.remove(&made.remove(0)).with_context(|| format!("the removal beside job {at}"))?;
                }
            }
            Ok(made)
        });
        Churn { making, enough }
    }

    /// Makes no more; reads all that the jobs name that are left.
    pub(crate) fn end(self, rest: &Blocking) -> Result<Kept> {
        self.enough.store(true, Ordering::Release);
        let made = self.making.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
        let kept = Kept(made);
        kept.check(rest)?;
        Ok(kept)
    }
}

/// Jobs that are left.
pub(crate) struct Kept(Vec<Made>);

impl Kept {
    pub(crate) fn check(&self, rest: &Blocking) -> Result<()> {
        ensure!(self.0.len() == KEPT, "{} jobs are left", self.0.len());
        let rest_of = rest.rest();
        for Made { job, at } in &self.0 {
            let read = rest.wait(async {
                let mut read = Vec::new();
                for path in ["own.py", "shared.py"] {
                    read.push(rest_of.download_snapshot_file(job, path).await?.bytes().await?);
                }
                // As it is stored, not as a picture: that it is none is no matter here.
                let images = rest_of.read_images(job, &pictures(), &Default::default()).await?.images;
                let project = rest_of.read_job(job).await?.project;
                for image in images {
                    read.push(rest_of.download_blob(&project, image.digest).await?.bytes().await?);
                }
                Ok::<_, RestError>(read)
            });
            let read = read.with_context(|| format!("job {at}"))?;
            ensure!(read == [own_file(*at), SHARED.to_vec(), picture(*at)], "job {at}: {read:?}");
        }
        Ok(())
    }
}

fn access(url: &str) -> Access {
    Access { url: url.into(), token: None }
}

fn pictures() -> ChannelName {
    ChannelName::new("pictures").expect("this is a name")
}

struct Maker {
    rest: Blocking,
    url: String,
    spool: PathBuf,
}

impl Maker {
    /// Asks until there is an answer: every request may be repeated.
    fn ask<T>(&self, mut ask: impl AsyncFnMut(&Rest) -> Result<T, RestError>) -> Result<T> {
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.rest.wait(ask(self.rest.rest())) {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline || !error.is_temporary() => bail!(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// A job that ran and ended.
    fn make(&self, at: usize) -> Result<Made> {
        let (own, claim) = (own_file(at), new_claim_id());
        let manifest = Manifest { files: vec![file("own.py", &own), file("shared.py", SHARED)] };
        let bytes = |digest| [&own[..], SHARED].into_iter().find(|bytes| digest_bytes(bytes) == digest);
        let mut create: CreateJob = serde_json::from_value(serde_json::json!({
            "uid": new_job_uid(), "project": "CRASH", "name": format!("churn {at}"),
        }))?;
        let claimed = self.ask(async |rest| {
            let find = |digest| Some(BlobSource::Bytes(bytes(digest)?.to_vec().into()));
            let uploaded = rest.upload_snapshot(&create.project, &manifest, find).await?;
            create.snapshot = Some(uploaded.snapshot);
            let job = rest.create_job(&create).await?;
            rest.claim_job(&job.uid.into(), &ClaimJob { claim, host: None, history: None }).await
        })?;
        let job: JobRef = create.uid.context("it was made with a uid")?.into();
        let access = Access { token: Some(claimed.token), ..access(&self.url) };
        let spool = self.spool.join(at.to_string());
        let mut settings = WriterSettings::new(job.clone(), claimed.attempt, Some(access), spool);
        settings.limits.disk_free_bytes = 0;
        let writer = Writer::open(settings);
        let image = ImageData {
            x: Some(1.0),
            time: now(),
            name: "n".into(),
            description: String::new(),
            width: 1,
            height: 1,
            bytes: picture(at).into(),
        };
        writer.open_images(&pictures())?.send(image);
        let deadline = Instant::now() + WITHIN;
        // A server that was never met is not waited for by one flush.
        while !writer.flush(Duration::from_secs(1)).all_acked {
            ensure!(Instant::now() < deadline, "a picture waits in vain");
        }
        let exit =
            Exit { how: ExitKind::Code { code: 0 }, ended_micros: now(), aborted: false, reason: None };
        self.ask(async |rest| rest.end_attempt(&job, claimed.attempt, &exit).await)?;
        Ok(Made { job, at })
    }

    fn remove(&self, made: &Made) -> Result<()> {
        let delete = DeleteQuery { now: true, reason: None };
        self.ask(async |rest| match rest.delete_job(&made.job, &delete).await {
            // An answer that did not arrive before the server died.
            Err(error) if matches!(error.code(), Some(Code::JobDeleted | Code::UnknownJob)) => Ok(()),
            removed => removed.map(drop),
        })
    }
}

fn file(path: &str, bytes: &[u8]) -> File {
    File { path: path.into(), digest: digest_bytes(bytes), size_bytes: bytes.len() as u64, mode: Mode::File }
}
