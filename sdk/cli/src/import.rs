//! `neptune import`: takes in a folder that `export` wrote. What is there already is not stored a second time, so an import
//! that was cut off is repeated.

mod frames;

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use neptune_client::rest::{BlobSource, Rest};
use neptune_wire::life::{ImportJob, ImportProject};
use neptune_wire::problem::Code;
use neptune_wire::snapshot::Manifest;
use neptune_wire::{ChannelKind, JobRef, ProjectKey};
use serde::Serialize;

use self::frames::Frames;
use crate::args::Global;
use crate::error::{CliError, say};
use crate::export::bar;
use crate::output::Output;
use crate::parcel::{self, PROJECT, Parcel};
use crate::tables::{IMAGES, LINES, NUMBERS, TEXTS, TableReader};
use crate::{size, target};

/// Channels in one request.
const CHANNELS: usize = 2_000;

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
}

pub(crate) fn run(args: &ImportArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let bar = bar("importing");
    let mut bytes = 0;
    let parcel = Parcel::open(&args.from, |more| {
        bytes += more;
        bar.set_message(format!("{} verified", size::of(bytes)));
    })?;
    let imported = server.wait(import(server.rest(), &parcel, &bar));
    bar.finish_and_clear();
    let imported = imported?;
    if out.json {
        return out.json(&imported);
    }
    for job in &imported.here {
        say(format_args!("{job} was made on this server and is left as it is"));
    }
    say(format_args!("{} jobs with {} new points", imported.jobs, imported.points));
    Ok(())
}

async fn import(rest: &Rest, parcel: &Parcel, bar: &ProgressBar) -> Result<Imported, CliError> {
    let project: ImportProject = parcel.read_json(PROJECT)?;
    rest.import_project(&project).await?;
    let jobs = parcel.jobs()?;
    bar.set_length(jobs.len() as u64);
    let mut imported = Imported::default();
    for (folder, job) in jobs {
        bar.set_message(folder.clone());
        match import_job(rest, parcel, &folder, &job).await {
            Ok(points) => {
                imported.jobs += 1;
                imported.points += points;
            }
            Err(CliError::Rest(error)) if error.code() == Some(Code::Taken) => imported.here.push(folder),
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    Ok(imported)
}

/// Blobs first, then records, then points; answers how many of them are new.
async fn import_job(rest: &Rest, parcel: &Parcel, folder: &str, import: &ImportJob) -> Result<u64, CliError> {
    let project = &import.job.project;
    if let Some(snapshot) = &import.job.snapshot {
        let manifest: Manifest = parcel.read_json(&parcel::snapshot(snapshot))?;
        let place = |digest| Some(BlobSource::File(parcel.path(&parcel::blob(&digest)).ok()?));
        rest.upload_snapshot(project, &manifest, place).await?;
    }
    import_records(rest, folder, import).await?;
    let this = JobRef::Uid(import.job.uid);
    let mut frames = Frames::new(rest, this);
    for (number, channel) in import.channels.iter().enumerate() {
        let name = parcel::channel(folder, number, "parquet");
        let path = parcel.path(&name)?;
        let number_of_frame = number as u32;
        let open = |schema| TableReader::open(&path, schema);
        match channel.kind {
            ChannelKind::Numeric => {
                let mut table = open(NUMBERS)?;
                while let Some(rows) = table.read()? {
                    frames.push_numbers(number_of_frame, &rows).await?;
                }
            }
            ChannelKind::Text if channel.origin.log_name().is_some() => {
                let log = parcel.path(&parcel::channel(folder, number, "log"))?;
                frames.push_log(number_of_frame, open(LINES)?, &log).await?;
            }
            ChannelKind::Text => {
                let mut table = open(TEXTS)?;
                while let Some(rows) = table.read()? {
                    frames.push_texts(number_of_frame, &rows).await?;
                }
            }
            ChannelKind::Image => {
                let mut table = open(IMAGES)?;
                while let Some(rows) = table.read()? {
                    upload_images(rest, parcel, project, rows[7].texts()).await?;
                    frames.push_images(number_of_frame, &rows).await?;
                }
            }
        }
    }
    frames.finish().await
}

/// The job's records, its channels a part at a time.
async fn import_records(rest: &Rest, folder: &str, import: &ImportJob) -> Result<(), CliError> {
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
            return Ok(());
        }
    }
}

async fn upload_images(
    rest: &Rest,
    parcel: &Parcel,
    project: &ProjectKey,
    digests: &[String],
) -> Result<(), CliError> {
    for digest in digests {
        let digest = digest.parse().map_err(|error| CliError::refused(format_args!("{digest}: {error}")))?;
        let source = BlobSource::File(parcel.path(&parcel::blob(&digest))?);
        rest.put_blob(project, digest, &source).await?;
    }
    Ok(())
}
