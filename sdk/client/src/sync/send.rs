//! One session of a process that is gone: its frames, images and requests.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use neptune_wire::ingest::{IngestDown, IngestUp};
use neptune_wire::{AttemptNumber, Digest, JobUid, ProjectKey, SessionId};

use super::SyncError;
use crate::backoff::Backoff;
use crate::notice::{Notice, Notices};
use crate::rest::{Rest, RestError};
use crate::session::{Blobs, Heard, Session, Upload};
use crate::socket::Socket;
use crate::spool::Spool;
use crate::writer::Request;

/// Tries in a row without a single frame acknowledged; about ten seconds.
const TRIES: u32 = 5;

/// Whose session it is.
pub(super) struct Job<'a> {
    /// With the attempt's token.
    pub(super) rest: &'a Rest,
    pub(super) uid: JobUid,
    pub(super) attempt: AttemptNumber,
    pub(super) project: &'a ProjectKey,
}

/// Sends everything of a session and deletes its folder. Tells how many bytes are done with.
pub(super) async fn send_session(
    job: &Job<'_>,
    mut session: Session,
    notices: &Notices,
    progress: &mut dyn FnMut(u64),
) -> Result<(), SyncError> {
    let mut blobs = Blobs::default();
    if let Some(spool) = session.spool() {
        blobs.queue_all(spool)?;
    }
    let bytes = waiting(&session);
    let mut backoff = Backoff::new();
    let mut tries = 0;
    loop {
        let before = session.acked();
        let tell = &mut |left: u64| progress(bytes.saturating_sub(left));
        match converse(job, &mut session, &mut blobs, notices, tell).await {
            Ok(()) => break,
            Err(SyncError::Rest(error)) if error.is_temporary() => {
                tries = if session.acked() > before { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(error.into());
                }
                session.reset_connection();
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(error) => return Err(error),
        }
    }
    let Some(spool) = session.take_spool() else { return Ok(()) };
    for request in spool.read_requests::<Request>()? {
        match request.send(job.rest, &job.uid.into()).await {
            Err(RestError::Refused(problem)) if !RestError::Refused(problem.clone()).is_temporary() => {
                notices.say(Notice::RequestRefused { what: request.describe(), problem });
            }
            outcome => outcome?,
        }
    }
    spool.remove()?;
    progress(bytes);
    Ok(())
}

/// Bytes of a session on disk.
fn waiting(session: &Session) -> u64 {
    session.spool().map_or(0, Spool::bytes)
}

type Uploads<'a> = FuturesUnordered<BoxFuture<'a, (Digest, Result<(), RestError>)>>;

/// One connection, until the server has everything or the connection is of no more use.
async fn converse(
    job: &Job<'_>,
    session: &mut Session,
    blobs: &mut Blobs,
    notices: &Notices,
    progress: &mut dyn FnMut(u64),
) -> Result<(), SyncError> {
    let mut socket = Socket::connect(job.rest.access().clone()).await?;
    let mut uploads = Uploads::new();
    let mut link = Link { job, session, blobs, notices, progress };
    let outcome = link.exchange(&mut socket, &mut uploads).await;
    // What was under way when the connection broke is begun again.
    while let Some((digest, uploaded)) = uploads.next().await {
        settle(digest, uploaded, blobs, notices).unwrap_or(());
    }
    outcome
}

/// What one connection works on.
struct Link<'a, 'b> {
    job: &'a Job<'a>,
    session: &'b mut Session,
    blobs: &'b mut Blobs,
    notices: &'b Notices,
    progress: &'b mut dyn FnMut(u64),
}

impl<'a> Link<'a, '_> {
    async fn exchange(&mut self, socket: &mut Socket, uploads: &mut Uploads<'a>) -> Result<(), SyncError> {
        let (job, attempt) = (self.job, self.job.attempt);
        let open = |session: SessionId| IngestUp::OpenSession { session, job: job.uid.into(), attempt };
        let mut left = waiting(self.session);
        while !self.session.is_ended() {
            while let Some(Upload { digest, source }) = self.blobs.next_upload() {
                uploads.push(Box::pin(async move {
                    (digest, job.rest.put_blob(job.project, digest, &source).await)
                }));
            }
            let room = socket.send_session(self.session, self.blobs, &open, true)?;
            let outgoing = socket.outgoing.clone();
            tokio::select! {
                message = socket.next() => self.hear(message?)?,
                Some((digest, uploaded)) = uploads.next(), if !uploads.is_empty() => {
                    settle(digest, uploaded, self.blobs, self.notices)?;
                    self.session.unblock();
                }
                _ = outgoing.reserve(), if !room => {}
            }
            if waiting(self.session) < left {
                left = waiting(self.session);
                (self.progress)(left);
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: IngestDown) -> Result<(), SyncError> {
        if let IngestDown::Problem { problem, .. } = message {
            return Err(RestError::Refused(problem).into());
        }
        match self.session.hear(message) {
            Heard::Nothing | Heard::Ended | Heard::Opened { forgotten: 0 } => {}
            Heard::Opened { forgotten } => self.notices.say(Notice::ServerForgot { frames: forgotten }),
            Heard::ChannelsRefused(refused) => {
                for refused in refused {
                    if let Some(channel) = self.session.find_channel(refused.number) {
                        let (channel, problem) = (channel.name.clone(), refused.problem);
                        self.notices.say(Notice::ChannelRefused { channel, problem });
                    }
                }
            }
            Heard::FrameRefused(problem) => self.notices.say(Notice::FrameRefused { problem }),
            Heard::Reconnect(why) => {
                let url = self.job.rest.access().url.clone();
                return Err(RestError::Unreachable { url, why }.into());
            }
        }
        // Files of images stay to the end: frames that come later, or a later sync, may name them again.
        self.session.take_outcome();
        Ok(())
    }
}

fn settle(
    digest: Digest,
    uploaded: Result<(), RestError>,
    blobs: &mut Blobs,
    notices: &Notices,
) -> Result<(), SyncError> {
    match uploaded {
        Ok(()) => blobs.uploaded(digest),
        Err(error) if error.is_temporary() => {
            blobs.failed(digest);
            return Err(error.into());
        }
        Err(RestError::Refused(problem)) => {
            notices.say(Notice::ImageRefused { problem });
            blobs.refused(digest);
        }
        Err(RestError::File { .. }) => blobs.refused(digest),
        Err(error) => {
            blobs.failed(digest);
            return Err(error.into());
        }
    }
    Ok(())
}
