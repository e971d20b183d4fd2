//! Lines as they come, over the live stream; a lost connection is made again and nothing is missed or doubled.

use std::time::Duration;

use neptune_client::live::{Live, Pushed};
use neptune_client::rest::{Rest, RestError};
use neptune_wire::JobRef;
use neptune_wire::live::{LiveDown, Topic};
use neptune_wire::query::TextQuery;
use tokio::time::{Instant, sleep, timeout};

use super::printer::Printer;
use super::{PAGE, Wanted};
use crate::error::{CliError, say};

/// Subscription to the job itself; channels count on from here.
const JOB: u32 = 0;
/// A line without an end is ended for a pipe's reader after this.
const REST_AFTER: Duration = Duration::from_millis(250);
/// The last lines of a job may come after its end: so long nothing must have come.
const QUIET: Duration = Duration::from_secs(1);
/// But not longer than this after the end.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts to connect again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Prints until the job has ended and nothing more comes.
pub(super) async fn follow(
    rest: &Rest,
    job: &JobRef,
    wanted: &Wanted,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let mut wait = RETRY.0;
    loop {
        let began = Instant::now();
        let ended = follow_connected(rest, job, wanted, printer).await;
        if began.elapsed() > RETRY.1 {
            wait = RETRY.0;
        }
        match ended {
            Ok(()) => return Ok(()),
            Err(Broken::Rest(error)) if error.is_temporary() => {
                printer.rest()?;
                if wait == RETRY.0 {
                    say(format_args!("{error}; trying again"));
                }
                sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            Err(Broken::Rest(error)) => return Err(error.into()),
            Err(Broken::Output(error)) => return Err(error),
        }
    }
}

/// Why one connection ended.
enum Broken {
    Rest(RestError),
    Output(CliError),
}

impl From<RestError> for Broken {
    fn from(error: RestError) -> Self {
        Self::Rest(error)
    }
}

impl From<CliError> for Broken {
    fn from(error: CliError) -> Self {
        Self::Output(error)
    }
}

async fn follow_connected(
    rest: &Rest,
    job: &JobRef,
    wanted: &Wanted,
    printer: &mut Printer<'_>,
) -> Result<(), Broken> {
    let mut live = Live::connect(rest.access()).await?;
    let mut subscriptions = JOB;
    live.subscribe(JOB, Topic::Job { job: job.clone() }).await?;
    for channel in rest.list_channels(job).await?.iter().filter(|channel| wanted.takes(channel)) {
        printer.add(channel.name.clone(), wanted.to_stderr(channel));
    }
    for (name, ..) in printer.positions() {
        subscriptions += 1;
        live.subscribe(subscriptions, Topic::Channels { job: job.clone(), channels: vec![name] }).await?;
    }
    // From here on everything new is pushed; what was there before is read, and the printer drops what comes twice.
    read_on(rest, job, printer).await?;
    let mut ended = rest.read_job(job).await?.state.is_ended().then(Instant::now);
    loop {
        if let Some(at) = ended
            && at.elapsed() > QUIET_WITHIN
        {
            return read_on(rest, job, printer).await;
        }
        let patience = if ended.is_some() { QUIET } else { REST_AFTER };
        let Ok(pushed) = timeout(patience, live.next()).await else {
            printer.rest()?;
            if ended.is_some() {
                return read_on(rest, job, printer).await;
            }
            continue;
        };
        match pushed? {
            Pushed::Down(LiveDown::Lines { channel, lines, .. }) => {
                let Some(index) = printer.find(&channel) else { continue };
                for line in &lines {
                    printer.print(index, line)?;
                }
            }
            Pushed::Down(LiveDown::Subscribed { id, .. }) if id > JOB => read_on(rest, job, printer).await?,
            Pushed::Down(LiveDown::Reread { .. }) => read_on(rest, job, printer).await?,
            Pushed::Down(LiveDown::Channel { channel, .. })
                if wanted.takes(&channel) && printer.find(&channel.name).is_none() =>
            {
                printer.add(channel.name.clone(), wanted.to_stderr(&channel));
                subscriptions += 1;
                let channels = vec![channel.name];
                live.subscribe(subscriptions, Topic::Channels { job: job.clone(), channels }).await?;
            }
            Pushed::Down(LiveDown::Job { job, .. }) => {
                ended = if job.state.is_ended() { ended.or_else(|| Some(Instant::now())) } else { None };
            }
            Pushed::Down(LiveDown::Problem { problem, .. }) => return Err(RestError::from(problem).into()),
            Pushed::Down(_) | Pushed::Points(_) => {}
        }
    }
}

/// Reads every channel from where it is printed to its end.
async fn read_on(rest: &Rest, job: &JobRef, printer: &mut Printer<'_>) -> Result<(), Broken> {
    for (name, index, from) in printer.positions() {
        let mut next = Some(from);
        while let Some(line) = next {
            let query = TextQuery { line: Some(line), limit: Some(PAGE), ..TextQuery::default() };
            let page = rest.read_text(job, &name, &query).await?;
            for line in &page.lines {
                printer.print(index, line)?;
            }
            next = page.next;
        }
    }
    Ok(())
}
