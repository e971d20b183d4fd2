//! What the background thread does, one step at a time: without a server, and without the thread.

use neptune_wire::AttemptNumber;
use neptune_wire::job::PatchJob;

use super::*;
use crate::notice::Notices;
use crate::writer::WriterSettings;

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
