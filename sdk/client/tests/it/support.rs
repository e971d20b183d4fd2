//! Waiting with a deadline, names, and programs that are killed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use neptune_client::folder::{JobFile, Registered};
use neptune_client::sync::SyncSettings;
use neptune_client::writer::Limits;
use neptune_client::{
    Access, Notices, NumericChannel, SyncReport, Writer, WriterSettings, new_claim_id, new_job_uid, sync,
};
use neptune_wire::{AttemptNumber, ChannelName, ChannelOrigin, Micros};

use super::peer::Peer;

pub const LONG: Duration = Duration::from_secs(30);

pub fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

/// `job.json` of a job that is registered, or not.
pub fn job_file(url: &str, registered: bool) -> JobFile {
    let create = serde_json::json!({"uid": new_job_uid(), "project": "TRIG", "name": "n"});
    let (id, token) = ("TRIG-12".parse().unwrap(), "of-the-attempt".into());
    let known = Registered { id, attempt: AttemptNumber(1), token };
    JobFile {
        url: url.into(),
        create: serde_json::from_value(create).unwrap(),
        project_name: None,
        project_by_name: false,
        claim: new_claim_id(),
        host: None,
        started_micros: Some(Micros(3)),
        registered: registered.then_some(known),
    }
}

/// Settings of a writer of `TRIG-12`; notices are collected.
pub fn settings(url: &str, spool: &Path) -> (WriterSettings, Arc<Mutex<Vec<String>>>) {
    let access = Access { url: url.into(), token: Some("secret".into()) };
    let mut settings =
        WriterSettings::new("TRIG-12".parse().unwrap(), AttemptNumber(1), Some(access), spool.into());
    // The disk of a test machine may be nearly full, which is not what most tests are about.
    settings.limits = Limits { disk_free_bytes: 0, ..Limits::default() };
    let told = Arc::new(Mutex::new(vec![]));
    let hook = Arc::clone(&told);
    settings.notices = Notices::to(move |notice| hook.lock().unwrap().push(notice.to_string()));
    (settings, told)
}

pub fn numeric(writer: &Writer, channel: &str) -> NumericChannel {
    writer.open_numeric(&name(channel), ChannelOrigin::User).unwrap()
}

/// Syncs everything under a root.
pub fn upload(peer: &Peer, root: &Path) -> SyncReport {
    let access = Access { url: peer.url(), token: None };
    let settings = SyncSettings { root: root.into(), only: None, access, notices: Notices::silent() };
    sync(&settings, &mut |_| {}).unwrap()
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Files under a folder.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => found.push(path.display().to_string()),
            }
        }
    }
    found
}
