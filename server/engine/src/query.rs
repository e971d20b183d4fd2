//! Questions about points, text and images.

use bytes::Bytes;
use neptune_wire::query::{Envelope, EnvelopeQuery, Images, ImagesQuery, Lines, PointsQuery, TextQuery};
use neptune_wire::{ChannelName, Digest, JobRef};

use crate::{BlobRead, Engine, Grant, Refused};

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
    pub async fn read_points(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _channel: &ChannelName,
        _query: &PointsQuery,
    ) -> Result<PointsPage, Refused> {
        todo!("query")
    }

    /// Envelopes of numeric channels, in the asked order; the computation is `crate::envelope::envelope`.
    pub async fn read_envelopes(
        &self,
        _grant: &Grant,
        _query: &EnvelopeQuery,
    ) -> Result<Vec<Envelope>, Refused> {
        todo!("query")
    }

    /// Lines of a text channel or log.
    pub async fn read_text(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _channel: &ChannelName,
        _query: &TextQuery,
    ) -> Result<Lines, Refused> {
        todo!("query")
    }

    /// Bytes `offset ..` of a log, at most `limit` of them, exactly as they came.
    pub async fn read_log(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _channel: &ChannelName,
        _offset: u64,
        _limit: usize,
    ) -> Result<Bytes, Refused> {
        todo!("query")
    }

    /// Images of a channel without their bytes.
    pub async fn read_images(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _channel: &ChannelName,
        _query: &ImagesQuery,
    ) -> Result<Images, Refused> {
        todo!("query")
    }

    /// The stored file of one image.
    pub async fn open_image(
        &self,
        _grant: &Grant,
        _job: &JobRef,
        _channel: &ChannelName,
        _index: u64,
    ) -> Result<(Digest, BlobRead), Refused> {
        todo!("query")
    }
}
