//! After the program: its end reported, its last data sent, what is left named.
//!
//! Every wait here is bounded, and ends at once at a signal to the runner: what is left then waits in the job's folder.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use neptune_client::control::Control;
use neptune_client::folder::JobFolder;
use neptune_client::rest::{Blocking, Rest};
use neptune_client::sync::{SyncSettings, sync};
use neptune_client::writer::{Flushed, Writer};
use neptune_wire::control::Phase;
use neptune_wire::job::Exit;
use neptune_wire::{JobId, JobUid};

use super::{FIRST_ANSWER_WITHIN, Job, LaunchSettings, News, beat};
use crate::attempt::{Heard, Outcome};

/// How long the last data may take while the server takes it.
const FLUSH_WITHIN: Duration = Duration::from_secs(60);
/// How often it is told how much is left.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a server that took all data may take to record the end, and one that did not.
const FORGET_WITHIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// How long what the program itself spooled may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);
/// Between looks for a signal.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Of the person who waits for the rest: it ends with the first signal after the program's end.
pub(super) struct Patience {
    heard: Receiver<Heard>,
    over: bool,
}

impl Patience {
    pub(super) fn new(heard: Receiver<Heard>) -> Self {
        Self { heard, over: false }
    }

    fn is_over(&mut self) -> bool {
        // What the server wishes of a job that has ended is of no consequence.
        self.over |= self.heard.try_iter().any(|event| matches!(event, Heard::Signal(_)));
        self.over
    }

    /// Waits for a message; `None` when there is none within the time, or no patience.
    fn wait<T>(&mut self, receiver: &Receiver<T>, within: Duration) -> Option<T> {
        let by = Instant::now() + within;
        while !self.is_over() && Instant::now() < by {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }
}

/// Reports the end and gives the folder up; answers the job's id, which a late registration may have given.
pub(super) fn finish(
    job: Job,
    outcome: Outcome,
    mut patience: Patience,
    settings: &LaunchSettings,
    tell: &mut dyn FnMut(News),
) -> (Option<JobId>, Exit) {
    let Job { uid, id, folder, writer, control, mut holding, .. } = job;
    let exit = outcome.exit;
    if let Some(folder) = &folder
        && let Err(error) = folder.record_exit(&exit)
    {
        tell(News::Note(format!("{}: {error}", folder.path().display())));
    }
    holding.exit = Some(exit.clone());
    beat(&control, &mut holding, Phase::Ended);
    let flushed = send_rest(writer, &mut patience, tell);
    let within = if flushed.all_acked { FORGET_WITHIN.0 } else { FORGET_WITHIN.1 };
    let forgotten = control.as_ref().is_some_and(|control| wait_forgotten(control, &mut patience, within));
    drop(control);
    let Some(folder) = folder else { return (id, exit) };
    let path = folder.path().to_path_buf();
    if give_up(folder, forgotten, tell) {
        return (id, exit);
    }
    // Left: what the program's own writers spooled, or all of a job that began without a server.
    let drained = if settings.offline { None } else { drain(uid, &mut patience, settings) };
    match drained {
        Some(synced) => (Some(synced), exit),
        None => {
            let points = (flushed.waiting_points > 0).then_some(flushed.waiting_points);
            tell(News::Waiting { folder: path, points });
            (id, exit)
        }
    }
}

/// Sends what is left and says, once a second, how much that is while the server takes it.
fn send_rest(writer: Writer, patience: &mut Patience, tell: &mut dyn FnMut(News)) -> Flushed {
    let writer = Arc::new(writer);
    let (sender, news) = mpsc::channel();
    let sending = Arc::clone(&writer);
    let send = move || {
        let deadline = Instant::now() + FLUSH_WITHIN;
        loop {
            let flushed = sending.flush(TELL_EVERY);
            let left = deadline.saturating_duration_since(Instant::now());
            if flushed.all_acked || left.is_zero() || !sending.stats().connected {
                let _ = sender.send((sending.close(left), true));
                return;
            }
            let _ = sender.send((flushed, false));
        }
    };
    if thread::Builder::new().name("neptune-close".into()).spawn(send).is_err() {
        return writer.close(FLUSH_WITHIN);
    }
    // The thread keeps to its time; a little more, for the disk.
    while let Some((flushed, is_last)) = patience.wait(&news, 2 * FLUSH_WITHIN) {
        if is_last {
            return flushed;
        }
        tell(News::Sending { points: flushed.waiting_points });
    }
    // To the disk at once; the thread ends with the process.
    writer.flush(Duration::ZERO)
}

fn wait_forgotten(control: &Control, patience: &mut Patience, within: Duration) -> bool {
    let by = Instant::now() + within;
    loop {
        let began = Instant::now();
        let left = if patience.is_over() { Duration::ZERO } else { by.saturating_duration_since(began) };
        let slice = left.min(LOOK_EVERY);
        // An attempt that was superseded is not waited for.
        if control.wait_forgotten(slice) || left.is_zero() || began.elapsed() < slice {
            return control.wait_forgotten(Duration::ZERO);
        }
    }
}

fn give_up(folder: JobFolder, forgotten: bool, tell: &mut dyn FnMut(News)) -> bool {
    let path = folder.path().to_path_buf();
    folder.finish(forgotten).unwrap_or_else(|error| {
        tell(News::Note(format!("{}: {error}", path.display())));
        false
    })
}

/// Uploads the job's folder, for a bounded time; answers the job's id when nothing of it is left here.
fn drain(uid: JobUid, patience: &mut Patience, settings: &LaunchSettings) -> Option<JobId> {
    if patience.is_over() {
        return None;
    }
    let settings = settings.clone();
    let (sender, done) = mpsc::channel();
    let upload = move || {
        let settings = answers(&settings).then(|| SyncSettings {
            root: settings.spool_root,
            only: Some(uid),
            access: settings.access,
            notices: settings.notices,
        });
        let report = settings.map(|settings| sync(&settings, &mut |_| {}));
        // After the time nobody listens; what was sent by then is not sent again.
        let _ = sender.send(report.and_then(Result::ok).and_then(|report| report.done.into_iter().next()));
    };
    thread::Builder::new().name("neptune-drain".into()).spawn(upload).ok()?;
    patience.wait(&done, DRAIN_WITHIN).flatten()
}

/// Whether the server is there.
fn answers(settings: &LaunchSettings) -> bool {
    let Ok(rest) = Rest::new(settings.access.clone()).and_then(Blocking::new) else { return false };
    let answer =
        rest.wait(async { tokio::time::timeout(FIRST_ANSWER_WITHIN, rest.rest().read_server()).await });
    matches!(answer, Ok(Ok(_)))
}
