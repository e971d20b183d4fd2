//! After the program: its end reported, its last data sent, what is left named.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use neptune_client::folder::JobFolder;
use neptune_client::rest::{Blocking, Rest};
use neptune_client::sync::{SyncSettings, sync};
use neptune_client::writer::{Flushed, Writer};
use neptune_wire::control::Phase;
use neptune_wire::job::Exit;
use neptune_wire::{JobId, JobUid};

use super::{FIRST_ANSWER_WITHIN, Job, LaunchSettings, News, beat};
use crate::attempt::Outcome;

/// How long the last data may take while the server takes it.
const FLUSH_WITHIN: Duration = Duration::from_secs(60);
/// How often it is told how much is left.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a server that took all data may take to record the end, and one that did not.
const FORGET_WITHIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// How long what the program itself spooled may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// Reports the end and gives the folder up; answers the job's id, which a late registration may have given.
pub(super) fn finish(
    job: Job,
    outcome: Outcome,
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
    let flushed = send_rest(&writer, tell);
    let within = if flushed.all_acked { FORGET_WITHIN.0 } else { FORGET_WITHIN.1 };
    let forgotten = control.as_ref().is_some_and(|control| control.wait_forgotten(within));
    drop(control);
    let Some(folder) = folder else { return (id, exit) };
    let path = folder.path().to_path_buf();
    if give_up(folder, forgotten, tell) {
        return (id, exit);
    }
    // Left: what the program's own writers spooled, or all of a job that began without a server.
    let drained = if settings.offline { None } else { drain(uid, settings) };
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
fn send_rest(writer: &Writer, tell: &mut dyn FnMut(News)) -> Flushed {
    let deadline = Instant::now() + FLUSH_WITHIN;
    loop {
        let flushed = writer.flush(TELL_EVERY);
        let left = deadline.saturating_duration_since(Instant::now());
        if flushed.all_acked || left.is_zero() || !writer.stats().connected {
            return writer.close(left);
        }
        tell(News::Sending { points: flushed.waiting_points });
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
fn drain(uid: JobUid, settings: &LaunchSettings) -> Option<JobId> {
    if !answers(settings) {
        return None;
    }
    let settings = SyncSettings {
        root: settings.spool_root.clone(),
        only: Some(uid),
        access: settings.access.clone(),
        notices: settings.notices.clone(),
    };
    let (sender, done) = mpsc::channel();
    let upload = move || {
        let report = sync(&settings, &mut |_| {});
        // After the time nobody listens; what was sent by then is not sent again.
        let _ = sender.send(report.ok().and_then(|report| report.done.into_iter().next()));
    };
    thread::Builder::new().name("neptune-drain".into()).spawn(upload).ok()?;
    done.recv_timeout(DRAIN_WITHIN).ok().flatten()
}

/// Whether the server is there.
fn answers(settings: &LaunchSettings) -> bool {
    let Ok(rest) = Rest::new(settings.access.clone()).and_then(Blocking::new) else { return false };
    let answer =
        rest.wait(async { tokio::time::timeout(FIRST_ANSWER_WITHIN, rest.rest().read_server()).await });
    matches!(answer, Ok(Ok(_)))
}
