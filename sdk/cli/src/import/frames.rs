//! Frames of an imported job, and the requests that carry them. The same export makes the same requests under the same keys,
//! so that the server knows what it has.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use neptune_client::rest::{BlobSource, Rest};
use neptune_wire::frame::{FRAME_BYTES, FrameBuilder, ImageRecord};
use neptune_wire::life::ImportFramesQuery;
use neptune_wire::problem::Code;
use neptune_wire::{Digest, JobRef, ProjectKey, SessionId};

use super::there::There;
use crate::error::CliError;
use crate::parcel::{self, Parcel};
use crate::tables::{Column, TableReader};

/// A request is sent once it has so many bytes; with what one step adds it stays below the server's 900 KiB.
const REQUEST_BYTES: usize = 512 << 10;
/// Points of one step: at 24 bytes each a few frames.
const STEP_POINTS: usize = 10_000;
/// So often the images of one request are uploaded again, should the server have let go of them.
const UPLOADS: u32 = 3;
/// Whose frames they are: the server's own.
const SESSION: SessionId = SessionId::from_bytes([0; 16]);

/// The files of an export's blobs, and where they go.
#[derive(Clone, Copy)]
pub(super) struct Blobs<'a> {
    pub(super) rest: &'a Rest,
    pub(super) parcel: &'a Parcel,
    pub(super) project: &'a ProjectKey,
}

/// What frames hold.
#[derive(Default)]
struct Holds {
    /// Points of all channels but logs.
    points: u64,
    images: Vec<Digest>,
}

pub(super) struct Frames<'a> {
    blobs: Blobs<'a>,
    job: JobRef,
    /// What all keys begin with.
    keys: String,
    /// Points behind which the next request goes on; logs do not count.
    behind: u64,
    open: FrameBuilder,
    open_holds: Holds,
    request: Vec<u8>,
    request_holds: Holds,
    requests: u64,
    /// Counts points that were not there before.
    new: &'a mut u64,
}

impl Blobs<'_> {
    async fn upload(&self, digests: &[Digest]) -> Result<(), CliError> {
        for digest in digests {
            let source = BlobSource::File(self.parcel.path(&parcel::blob(digest))?);
            self.rest.put_blob(self.project, *digest, &source).await?;
        }
        Ok(())
    }
}

impl<'a> Frames<'a> {
    /// Frames that go on behind what is there.
    pub(super) fn new(blobs: Blobs<'a>, job: JobRef, there: &There, new: &'a mut u64) -> Frames<'a> {
        Frames {
            blobs,
            job,
            keys: there.keys(),
            behind: there.count(),
            open: FrameBuilder::new(SESSION, 1),
            open_holds: Holds::default(),
            request: vec![],
            request_holds: Holds::default(),
            requests: 0,
            new,
        }
    }

    pub(super) async fn push_numbers(&mut self, channel: u32, rows: &[Column]) -> Result<(), CliError> {
        let (x, y, time) = (rows[0].doubles(), rows[1].doubles(), rows[2].integers());
        let mut at = 0;
        while at < x.len() {
            let end = x.len().min(at + STEP_POINTS);
            while at < end {
                at += self.push_points(|frame| {
                    frame.push_numeric(channel, &x[at..end], &y[at..end], &time[at..end])
                })?;
            }
            self.send_if_full().await?;
        }
        Ok(())
    }

    pub(super) async fn push_texts(&mut self, channel: u32, rows: &[Column]) -> Result<(), CliError> {
        let (x, time, continues) = (rows[0].doubles(), rows[1].integers(), rows[3].flags());
        for (at, text) in rows[2].texts().iter().enumerate() {
            self.push_points(|frame| {
                usize::from(frame.push_text(channel, x[at], time[at], text, continues[at]))
            })?;
            self.send_if_full().await?;
        }
        Ok(())
    }

    pub(super) async fn push_images(&mut self, channel: u32, rows: &[Column]) -> Result<(), CliError> {
        let wrong = |what: &str| CliError::refused(format_args!("an image has no {what} that can be"));
        let digests: Result<Vec<Digest>, _> = rows[7].texts().iter().map(|digest| digest.parse()).collect();
        let digests = digests.map_err(|_| wrong("digest"))?;
        self.blobs.upload(&digests).await?;
        for (at, digest) in digests.into_iter().enumerate() {
            let integer = |column: usize| rows[column].integers()[at];
            let image = ImageRecord {
                x: rows[0].doubles()[at],
                time: integer(1),
                name: rows[2].texts()[at].clone(),
                description: rows[3].texts()[at].clone(),
                width: integer(4).try_into().map_err(|_| wrong("width"))?,
                height: integer(5).try_into().map_err(|_| wrong("height"))?,
                size_bytes: integer(6).try_into().map_err(|_| wrong("size"))?,
                digest,
            };
            self.push_points(|frame| usize::from(frame.push_image(channel, &image)))?;
            self.open_holds.images.push(digest);
            self.send_if_full().await?;
        }
        Ok(())
    }

    /// A log, from so many of its bytes on: lines of one time are one block, as far as a frame goes.
    pub(super) async fn push_log(
        &mut self,
        channel: u32,
        mut lines: TableReader,
        log: &Path,
        stored: u64,
    ) -> Result<(), CliError> {
        let failed = |error| CliError::file(log, &error);
        let mut file = File::open(log).map_err(failed)?;
        // By the writer's count, which has the lost bytes in it, and by that of the file.
        let (mut offset, mut read) = (0_u64, 0_u64);
        let mut bytes = Vec::new();
        while let Some(rows) = lines.read()? {
            let (x, time) = (rows[0].doubles(), rows[1].integers());
            let (lengths, lost) = (rows[2].integers(), rows[3].integers());
            let mut at = 0;
            while at < x.len() {
                offset = offset.saturating_add(lost[at].try_into().unwrap_or(0));
                bytes.clear();
                let first = at;
                while at < x.len()
                    && (at == first || lost[at] == 0)
                    && (x[at].to_bits(), time[at]) == (x[first].to_bits(), time[first])
                    && bytes.len() < FRAME_BYTES
                {
                    let length = lengths[at].try_into().unwrap_or(0);
                    (&mut file).take(length).read_to_end(&mut bytes).map_err(failed)?;
                    at += 1;
                }
                let known = stored.saturating_sub(read).min(bytes.len() as u64);
                let mut taken = known as usize;
                while taken < bytes.len() {
                    let start = offset + taken as u64;
                    taken += self.push(|frame| {
                        frame.push_log(channel, start, x[first], time[first], &bytes[taken..])
                    })?;
                }
                offset += bytes.len() as u64;
                read += bytes.len() as u64;
                self.send_if_full().await?;
            }
        }
        Ok(())
    }

    /// Pushes points, not bytes of a log.
    fn push_points(&mut self, push: impl Fn(&mut FrameBuilder) -> usize) -> Result<usize, CliError> {
        let taken = self.push(push)?;
        self.open_holds.points += taken as u64;
        Ok(taken)
    }

    /// Pushes into the open frame, or into a new one when it is full; answers what `push` answers.
    fn push(&mut self, push: impl Fn(&mut FrameBuilder) -> usize) -> Result<usize, CliError> {
        let taken = push(&mut self.open);
        if taken > 0 {
            return Ok(taken);
        }
        self.close();
        match push(&mut self.open) {
            0 => Err(CliError::refused("a point of the export is larger than any point can be")),
            taken => Ok(taken),
        }
    }

    fn close(&mut self) {
        let full = std::mem::replace(&mut self.open, FrameBuilder::new(SESSION, 1)).finish();
        self.request.extend_from_slice(&(full.len() as u32).to_le_bytes());
        self.request.extend_from_slice(&full);
        let mut held = std::mem::take(&mut self.open_holds);
        self.request_holds.points += held.points;
        self.request_holds.images.append(&mut held.images);
    }

    async fn send_if_full(&mut self) -> Result<(), CliError> {
        if self.request.len() >= REQUEST_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), CliError> {
        self.requests += 1;
        let key = format!("{}{}", self.keys, self.requests);
        let frames = &std::mem::take(&mut self.request).into();
        let holds = std::mem::take(&mut self.request_holds);
        let place = ImportFramesQuery { behind: Some(self.behind) };
        let mut uploads = 0;
        let appended = loop {
            match self.blobs.rest.import_frames(&self.job, &key, &place, frames).await {
                Ok(appended) => break appended,
                // Removed since it was uploaded, with the last job that named it or by the collector.
                Err(error) if error.code() == Some(Code::UnknownBlob) && uploads < UPLOADS => {
                    uploads += 1;
                    self.blobs.upload(&holds.images).await?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.behind += holds.points;
        if !appended.repeated {
            *self.new += appended.points;
        }
        Ok(())
    }

    /// Sends what is left.
    pub(super) async fn finish(mut self) -> Result<(), CliError> {
        if !self.open.is_empty() {
            self.close();
        }
        if !self.request.is_empty() {
            self.send().await?;
        }
        Ok(())
    }
}
