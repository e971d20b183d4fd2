//! Questions about points, text and images.
//!
//! Numeric channels are read as a series, exact as of one moment. Text, logs and images are read from sheets where they
//! are sealed, else from the frame log by the references in their heads.

mod envelopes;
pub(crate) mod frames;
pub(crate) mod images;
pub(crate) mod lines;
mod points;
mod stretches;

use std::sync::Arc;

use bytes::Bytes;
use neptune_wire::query::{
    Envelope, EnvelopeQuery, Images, ImagesQuery, Lines, PointsQuery, SeriesRef, TextQuery,
};
use neptune_wire::{ChannelKind, ChannelName, Digest, JobId, JobRef, Number};

use crate::envelope::{Bucket, Cut};
use crate::heads::{Head, JobHeads};
use crate::series::Series;
use crate::{BlobRead, Engine, Grant, Refused};

/// Series of one envelope query.
const SERIES: usize = 200;
/// Buckets of one series.
const BUCKETS: u32 = 10_000;
/// Buckets of all series of one query, which take 100 bytes each while they are filled.
const ALL_BUCKETS: usize = 400_000;

/// One page of exact points as columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointsPage {
    /// Steps.
    pub x: Vec<f64>,
    /// Values, bit for bit as they were sent.
    pub y: Vec<f64>,
    /// Microseconds since the epoch.
    pub time: Vec<i64>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

impl Engine {
    /// Exact points of a numeric channel.
    ///
    /// A cursor stands for the last point of its page, so pages neither repeat nor miss a point that was there when the
    /// first was read; points that arrive meanwhile are read if they lie behind the cursor.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownChannel`], [`Refused::ChannelKindDiffers`], [`Refused::Field`] for a limit or cursor that is none.
    pub async fn read_points(
        &self,
        grant: &Grant,
        job: &JobRef,
        channel: &ChannelName,
        query: &PointsQuery,
    ) -> Result<PointsPage, Refused> {
        let asked = points::Asked::read(query)?;
        let (cell, heads) = self.find_read(grant, job).await?;
        cell.unless_gone(points::page(&self.series(&heads, channel)?, &asked).await)
    }

    /// Envelopes of numeric channels, in the asked order.
    ///
    /// Cost: some ten summaries a bucket, however many points there are; points one by one only at the ends of the range.
    /// Where x did not arrive in order, also where summaries overlap the edges of buckets.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownJob`], [`Refused::UnknownChannel`], [`Refused::ChannelKindDiffers`] for the first series that is
    /// none; [`Refused::Field`] for a range or number of buckets that cannot be.
    pub async fn read_envelopes(
        &self,
        grant: &Grant,
        query: &EnvelopeQuery,
    ) -> Result<Vec<Envelope>, Refused> {
        if query.series.is_empty() || query.series.len() > SERIES {
            return Err(Refused::field("series", "must name 1 to 200 series"));
        }
        if !(1..=BUCKETS).contains(&query.buckets) {
            return Err(Refused::field("buckets", "must be 1 to 10000"));
        }
        if query.series.len() * query.buckets as usize > ALL_BUCKETS {
            let most = ALL_BUCKETS / query.series.len();
            let why = format!("must be at most {most} for {} series", query.series.len());
            return Err(Refused::field("buckets", why));
        }
        points::check_range(query.from, query.to)?;
        let cut = Cut {
            axis: query.by,
            from: query.from,
            to: query.to,
            buckets: query.buckets,
            scale: query.scale,
            edges: query.edges,
        };
        let each = query.series.iter().map(|series| self.read_envelope(grant, series, cut));
        futures::future::try_join_all(each).await
    }

    async fn read_envelope(&self, grant: &Grant, series: &SeriesRef, cut: Cut) -> Result<Envelope, Refused> {
        let (cell, heads) = self.find_read(grant, &series.job).await?;
        let read = self.series(&heads, &series.channel)?;
        let buckets = cell.unless_gone(envelopes::read(&read, &cut).await)?;
        Ok(envelope_from_buckets(cell.id.clone(), series.channel.clone(), read.len(), &buckets))
    }

    /// A numeric channel as of now.
    fn series(&self, heads: &JobHeads, name: &ChannelName) -> Result<Series<'_>, Refused> {
        let inner = heads.lock();
        let (number, channel) = inner.find_channel(name)?;
        match &channel.head {
            Head::Numeric(head) => Ok(Series::new(&self.core, heads.uid, number, head.view())),
            _ => Err(kind_differs(name, channel.record.kind, ChannelKind::Numeric)),
        }
    }

    /// Lines of a text channel or log.
    ///
    /// A page ends after the asked number of lines, or after 4 MiB of text, or when a search has read 64 MiB, each line
    /// counted as 64 bytes more than it has; its `next` says where the following one begins.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownChannel`], [`Refused::ChannelKindDiffers`], [`Refused::Field`] for a limit that is none.
    pub async fn read_text(
        &self,
        grant: &Grant,
        job: &JobRef,
        channel: &ChannelName,
        query: &TextQuery,
    ) -> Result<Lines, Refused> {
        let (cell, heads) = self.find_read(grant, job).await?;
        let number = number_of_kind(&heads, channel, ChannelKind::Text)?;
        cell.unless_gone(lines::page(self.store(), &heads, number, query).await)
    }

    /// Bytes `offset ..` of a log, at most `limit` of them, exactly as they came. Empty beyond the end.
    ///
    /// Where the sender lost bytes, the stream goes on with those that came after them.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownChannel`]; [`Refused::Protocol`] for a text channel that is no log.
    pub async fn read_log(
        &self,
        grant: &Grant,
        job: &JobRef,
        channel: &ChannelName,
        offset: u64,
        limit: usize,
    ) -> Result<Bytes, Refused> {
        let (cell, heads) = self.find_read(grant, job).await?;
        let number = number_of_kind(&heads, channel, ChannelKind::Text)?;
        cell.unless_gone(lines::log_bytes(self.store(), &heads, number, offset, limit).await)
    }

    /// Images of a channel without their bytes.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownChannel`], [`Refused::ChannelKindDiffers`], [`Refused::Field`] for a limit that is none.
    pub async fn read_images(
        &self,
        grant: &Grant,
        job: &JobRef,
        channel: &ChannelName,
        query: &ImagesQuery,
    ) -> Result<Images, Refused> {
        let (cell, heads) = self.find_read(grant, job).await?;
        let number = number_of_kind(&heads, channel, ChannelKind::Image)?;
        cell.unless_gone(images::page(self.store(), &heads, number, query).await)
    }

    /// The stored file of one image.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownImage`]; [`Refused::UnknownBlob`] when its file was never uploaded to the project.
    pub async fn open_image(
        &self,
        grant: &Grant,
        job: &JobRef,
        channel: &ChannelName,
        index: u64,
    ) -> Result<(Digest, BlobRead), Refused> {
        let (cell, heads) = self.find_read(grant, job).await?;
        let number = number_of_kind(&heads, channel, ChannelKind::Image)?;
        let images = cell.unless_gone(images::from(self.store(), &heads, number, index, 1).await)?;
        let image = images.into_iter().next();
        let unknown = || Refused::UnknownImage { channel: channel.clone(), index };
        let digest = image.filter(|image| image.index == index).ok_or_else(unknown)?.digest;
        let blob = cell.unless_gone(self.open_blob(grant, &cell.id.project, &digest).await)?;
        Ok((digest, blob))
    }
}

fn number_of_kind(heads: &Arc<JobHeads>, name: &ChannelName, kind: ChannelKind) -> Result<u32, Refused> {
    let inner = heads.lock();
    let (number, channel) = inner.find_channel(name)?;
    if channel.record.kind == kind { Ok(number) } else { Err(kind_differs(name, channel.record.kind, kind)) }
}

fn kind_differs(channel: &ChannelName, exists: ChannelKind, asked: ChannelKind) -> Refused {
    Refused::ChannelKindDiffers { channel: channel.clone(), exists, asked }
}

fn envelope_from_buckets(job: JobId, channel: ChannelName, mark: u64, buckets: &[Bucket]) -> Envelope {
    let column = |value: fn(&Bucket) -> f64| buckets.iter().map(|bucket| Number(value(bucket))).collect();
    Envelope {
        job,
        channel,
        x_first: column(|bucket| bucket.key_first),
        x_last: column(|bucket| bucket.key_last),
        first: column(|bucket| bucket.first),
        last: column(|bucket| bucket.last),
        min: column(|bucket| bucket.min),
        max: column(|bucket| bucket.max),
        count: buckets.iter().map(|bucket| bucket.count).collect(),
        nan: buckets.iter().map(|bucket| bucket.nan).collect(),
        mark,
    }
}

#[cfg(test)]
mod tests;
