//! One job of an export: its records, its sources, every point of its channels in the order they arrived.

use std::path::Path;

use neptune_client::rest::Rest;
use neptune_wire::columns::Data;
use neptune_wire::life::ImportJob;
use neptune_wire::query::{ImagesQuery, PointOrder, PointsQuery, TextQuery};
use neptune_wire::{AttemptNumber, Channel, ChannelKind, CreateChannel, Digest, Job, JobRef, ProjectKey};

use super::lines::LineMeasure;
use crate::error::CliError;
use crate::parcel::{self, JOBS, Parcel};
use crate::tables::{Column, IMAGES, LINES, NUMBERS, TEXTS, TableWriter};

/// Points, lines and images of one request; what one group of a Parquet file holds.
const POINTS: u32 = 100_000;
const TEXT_LINES: u32 = 10_000;
const IMAGE_POINTS: u32 = 1_000;

pub(super) async fn export(rest: &Rest, job: Job, parcel: &mut Parcel) -> Result<(), CliError> {
    let this = JobRef::Uid(job.uid);
    let folder = job.id.to_string();
    let mut attempts = Vec::new();
    for number in 1..=job.attempt.map_or(0, |attempt| attempt.0) {
        attempts.push(rest.read_attempt(&this, AttemptNumber(number)).await?);
    }
    if let Some(snapshot) = job.snapshot {
        export_snapshot(rest, &this, &job.project, &snapshot, parcel).await?;
    }
    // Before the channels: a job that runs may make both meanwhile, and a chart needs its channels.
    let charts = rest.list_charts(&this).await?;
    let channels = rest.list_channels(&this).await?;
    for (number, channel) in channels.iter().enumerate() {
        let name = parcel::channel(&folder, number, "parquet");
        let path = parcel.place(&name)?;
        match channel.kind {
            ChannelKind::Numeric => numbers(rest, &this, channel, &path).await?,
            ChannelKind::Image => images(rest, &this, &job.project, channel, &path, parcel).await?,
            ChannelKind::Text if channel.origin.log_name().is_some() => {
                let log = parcel::channel(&folder, number, "log");
                let log_path = parcel.place(&log)?;
                lines(rest, &this, channel, &path, &log_path).await?;
                parcel.add(&log)?;
            }
            ChannelKind::Text => texts(rest, &this, channel, &path).await?,
        }
        parcel.add(&name)?;
    }
    let create = |channel: &Channel| CreateChannel {
        name: channel.name.clone(),
        kind: channel.kind,
        origin: channel.origin,
    };
    let import = ImportJob {
        attempts,
        channels: channels.iter().map(create).collect(),
        first_channel: 0,
        charts,
        job,
    };
    parcel.write_json(&format!("{JOBS}/{folder}/job.json"), &import)
}

async fn export_snapshot(
    rest: &Rest,
    job: &JobRef,
    project: &ProjectKey,
    snapshot: &Digest,
    parcel: &mut Parcel,
) -> Result<(), CliError> {
    let name = parcel::snapshot(snapshot);
    if parcel.has(&name) {
        return Ok(());
    }
    let manifest = rest.read_snapshot_tree(job).await?;
    for file in &manifest.files {
        blob(rest, project, file.digest, parcel).await?;
    }
    parcel.write_json(&name, &manifest)
}

/// Writes a blob unless it is there.
async fn blob(
    rest: &Rest,
    project: &ProjectKey,
    digest: Digest,
    parcel: &mut Parcel,
) -> Result<(), CliError> {
    let name = parcel::blob(&digest);
    if parcel.has(&name) {
        return Ok(());
    }
    let path = parcel.place(&name)?;
    write_download(rest.download_blob(project, digest).await?, &path).await?;
    parcel.add(&name)
}

async fn write_download(mut download: neptune_client::rest::Download, path: &Path) -> Result<(), CliError> {
    use std::io::Write as _;
    let failed = |error| CliError::file(path, &error);
    let mut file = std::fs::File::create(path).map_err(failed)?;
    while let Some(piece) = download.next_piece().await? {
        file.write_all(&piece).map_err(failed)?;
    }
    Ok(())
}

async fn numbers(rest: &Rest, job: &JobRef, channel: &Channel, path: &Path) -> Result<(), CliError> {
    let mut writer = TableWriter::create(path, NUMBERS)?;
    let mut query = PointsQuery { order: PointOrder::Arrival, limit: Some(POINTS), ..PointsQuery::default() };
    loop {
        let table = rest.read_points_columns(job, &channel.name, &query).await?;
        let next = table.meta.get("next").and_then(|next| next.as_str()).map(str::to_owned);
        let mut columns = Vec::new();
        for wanted in ["x", "y", "time"] {
            let column = table.columns.iter().find(|column| column.name == wanted);
            columns.push(match column.map(|column| &column.data) {
                Some(Data::F64(values)) => Column::Doubles(values.clone()),
                Some(Data::I64(values)) => Column::Integers(values.clone()),
                _ => {
                    return Err(CliError::refused(format_args!(
                        "the server's points have no column {wanted}"
                    )));
                }
            });
        }
        if !columns[0].doubles().is_empty() {
            writer.write(&columns)?;
        }
        query.cursor = next;
        if query.cursor.is_none() {
            return writer.finish();
        }
    }
}

async fn texts(rest: &Rest, job: &JobRef, channel: &Channel, path: &Path) -> Result<(), CliError> {
    let mut writer = TableWriter::create(path, TEXTS)?;
    let mut query = TextQuery { line: Some(0), limit: Some(TEXT_LINES), ..TextQuery::default() };
    loop {
        let page = rest.read_text(job, &channel.name, &query).await?;
        if !page.lines.is_empty() {
            let columns = [
                Column::Doubles(page.lines.iter().map(|line| line.x.0).collect()),
                Column::Integers(page.lines.iter().map(|line| line.time.0).collect()),
                Column::Texts(page.lines.iter().map(|line| line.text.clone()).collect()),
                Column::Flags(page.lines.iter().map(|line| line.continues).collect()),
            ];
            writer.write(&columns)?;
        }
        query.line = page.next;
        if query.line.is_none() {
            return writer.finish();
        }
    }
}

/// A log: its bytes, and of each line where it ends in them. Bytes that come meanwhile are of no line of the export, nor are
/// lines of those bytes.
async fn lines(
    rest: &Rest,
    job: &JobRef,
    channel: &Channel,
    path: &Path,
    log: &Path,
) -> Result<(), CliError> {
    write_download(rest.download_log(job, &channel.name).await?, log).await?;
    let mut measure = LineMeasure::open(log)?;
    let mut writer = TableWriter::create(path, LINES)?;
    let mut query = TextQuery { line: Some(0), limit: Some(TEXT_LINES), ..TextQuery::default() };
    while query.line.is_some() {
        let page = rest.read_text(job, &channel.name, &query).await?;
        let (mut bytes, mut lost) = (Vec::new(), Vec::new());
        for line in &page.lines {
            let Some(measured) = measure.next(&line.text)? else { break };
            bytes.push(measured.bytes as i64);
            lost.push(measured.lost as i64);
        }
        let measured = &page.lines[..bytes.len()];
        query.line = page.next.filter(|_| measured.len() == page.lines.len());
        if !measured.is_empty() {
            let columns = [
                Column::Doubles(measured.iter().map(|line| line.x.0).collect()),
                Column::Integers(measured.iter().map(|line| line.time.0).collect()),
                Column::Integers(bytes),
                Column::Integers(lost),
            ];
            writer.write(&columns)?;
        }
    }
    measure.check_end()?;
    writer.finish()
}

async fn images(
    rest: &Rest,
    job: &JobRef,
    project: &ProjectKey,
    channel: &Channel,
    path: &Path,
    parcel: &mut Parcel,
) -> Result<(), CliError> {
    let mut writer = TableWriter::create(path, IMAGES)?;
    let mut query = ImagesQuery { index: Some(0), limit: Some(IMAGE_POINTS) };
    while query.index.is_some() {
        let page = rest.read_images(job, &channel.name, &query).await?;
        for image in &page.images {
            blob(rest, project, image.digest, parcel).await?;
        }
        if !page.images.is_empty() {
            let images = || page.images.iter();
            let columns = [
                Column::Doubles(images().map(|image| image.x.0).collect()),
                Column::Integers(images().map(|image| image.time.0).collect()),
                Column::Texts(images().map(|image| image.name.clone()).collect()),
                Column::Texts(images().map(|image| image.description.clone()).collect()),
                Column::Integers(images().map(|image| image.width.into()).collect()),
                Column::Integers(images().map(|image| image.height.into()).collect()),
                Column::Integers(images().map(|image| image.size_bytes as i64).collect()),
                Column::Texts(images().map(|image| image.digest.to_string()).collect()),
            ];
            writer.write(&columns)?;
        }
        query.index = page.next;
    }
    writer.finish()
}
