//! What goes beside the frames: image files, patches and charts, and syncing the spool.

use std::io;
use std::time::Instant;

use neptune_wire::problem::Code;
use neptune_wire::{Digest, ProjectKey};
use tokio::task::JoinError;

use super::{Link, POINTS};
use crate::notice::Notice;
use crate::rest::RestError;
use crate::session::{Session, Upload};
use crate::writer::Request;

/// An errand that ended.
pub(super) enum Done {
    /// The oldest request.
    Request(Result<(), RestError>),
    /// An image's file.
    Blob(Digest, Result<(), RestError>),
    /// The project of the job, which blobs belong to.
    Project(Result<ProjectKey, RestError>),
    /// The spool is safe from a power loss.
    Synced(io::Result<()>),
}

impl Link {
    /// Starts what can be started. Requests keep their order: one at a time.
    pub(super) fn run_errands(&mut self, now: Instant) {
        let fresh = self.shared.take_requests();
        if self.requests.is_empty() && !fresh.is_empty() {
            self.requests_since = now;
        }
        self.requests.extend(fresh);
        if now < self.errands_after || self.away.is_some() {
            return;
        }
        let Some(rest) = self.rest.clone() else { return };
        let job = self.shared.settings.job.clone();
        if !self.request_runs
            && let Some(request) = self.requests.front().cloned()
        {
            self.clear_done_requests();
            self.request_runs = true;
            let (rest, job) = (rest.clone(), job.clone());
            self.tasks.spawn(async move { Done::Request(request.send(&rest, &job).await) });
        }
        while let Some(Upload { digest, source }) = self.blobs.next_upload() {
            let Some(project) = self.project.clone() else {
                self.blobs.failed(digest);
                if !self.project_asked {
                    self.project_asked = true;
                    self.tasks.spawn(async move {
                        Done::Project(rest.read_job(&job).await.map(|job| job.project))
                    });
                }
                return;
            };
            let rest = rest.clone();
            self.tasks
                .spawn(async move { Done::Blob(digest, rest.put_blob(&project, digest, &source).await) });
        }
    }

    pub(super) fn take_done(&mut self, done: Result<Done, JoinError>) {
        let now = Instant::now();
        match done {
            Ok(Done::Request(outcome)) => self.request_done(outcome, now),
            Ok(Done::Blob(digest, outcome)) => self.blob_done(digest, outcome, now),
            Ok(Done::Project(outcome)) => {
                self.project_asked = false;
                match outcome {
                    Ok(project) => self.project = Some(project),
                    Err(error) => self.errand_failed(&error, now),
                }
            }
            Ok(Done::Synced(outcome)) => {
                self.sync_runs = false;
                if let Err(error) = outcome {
                    let (spool, why) = (self.shared.settings.spool_dir.clone(), error.to_string());
                    self.shared.settings.notices.say(Notice::SpoolFailed { spool, why });
                }
            }
            // Tasks are not cancelled while the loop runs, and a panic in one has told of itself.
            Err(_) => {}
        }
        self.run_errands(now);
        self.finish_flushes(now);
    }

    fn request_done(&mut self, outcome: Result<(), RestError>, now: Instant) {
        self.request_runs = false;
        match outcome {
            Ok(()) => self.errands_backoff.reset(),
            Err(RestError::Refused(problem)) if problem.code == Code::Superseded => {
                return self.stop(problem);
            }
            Err(RestError::Refused(problem)) if is_final(problem.code) => {
                let what = self.requests.front().map(Request::describe).unwrap_or_default();
                self.shared.settings.notices.say(Notice::RequestRefused { what, problem });
            }
            Err(error) => return self.errand_failed(&error, now),
        }
        self.requests.pop_front();
        self.shared.request_done();
        self.requests_since = now;
        self.requests_done += 1;
        // The file is not shortened from the front: repeating all of it in order comes to the same. But it goes before
        // a request is sent that is not in it, which a repetition would undo.
        self.requests_on_disk = self.requests_on_disk.saturating_sub(1);
        self.clear_done_requests();
    }

    /// Deletes the file of requests when all in it are done. What fails is tried again before the next is sent.
    fn clear_done_requests(&mut self) {
        if self.requests_on_disk == 0
            && let Some(spool) = self.sessions[POINTS].spool_mut()
        {
            let _ = spool.clear_requests();
        }
    }

    fn blob_done(&mut self, digest: Digest, outcome: Result<(), RestError>, now: Instant) {
        match outcome {
            Ok(()) => {
                self.errands_backoff.reset();
                self.blobs.uploaded(digest);
            }
            Err(RestError::Refused(problem)) if problem.code == Code::Superseded => {
                return self.stop(problem);
            }
            Err(RestError::Refused(problem)) if is_final(problem.code) => {
                self.shared.settings.notices.say(Notice::ImageRefused { problem });
                self.blobs.refused(digest);
            }
            Err(RestError::File { source, .. }) => {
                let (spool, why) = (self.shared.settings.spool_dir.clone(), source.to_string());
                self.shared.settings.notices.say(Notice::SpoolFailed { spool, why });
                self.blobs.refused(digest);
            }
            Err(error) => {
                self.blobs.failed(digest);
                return self.errand_failed(&error, now);
            }
        }
        self.sessions.iter_mut().for_each(Session::unblock);
        self.settle_memory();
    }

    /// Tries again later; what is wrong is told by the connection, which meets the same server.
    fn errand_failed(&mut self, error: &RestError, now: Instant) {
        if let RestError::Refused(problem) = error
            && is_final(problem.code)
        {
            let spool = self.shared.settings.spool_dir.clone();
            self.shared.settings.notices.say(Notice::Refused { problem: problem.clone(), spool });
        }
        self.errands_after = now + self.errands_backoff.next_wait();
    }
}

/// Whether the same request would be refused again. A wrong token may become right.
fn is_final(code: Code) -> bool {
    !matches!(code, Code::Busy | Code::ReadOnly | Code::Internal | Code::Unauthorized | Code::Forbidden)
}
