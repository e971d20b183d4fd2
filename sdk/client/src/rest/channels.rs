//! Channels, their points, lines and images, and charts.

use neptune_wire::columns::{self, COLUMNS, Table};
use neptune_wire::query::{
    AppendPoints, Appended, Axis, Edges, EnvelopeQuery, Envelopes, Images, ImagesQuery, Lines, Points,
    PointsQuery, Scale, TextQuery,
};
use neptune_wire::{Channel, ChannelName, Chart, CreateChannel, CreateChart, JobRef};
use reqwest::{Method, RequestBuilder, header};

use super::{ANSWER_BYTES, Download, Rest, RestError};

impl Rest {
    /// Creates a channel, or answers the existing one of the same kind.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `channel-kind-differs`.
    pub async fn create_channel(&self, job: &JobRef, channel: &CreateChannel) -> Result<Channel, RestError> {
        self.answer(self.request_json(Method::POST, &["jobs", &job.to_string(), "channels"], channel)?).await
    }

    /// All channels of a job with their summaries.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-job`.
    pub async fn list_channels(&self, job: &JobRef) -> Result<Vec<Channel>, RestError> {
        self.answer(self.request(Method::GET, &["jobs", &job.to_string(), "channels"])?).await
    }

    /// Stores points as JSON, once per `key`; creates channels that do not exist.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`]; then none of the points is stored.
    pub async fn append_points(
        &self,
        job: &JobRef,
        key: &str,
        points: &AppendPoints,
    ) -> Result<Appended, RestError> {
        let request = self.request_json(Method::POST, &["jobs", &job.to_string(), "points"], points)?;
        self.answer(request.header("Idempotency-Key", key)).await
    }

    /// One page of a numeric channel's points, exact but for the bits of a NaN (JSON).
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel`.
    pub async fn read_points(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        query: &PointsQuery,
    ) -> Result<Points, RestError> {
        self.answer(self.channel(job, channel, &["points"])?.query(query)).await
    }

    /// One page of a numeric channel's points as binary columns `x`, `y`, `time`, bit for bit; `next` is in the meta.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel`.
    pub async fn read_points_columns(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        query: &PointsQuery,
    ) -> Result<Table, RestError> {
        let request = self.channel(job, channel, &["points"])?.query(query).header(header::ACCEPT, COLUMNS);
        let mut tables = self.columns(request).await?;
        match tables.len() {
            1 => Ok(tables.remove(0)),
            count => Err(self.protocol(format!("{count} tables where one was asked for"))),
        }
    }

    /// Envelopes of up to 200 series.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel` or `unknown-job`.
    pub async fn read_envelopes(&self, query: &EnvelopeQuery) -> Result<Envelopes, RestError> {
        self.answer(self.envelope(query)?).await
    }

    /// The same as binary columns, one table per series.
    ///
    /// # Errors
    ///
    /// As [`Self::read_envelopes`].
    pub async fn read_envelopes_columns(&self, query: &EnvelopeQuery) -> Result<Vec<Table>, RestError> {
        self.columns(self.envelope(query)?.header(header::ACCEPT, COLUMNS)).await
    }

    /// Lines of a text channel or a log.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel`.
    pub async fn read_text(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        query: &TextQuery,
    ) -> Result<Lines, RestError> {
        self.answer(self.channel(job, channel, &["text"])?.query(query)).await
    }

    /// A log's bytes as they were written.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel`.
    pub async fn download_log(&self, job: &JobRef, channel: &ChannelName) -> Result<Download, RestError> {
        self.download(self.channel(job, channel, &["log"])?).await
    }

    /// Images of a channel, without their bytes.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-channel`.
    pub async fn read_images(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        query: &ImagesQuery,
    ) -> Result<Images, RestError> {
        self.answer(self.channel(job, channel, &["images"])?.query(query)).await
    }

    /// One image as PNG.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-image`.
    pub async fn download_image(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        index: u64,
    ) -> Result<Download, RestError> {
        self.download(self.channel(job, channel, &["images", &index.to_string()])?).await
    }

    /// Creates a chart, or answers the existing equal one.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `taken` when another chart has this name.
    pub async fn create_chart(&self, job: &JobRef, chart: &CreateChart) -> Result<Chart, RestError> {
        self.answer(self.request_json(Method::POST, &["jobs", &job.to_string(), "charts"], chart)?).await
    }

    /// The job's charts in the order of creation.
    ///
    /// # Errors
    ///
    /// [`RestError::Refused`] with `unknown-job`.
    pub async fn list_charts(&self, job: &JobRef) -> Result<Vec<Chart>, RestError> {
        self.answer(self.request(Method::GET, &["jobs", &job.to_string(), "charts"])?).await
    }

    fn channel(
        &self,
        job: &JobRef,
        channel: &ChannelName,
        rest: &[&str],
    ) -> Result<RequestBuilder, RestError> {
        let job = job.to_string();
        self.request(Method::GET, &[&["jobs", &job, "channels", channel.as_str()], rest].concat())
    }

    fn envelope(&self, query: &EnvelopeQuery) -> Result<RequestBuilder, RestError> {
        let series =
            query.series.iter().map(|series| ("series", format!("{}/{}", series.job, series.channel)));
        let mut pairs: Vec<(&str, String)> = series.collect();
        pairs.extend(query.from.map(|from| ("from", from.to_string())));
        pairs.extend(query.to.map(|to| ("to", to.to_string())));
        pairs.push(("buckets", query.buckets.to_string()));
        match query.by {
            Axis::X => {}
            Axis::Time => pairs.push(("by", "time".into())),
            Axis::Index => pairs.push(("by", "index".into())),
        }
        if query.scale == Scale::Log {
            pairs.push(("scale", "log".into()));
        }
        if query.edges == Edges::Even {
            pairs.push(("edges", "even".into()));
        }
        Ok(self.request(Method::GET, &["envelope"])?.query(&pairs))
    }

    async fn columns(&self, request: RequestBuilder) -> Result<Vec<Table>, RestError> {
        let response = self.send(request).await?;
        let body = self.body(response, ANSWER_BYTES).await?;
        columns::decode(&body).map_err(|error| self.protocol(error.to_string()))
    }
}
