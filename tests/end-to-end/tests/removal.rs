//! A server that loses power at one write or sync after the other while it removes a job: the next start finishes what had
//! begun, `neptune-server check` finds all as it was written at any moment, and what other jobs need is there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use neptune_client::{Access, Blocking, Rest};
use neptune_end_to_end::{Server, ServerOptions, binary};
use neptune_fault_fs::FaultFs;
use neptune_wire::job::{Exit, ExitKind, JobsQuery};
use neptune_wire::life::{DeleteQuery, DeleteReceipt};
use neptune_wire::problem::Code;
use neptune_wire::query::ImagesQuery;
use neptune_wire::{AttemptNumber, ChannelKind, JobRef, Micros};

const WITHIN: Duration = Duration::from_secs(60);
/// Between two moments of death: a commit is a write and two sides of a sync.
const STRIDE: u64 = 5;
/// Where the search for the first moment after a start ends at the latest.
const STEPS_MAX: u64 = 5_000;

/// What became of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It died before it was ready.
    NotReady,
    /// It died before anything of the removal was durable.
    NotBegun,
    /// It died on the way.
    Begun,
    /// It answered.
    Done,
}

#[test]
fn a_removal_that_loses_power_anywhere_is_finished_by_the_next_start() -> Result<()> {
    let (mut begun, mut done, mut steps) = (0, 0, first_steps()?);
    while done < 2 {
        ensure!(steps < STEPS_MAX, "the removal is not done after {steps} steps");
        match run(steps).with_context(|| format!("death at step {steps}"))? {
            Outcome::NotReady | Outcome::NotBegun => {}
            Outcome::Begun => begun += 1,
            Outcome::Done => done += 1,
        }
        steps += STRIDE;
    }
    ensure!(begun >= 3, "{begun} servers died on the way of a removal; that tests nothing");
    Ok(())
}

/// So many that a server gets ready with them, or nearly so.
fn first_steps() -> Result<u64> {
    let (mut low, mut high) = (0, 64);
    while run_to_ready(high)? == Outcome::NotReady {
        (low, high) = (high, 2 * high);
        ensure!(high < STEPS_MAX, "the server is not ready after {low} steps");
    }
    while high - low > STRIDE {
        let middle = low.midpoint(high);
        match run_to_ready(middle)? {
            Outcome::NotReady => low = middle,
            _ => high = middle,
        }
    }
    Ok(low.max(1))
}

/// The data of the fixture in a folder of its own.
struct House {
    folder: tempfile::TempDir,
    disk: FaultFs,
}

impl House {
    fn new() -> Result<House> {
        let folder = tempfile::tempdir()?;
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/db/v1/data");
        let data = folder.path().join("data");
        copy(&fixture, &data)?;
        let disk = FaultFs::new(&data)?;
        Ok(House { folder, disk })
    }

    fn start(&self, steps: u64) -> Result<Server> {
        let environment =
            self.disk.command_env_for(steps).map(|(name, value)| (name.into(), value)).collect();
        Server::start(self.folder.path(), ServerOptions { environment, ..ServerOptions::default() })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The data as the loss of power leaves it.
    fn lose(&self) -> Result<()> {
        let after = self.folder.path().join("after");
        self.disk.materialise(&after)?;
        fs::remove_dir_all(self.data())?;
        Ok(fs::rename(&after, self.data())?)
    }

    /// What `neptune-server check` says of the data; an error when anything is damaged.
    fn check(&self) -> Result<String> {
        let checked =
            Command::new(binary("neptune-server")?).args(["check", "--data"]).arg(self.data()).output()?;
        let told = String::from_utf8_lossy(&checked.stdout).into_owned();
        ensure!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));
        Ok(told)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn run_to_ready(steps: u64) -> Result<Outcome> {
    let house = House::new()?;
    Ok(if house.start(steps).is_err() { Outcome::NotReady } else { Outcome::NotBegun })
}

fn run(steps: u64) -> Result<Outcome> {
    let house = House::new()?;
    let Ok(mut server) = house.start(steps) else { return Ok(Outcome::NotReady) };
    let receipt = remove(&server);
    server.kill()?;
    let answered = receipt.is_ok();
    ensure!(receipt.ok().is_none_or(|receipt| receipt.removed.blobs > 0), "it had pictures of its own");
    house.lose()?;
    let is_left = house.check()?.contains("being removed");
    let mut server = Server::start(house.folder.path(), ServerOptions::default())?;
    let outcome = outcome(&server, answered)?;
    ensure!(outcome == Outcome::Begun || !is_left, "{outcome:?}, and it is being removed");
    if is_left {
        wait_until_removed(&server)?;
    }
    read_files(&server)?;
    server.stop()?;
    let told = house.check()?;
    ensure!(!told.contains("being removed"), "{told}");
    Ok(outcome)
}

fn rest(server: &Server) -> Result<Blocking> {
    Ok(Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?)
}

/// The job with pictures of its own and sources that another one has, too.
fn job() -> JobRef {
    "FIXTURE-1".parse().expect("this is an id")
}

fn remove(server: &Server) -> Result<DeleteReceipt> {
    let rest = rest(server)?;
    // While it may live, pictures would be left to the collector.
    let exit =
        Exit { how: ExitKind::Code { code: 0 }, ended_micros: Micros(1), aborted: false, reason: None };
    rest.wait(rest.rest().end_attempt(&"FIXTURE-5".parse()?, AttemptNumber(1), &exit))?;
    Ok(rest.wait(rest.rest().delete_job(&job(), &DeleteQuery { now: true, reason: None }))?)
}

/// Where the job stands after the next start: one whose removal had begun is not found any more.
fn outcome(server: &Server, answered: bool) -> Result<Outcome> {
    let rest = rest(server)?;
    match rest.wait(rest.rest().read_job(&job())) {
        Ok(_) if answered => bail!("a removal that was answered is not durable"),
        Ok(_) => Ok(Outcome::NotBegun),
        Err(error) => {
            ensure!(error.code() == Some(Code::JobDeleted), "{error}");
            Ok(if answered { Outcome::Done } else { Outcome::Begun })
        }
    }
}

fn wait_until_removed(server: &Server) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !metrics(server)?.contains("neptune_removed_jobs_total 1") {
        ensure!(Instant::now() < deadline, "the removal does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn metrics(server: &Server) -> Result<String> {
    let host = server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Every file of sources and every picture of every job that is there.
fn read_files(server: &Server) -> Result<()> {
    let blocking = rest(server)?;
    let rest = blocking.rest();
    blocking.wait(async {
        let mut files = 0;
        for job in rest.list_jobs(&JobsQuery::default()).await?.items {
            let this = JobRef::Uid(job.uid);
            if job.snapshot.is_some() {
                for file in rest.read_snapshot_tree(&this).await?.files {
                    rest.download_snapshot_file(&this, &file.path).await?.bytes().await?;
                    files += 1;
                }
            }
            for channel in rest.list_channels(&this).await? {
                if channel.kind != ChannelKind::Image {
                    continue;
                }
                for image in rest.read_images(&this, &channel.name, &ImagesQuery::default()).await?.images {
                    rest.download_image(&this, &channel.name, image.index).await?.bytes().await?;
                }
            }
        }
        ensure!(files >= 4, "the sources of another job are {files} files");
        Ok(())
    })
}
