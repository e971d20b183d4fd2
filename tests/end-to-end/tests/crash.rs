//! Servers that die under load: every point acknowledged in a client's own log is there once, in the order it was sent.
//!
//! Eight client processes send; two of them are killed as well, one of them after it has sent to its spool alone for a
//! while. What the server did not have then is uploaded from there: all but the last moment before the kill.
//! One test kills the server and keeps the page cache; the other also drops every write that was not synced, as a loss
//! of power does. A server dies at a moment by chance or at one of its writes or syncs, wherever that is: it seals all the
//! time, so many are in the middle of a round. After every death `neptune-server check` finds all as it was written.
//! Beside them jobs with sources and pictures come and go ([`churn`]).
//! 10 runs of three to five deaths each quick, 100 long; the seed of a run is printed when it fails.

#[path = "crash/churn.rs"]
mod churn;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use neptune_client::folder::{JobFile, Registered};
use neptune_client::sync::SyncSettings;
use neptune_client::{Access, Blocking, JobFolder, Notices, Rest, new_claim_id, new_job_uid, sync};
use neptune_end_to_end::{Server, ServerOptions};
use neptune_fault_fs::FaultFs;
use neptune_wire::job::ClaimJob;
use neptune_wire::query::{PointOrder, PointsQuery, TextQuery};
use neptune_wire::{ChannelName, CreateJob, CreateProject, JobRef};

use self::churn::Churn;

const CLIENTS: usize = 8;
const CHANNELS: [&str; 3] = ["in order", "out of order", "text"];
/// Killed together with the server.
const KILLED_AT_ONCE: usize = 0;
/// Killed when it has been without the server long enough to have spooled something.
const KILLED_LATER: usize = 1;
const STEPS: u64 = 4_000;
/// Of the clients that are killed: so many that none ends before.
const KILLED_STEPS: u64 = 90_000;
const WITHIN: Duration = Duration::from_secs(90);

fn runs() -> u64 {
    if std::env::var_os("NEPTUNE_TEST_LONG").is_some() { 100 } else { 10 }
}

#[test]
fn what_was_acknowledged_survives_sigkill() -> Result<()> {
    (0..runs()).try_for_each(|seed| run(seed, Fault::Kill).with_context(|| format!("seed {seed}")))
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() -> Result<()> {
    (0..runs()).try_for_each(|seed| run(seed, Fault::PowerLoss).with_context(|| format!("seed {seed}")))
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    PowerLoss,
}

/// Small numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pause(&mut self, from_millis: u64, below_millis: u64) {
        std::thread::sleep(Duration::from_millis(from_millis + self.roll(below_millis - from_millis)));
    }
}

fn run(seed: u64, fault: Fault) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut dice = Dice(seed);
    let mut house = House::open(folder.path(), fault)?;
    let mut clients =
        (0..CLIENTS).map(|i| Client::start(&house, folder.path(), i)).collect::<Result<Vec<_>>>()?;
    let churn = Churn::start(house.server.url(), folder.path());
    let kills = 3 + dice.roll(3);
    for kill in 0..kills {
        let last = kill + 1 == kills;
        match house.dies_by_itself {
            true => wait_until("the server met its end", || house.server.has_ended())?,
            false => dice.pause(50, 500),
        }
        if last {
            // A client that never met the server does not wait for it at its end.
            clients.iter().try_for_each(|client| {
                wait_until("every client met the server", || Ok(client.acked("in order")? > 0))
            })?;
        }
        house.strike()?;
        if kill == 0 {
            clients[KILLED_AT_ONCE].kill()?;
        }
        if last {
            let client = &mut clients[KILLED_LATER];
            wait_until("it has spooled something", || {
                CHANNELS
                    .iter()
                    .try_fold(true, |all, name| Ok(all && client.safe(name)? > client.acked(name)?))
            })?;
            client.kill()?;
        }
        dice.pause(0, 200);
        // The last life but one ends by chance, as clients must have met the server before.
        let steps = (kill + 2 < kills && dice.roll(3) > 0).then(|| 20 + dice.roll(3_000));
        house.recover(steps)?;
    }
    for client in &mut clients {
        client.wait()?;
    }
    let access = Access { url: house.server.url().into(), token: None };
    let root = folder.path().join("spool");
    // A killed client's folder belongs to nobody now: what it had spooled is uploaded by `neptune sync`.
    clients.iter_mut().for_each(|client| client.folder = None);
    let report = sync(&SyncSettings { root, only: None, access, notices: Notices::default() }, &mut |_| {})?;
    ensure!(report.failed.is_empty() && report.in_use.is_empty(), "{report:?}");
    clients.iter().try_for_each(|client| client.check(&house.rest))?;
    let kept = churn.end(&house.rest).context("jobs that come and go")?;
    house.strike()?;
    house.recover(None)?;
    kept.check(&house.rest).context("after one more kill")?;
    clients.iter().try_for_each(|client| client.check(&house.rest).context("after one more kill"))?;
    house.server.stop()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !condition()? {
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A server on a disk that may be forgetful.
struct House {
    server: Server,
    rest: Blocking,
    fault: Fault,
    disk: FaultFs,
    dies_by_itself: bool,
}

impl House {
    fn open(folder: &Path, fault: Fault) -> Result<Self> {
        let disk = FaultFs::new(folder.join("data"))?;
        let server = Server::start(folder, options(&disk, fault, None))?;
        let rest = rest(&server)?;
        let project = CreateProject { key: "CRASH".parse()?, name: "crash".into() };
        rest.wait(rest.rest().create_project(&project))?;
        Ok(Self { server, rest, fault, disk, dies_by_itself: false })
    }

    /// Ends the server without warning, unless it has met its end, and drops what was not synced where the disk is
    /// forgetful.
    fn strike(&mut self) -> Result<()> {
        self.server.kill()?;
        self.lose()
    }

    fn lose(&mut self) -> Result<()> {
        let data = self.server.data();
        if self.fault == Fault::PowerLoss {
            let after = data.with_file_name("after");
            self.disk.materialise(&after)?;
            fs::remove_dir_all(&data)?;
            fs::rename(&after, &data)?;
        }
        self.server.check().context("after a kill")?;
        // Only now, as a check may put the log in order.
        self.disk = FaultFs::new(&data)?;
        Ok(())
    }

    /// Starts the server again, to die at its so-manieth write or sync if told so.
    fn recover(&mut self, steps: Option<u64>) -> Result<()> {
        self.dies_by_itself = steps.is_some();
        let started = self.server.start_again_with(options(&self.disk, self.fault, steps));
        if steps.is_some() && started.is_err() {
            // It died while it started.
            self.lose()?;
            return self.recover(None);
        }
        started?;
        // Connections kept open to the server that died are of no use.
        self.rest = rest(&self.server)?;
        Ok(())
    }
}

fn rest(server: &Server) -> Result<Blocking> {
    Ok(Blocking::new(Rest::new(Access { url: server.url().into(), token: None })?)?)
}

fn options(disk: &FaultFs, fault: Fault, steps: Option<u64>) -> ServerOptions {
    let mut environment: Vec<(OsString, OsString)> =
        vec![("NEPTUNE_SERVER_SEAL_AFTER_SECONDS".into(), "0".into())];
    let mut add = |(name, value): (&str, OsString)| environment.push((name.into(), value));
    match steps {
        Some(steps) => disk.command_env_for(steps).for_each(add),
        None if fault == Fault::PowerLoss => disk.command_env().into_iter().for_each(&mut add),
        None => {}
    }
    ServerOptions { environment, ..ServerOptions::default() }
}

struct Client {
    process: Child,
    killed: bool,
    job: JobRef,
    log: PathBuf,
    folder: Option<JobFolder>,
}

impl Client {
    fn start(house: &House, folder: &Path, number: usize) -> Result<Self> {
        let rest = house.rest.rest();
        let create: CreateJob = serde_json::from_value(serde_json::json!({
            "uid": new_job_uid(), "project": "CRASH", "name": format!("client {number}"),
        }))?;
        let job = house.rest.wait(rest.create_job(&create))?;
        let claim = new_claim_id();
        let request = ClaimJob { claim, host: None, history: None };
        let claimed = house.rest.wait(rest.claim_job(&job.uid.into(), &request))?;
        let registered = Registered { id: job.id, attempt: claimed.attempt, token: claimed.token.clone() };
        let file = JobFile {
            url: house.server.url().into(),
            create,
            project_name: None,
            project_by_name: false,
            claim,
            host: None,
            started_micros: None,
            registered: Some(registered),
        };
        let job_folder = JobFolder::create(&folder.join("spool"), file)?;
        let log = folder.join(format!("acknowledged {number}"));
        let is_killed = [KILLED_AT_ONCE, KILLED_LATER].contains(&number);
        let process = Command::new(env!("CARGO_BIN_EXE_crash-client"))
            .args([house.server.url(), &job.uid.to_string(), &claimed.attempt.to_string(), &claimed.token])
            .args([job_folder.path(), &log])
            .arg(if is_killed { KILLED_STEPS } else { STEPS }.to_string())
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join(format!("notices {number}")))?)
            .spawn()?;
        Ok(Self { process, killed: false, job: job.uid.into(), log, folder: Some(job_folder) })
    }

    fn kill(&mut self) -> Result<()> {
        self.killed = true;
        Ok(self.process.kill()?)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        while Instant::now() < deadline {
            match self.process.try_wait()? {
                Some(status) if status.success() || self.killed => return Ok(()),
                Some(status) => {
                    let notices = self.log.with_file_name(self.log_name().replace("acknowledged", "notices"));
                    bail!(
                        "a client ended with {status}: {}",
                        fs::read_to_string(notices).unwrap_or_default()
                    );
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        bail!("a client did not end in time")
    }

    fn log_name(&self) -> String {
        self.log.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// How much of a channel the client saw acknowledged.
    fn acked(&self, channel: &str) -> Result<u64> {
        self.read_count(channel)
    }

    /// How much of a channel the client sent long enough before its end.
    fn safe(&self, channel: &str) -> Result<u64> {
        self.read_count(&format!("safe {channel}"))
    }

    /// The highest count in the client's log; none while the client begins.
    fn read_count(&self, name: &str) -> Result<u64> {
        if !self.log.exists() {
            return Ok(0);
        }
        let log = fs::read_to_string(&self.log)?;
        let counts = log.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(counts.filter_map(|count| count.parse().ok()).max().unwrap_or(0))
    }

    fn check(&self, rest: &Blocking) -> Result<()> {
        let wrong = |what: String| format!("{} ({}): {what}", self.log_name(), self.job);
        for name in ["in order", "out of order"] {
            let stored = self.points(rest, name)?;
            let acked = self.acked(name)?;
            let sent = stored.len() as u64;
            ensure!(sent >= acked, wrong(format!("{acked} of {name} were acknowledged, {sent} are there")));
            let safe = self.safe(name)?;
            ensure!(sent >= safe, wrong(format!("{safe} of {name} were sent long before, {sent} are there")));
            ensure!(self.killed || sent == STEPS, wrong(format!("{sent} of {STEPS} of {name} are there")));
            for (i, y) in stored.iter().enumerate() {
                ensure!(*y == i as f64, wrong(format!("{name} has {y} at place {i}")));
            }
        }
        let name = ChannelName::new("text")?;
        let query = TextQuery { limit: Some(10_000), ..TextQuery::default() };
        let lines = rest.wait(rest.rest().read_text(&self.job, &name, &query))?.lines;
        let (acked, safe, there) = (self.acked("text")?, self.safe("text")?, lines.len() as u64);
        ensure!(there >= acked, wrong(format!("{acked} texts acknowledged, {there} there")));
        ensure!(there >= safe, wrong(format!("{safe} texts sent long before, {there} there")));
        for (i, line) in lines.iter().enumerate() {
            ensure!(line.text == format!("line {}", i * 10), wrong(format!("text {i} is {:?}", line.text)));
        }
        Ok(())
    }

    fn points(&self, rest: &Blocking, name: &str) -> Result<Vec<f64>> {
        let name = ChannelName::new(name)?;
        let query =
            PointsQuery { order: PointOrder::Arrival, limit: Some(100_000), ..PointsQuery::default() };
        let points = rest.wait(rest.rest().read_points(&self.job, &name, &query))?;
        ensure!(points.next.is_none(), "one page holds all points of the test");
        Ok(points.y.iter().map(|y| y.0).collect())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
