//! `neptune import`: takes in a folder that `export` wrote. What is there already is not stored a second time, so an import
//! that was cut off is repeated, and a later export of the same jobs brings what came since. What hinders one job is told,
//! and the others go on.

mod frames;
mod there;

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use neptune_client::rest::{BlobSource, Rest, RestError};
use neptune_wire::life::{ImportJob, ImportProject};
use neptune_wire::problem::Code;
use neptune_wire::snapshot::Manifest;
use neptune_wire::{ChannelKind, Job, JobRef};
use serde::Serialize;

use self::frames::{Blobs, Frames};
use self::there::There;
use crate::args::Global;
use crate::error::{CliError, say};
use crate::export::bar;
use crate::output::Output;
use crate::parcel::{self, PROJECT, Parcel};
use crate::tables::{IMAGES, LINES, NUMBERS, TEXTS, TableReader};
use crate::{size, target};

/// Channels in one request.
const CHANNELS: usize = 2_000;
/// So often in a row others may have been sooner: each time they brought something.
const TRIES: u32 = 8;
/// As HTTP has it.
const SERVICE_UNAVAILABLE: u16 = 503;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    from: PathBuf,
}

#[derive(Debug, Default, Serialize)]
struct Imported {
    jobs: u64,
    points: u64,
    /// Jobs that were made on this server and are left alone.
    here: Vec<String>,
    /// Jobs of which something is missing here.
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Failed {
    job: String,
    why: String,
}

/// A job that is here now.
struct Taken {
    /// Points that were not there before.
    points: u64,
    /// What of it is missing all the same.
    missing: Option<String>,
}

pub(crate) fn run(args: &ImportArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let bar = bar("importing");
    let mut bytes = 0;
    let parcel = Parcel::open(&args.from, |more| {
        bytes += more;
        bar.set_message(format!("{} verified", size::of(bytes)));
    })?;
    let mut imported = Imported::default();
    let ended = server.wait(import(server.rest(), &parcel, &bar, &mut imported));
    bar.finish_and_clear();
    for job in &imported.here {
        say(format_args!("{job} was made on this server and is left as it is"));
    }
    for Failed { job, why } in &imported.failed {
        say(format_args!("{job}: {why}"));
    }
    say(format_args!("{} jobs with {} new points", imported.jobs, imported.points));
    if out.json {
        out.json(&imported)?;
    }
    ended?;
    match imported.failed.len() {
        0 => Ok(()),
        1 => Err(CliError::refused("1 job is not, or not wholly, here")),
        count => Err(CliError::refused(format_args!("{count} jobs are not, or not wholly, here"))),
    }
}

async fn import(
    rest: &Rest,
    parcel: &Parcel,
    bar: &ProgressBar,
    imported: &mut Imported,
) -> Result<(), CliError> {
    let project: ImportProject = parcel.read_json(PROJECT)?;
    rest.import_project(&project).await?;
    let jobs = parcel.jobs()?;
    bar.set_length(jobs.len() as u64);
    for (job, import) in jobs {
        bar.set_message(job.clone());
        match import_job(rest, parcel, &job, &import).await {
            Ok(Taken { points, missing }) => {
                imported.jobs += 1;
                imported.points += points;
                imported.failed.extend(missing.map(|why| Failed { job, why }));
            }
            Err(CliError::Rest(error)) if error.code() == Some(Code::MadeHere) => imported.here.push(job),
            Err(error) if hinders_all(&error) => return Err(error),
            Err(error) => imported.failed.push(Failed { job, why: error.to_string() }),
        }
        bar.inc(1);
    }
    Ok(())
}

/// Whether the next job would meet the same: repeating the import later goes on where it ended.
fn hinders_all(error: &CliError) -> bool {
    use Code::{Busy, Forbidden, ForeignHost, ForeignOrigin, Internal, ReadOnly, TimedOut, Unauthorized};
    match error {
        CliError::Rest(RestError::Refused(problem)) => match problem.code {
            Busy | Forbidden | ForeignHost | ForeignOrigin | ReadOnly | TimedOut | Unauthorized => true,
            // A server that writes nothing any more until it is started again; else it may be this one job that it
            // cannot read.
            Internal => problem.status == SERVICE_UNAVAILABLE,
            _ => false,
        },
        CliError::Rest(RestError::File { .. }) | CliError::Refused(_) | CliError::Usage(_) => false,
        CliError::Rest(_) | CliError::Interrupted(_) | CliError::OutputClosed => true,
    }
}

/// Blobs first, then records, then points.
async fn import_job(
    rest: &Rest,
    parcel: &Parcel,
    folder: &str,
    import: &ImportJob,
) -> Result<Taken, CliError> {
    let project = &import.job.project;
    if let Some(snapshot) = &import.job.snapshot {
        let manifest: Manifest = parcel.read_json(&parcel::snapshot(snapshot))?;
        let place = |digest| Some(BlobSource::File(parcel.path(&parcel::blob(&digest)).ok()?));
        rest.upload_snapshot(project, &manifest, place).await?;
    }
    let job = import_records(rest, folder, import).await?;
    let this = JobRef::Uid(import.job.uid);
    let points = Points { rest, parcel, folder, import };
    let mut new = 0;
    let missing = match points.send(&There::nothing(), &mut new).await {
        Ok(_) => None,
        Err(error) if is_elsewhere(&error) => {
            let rows = points.send_behind(&this, &mut new).await?;
            There::read(rest, &this).await?.find_missing(import, &rows)
        }
        Err(error) => return Err(error),
    };
    Ok(Taken { points: new, missing: missing.or_else(|| find_other_end(&import.job, &job)) })
}

/// Whether the points that are there were brought by other requests: by an import of another export of the job, before this
/// one or beside it.
fn is_elsewhere(error: &CliError) -> bool {
    matches!(error, CliError::Rest(error) if matches!(error.code(), Some(Code::Taken | Code::CountDiffers)))
}

/// What the record here does not have, as it was made by an earlier export: it never changes by an import.
fn find_other_end(exported: &Job, here: &Job) -> Option<String> {
    let end = |job: &Job| (job.state, job.attempt, job.exit_code, job.ended_micros);
    (exported.state.is_ended() && end(exported) != end(here)).then(|| {
        format!(
            "its points are here, its end is not: here it is {}, as it was imported before; it ended as {}. To have \
             that, remove it here (`neptune delete {} --now`) and import again",
            here.state, exported.state, here.id
        )
    })
}

/// What a job produced, in an export.
struct Points<'a> {
    rest: &'a Rest,
    parcel: &'a Parcel,
    folder: &'a str,
    import: &'a ImportJob,
}

impl Points<'_> {
    /// Goes on behind what is there, as often as that grows meanwhile; counts the points that are `new`, and answers as
    /// [`Self::send`].
    async fn send_behind(&self, job: &JobRef, new: &mut u64) -> Result<Vec<u64>, CliError> {
        let mut in_vain = 0;
        while in_vain < TRIES {
            let there = There::read(self.rest, job).await?;
            let before = *new;
            match self.send(&there, new).await {
                // Whoever brings something is not held up for ever: there is an end of it.
                Err(error) if is_elsewhere(&error) => in_vain = if *new > before { 0 } else { in_vain + 1 },
                outcome => return outcome,
            }
        }
        Err(CliError::refused("somebody else adds points to it; import again when that has ended"))
    }

    /// Sends all that is not there and counts the points that are `new`; answers how much the export has of each channel:
    /// points, bytes of a log.
    async fn send(&self, there: &There, new: &mut u64) -> Result<Vec<u64>, CliError> {
        let this = JobRef::Uid(self.import.job.uid);
        let blobs = Blobs { rest: self.rest, parcel: self.parcel, project: &self.import.job.project };
        let mut frames = Frames::new(blobs, this, there, new);
        let mut rows = Vec::with_capacity(self.import.channels.len());
        for (number, channel) in self.import.channels.iter().enumerate() {
            let path = self.parcel.path(&parcel::channel(self.folder, number, "parquet"))?;
            let is_log = channel.origin.log_name().is_some();
            let schema = match channel.kind {
                ChannelKind::Numeric => NUMBERS,
                ChannelKind::Text if is_log => LINES,
                ChannelKind::Text => TEXTS,
                ChannelKind::Image => IMAGES,
            };
            let table = TableReader::open(&path, schema)?;
            if is_log {
                let log = self.parcel.path(&parcel::channel(self.folder, number, "log"))?;
                let size = std::fs::metadata(&log).map_err(|error| CliError::file(&log, &error))?.len();
                rows.push(size);
                frames.push_log(number as u32, table, &log, there.log_bytes(number)).await?;
            } else {
                rows.push(table.rows());
                self.send_table(&mut frames, table, there, number).await?;
            }
        }
        frames.finish().await?;
        Ok(rows)
    }

    async fn send_table(
        &self,
        frames: &mut Frames<'_>,
        mut table: TableReader,
        there: &There,
        number: usize,
    ) -> Result<(), CliError> {
        let mut behind = there.behind(number);
        let channel = number as u32;
        while let Some(mut rows) = table.read()? {
            behind.cut(&mut rows)?;
            match self.import.channels[number].kind {
                ChannelKind::Numeric => frames.push_numbers(channel, &rows).await?,
                ChannelKind::Text => frames.push_texts(channel, &rows).await?,
                ChannelKind::Image => frames.push_images(channel, &rows).await?,
            }
        }
        Ok(())
    }
}

/// The job's records, its channels a part at a time; answers the job as it is here.
async fn import_records(rest: &Rest, folder: &str, import: &ImportJob) -> Result<Job, CliError> {
    let mut first = 0;
    loop {
        let end = import.channels.len().min(first + CHANNELS);
        let part = ImportJob {
            job: import.job.clone(),
            attempts: import.attempts.clone(),
            channels: import.channels[first..end].to_vec(),
            first_channel: first as u32,
            charts: if end == import.channels.len() { import.charts.clone() } else { vec![] },
        };
        let job = rest.import_job(&part).await?;
        if first == 0 && job.id != import.job.id {
            say(format_args!("{folder} is {} here: its number was taken", job.id));
        }
        first = end;
        if first == import.channels.len() {
            return Ok(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use neptune_wire::Problem;

    use super::*;

    #[test]
    fn a_job_that_the_server_cannot_read_hinders_no_other() {
        let hinders = |code, status| {
            let problem = Problem { status, ..Problem::new(code, "why") };
            hinders_all(&CliError::Rest(RestError::Refused(problem)))
        };
        assert!(!hinders(Code::Internal, 500));
        assert!(!hinders(Code::JobDeleted, 410));
        assert!(hinders(Code::Internal, 503), "it writes nothing any more");
        assert!(hinders(Code::ReadOnly, 503));
    }
}
