//! What the background thread does, one step at a time: without a server, and without the thread.

use neptune_wire::job::PatchJob;
use neptune_wire::{AttemptNumber, ChannelKind, ChannelName, ChannelOrigin};

use super::*;
use crate::notice::Notices;
use crate::writer::WriterSettings;
use crate::writer::buffer::{ENTRY_BYTES, LogPiece, Point};
use crate::writer::channel::Core;

fn offline(folder: &std::path::Path) -> Link {
    let job = "TRIG-1".parse().unwrap();
    let mut settings = WriterSettings::new(job, AttemptNumber(1), None, folder.into());
    settings.limits.disk_free_bytes = 0;
    settings.notices = Notices::silent();
    Link::new(Arc::new(Shared::new(settings)))
}

fn rename(name: &str) -> Request {
    Request::Patch(PatchJob { name: Some(name.into()), ..PatchJob::default() })
}

fn open_channel(link: &Link, name: &str, kind: ChannelKind, origin: ChannelOrigin) -> Arc<Core> {
    link.shared.open_channel(&ChannelName::new(name).unwrap(), kind, origin).unwrap()
}

/// The requests that a sync would send, were the process killed now.
fn on_disk(link: &Link) -> Vec<Request> {
    link.sessions[POINTS].spool().map_or(vec![], |spool| spool.read_requests().unwrap())
}

#[test]
fn a_request_that_was_never_on_disk_leaves_no_older_one_there() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut link = offline(folder.path());
    let push = |link: &mut Link, name| {
        link.shared.push_request(rename(name));
        link.run_errands(now);
    };
    push(&mut link, "a");
    push(&mut link, "b");
    link.spill(now);
    // One more comes, and goes out of memory, while those before it lie in the file.
    push(&mut link, "c");
    assert_eq!(on_disk(&link), [rename("a"), rename("b")]);
    link.take_done(Ok(Done::Request(Ok(()))));
    assert_eq!(on_disk(&link), [rename("a"), rename("b")], "repeating both comes to the same");
    link.take_done(Ok(Done::Request(Ok(()))));
    assert_eq!(on_disk(&link), [], "repeating b after c would undo c");
    push(&mut link, "d");
    link.take_done(Ok(Done::Request(Ok(()))));
    link.spill(now);
    assert_eq!(on_disk(&link), [rename("d")]);
    link.take_done(Ok(Done::Request(Ok(()))));
    assert_eq!(on_disk(&link), []);
    assert_eq!((link.requests_done, link.requests_on_disk), (4, 0));
}

#[test]
fn a_flush_waits_for_points_that_came_after_the_turn_began() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut link = offline(folder.path());
    let shared = Arc::clone(&link.shared);
    let core = open_channel(&link, "loss", ChannelKind::Numeric, ChannelOrigin::User);
    // A turn takes the points. Then a program sends one and flushes, and the same turn sees the flush.
    link.take_points(now);
    core.buffer().push(Point { x: 1.0, y: 1.0, time: 0 }, &shared.budget).unwrap();
    shared.mark_dirty(core.number);
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| shared.flush(Duration::from_secs(5)));
        while link.flushes.is_empty() {
            link.take_flushes(now);
        }
        assert_eq!(link.flushes[0].frames, [1]);
        link.finish_flushes(now);
        let flushed = flushed.join().unwrap();
        assert_eq!((flushed.all_acked, flushed.waiting_points), (false, 1));
    });
}

#[test]
fn what_a_log_lost_is_counted_whether_or_not_the_attempt_is_superseded() {
    for superseded in [false, true] {
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut link = offline(folder.path());
        let core = open_channel(&link, "sys/stdout", ChannelKind::Text, ChannelOrigin::Stdout);
        core.buffer().log.push(LogPiece { x: 0.0, time: 0, bytes: b"behind"[..].into(), lost_before: 100 });
        link.shared.budget.take(ENTRY_BYTES + 6);
        link.shared.mark_dirty(core.number);
        if superseded {
            link.connection = Connection::Stopped;
        }
        link.take_points(now);
        link.publish();
        let stats = link.shared.stats();
        assert_eq!((stats.sent_points, stats.dropped_points), (101, 100), "superseded: {superseded}");
        assert_eq!(stats.refused_points, u64::from(superseded));
    }
}
