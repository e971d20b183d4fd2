//! Jobs that were made without a server, uploaded later, interrupted, and uploaded again.

use std::fs;
use std::path::Path;

use neptune_client::rest::{BlobSource, digest_bytes};
use neptune_client::sync::{SyncError, SyncProgress, SyncSettings};
use neptune_client::{Access, ImageData, JobFolder, Notices, Writer, WriterSettings, sync};
use neptune_wire::job::{Exit, ExitKind, PatchJob};
use neptune_wire::snapshot::{File, Manifest, Mode};
use neptune_wire::{AttemptNumber, CreateChart, Micros};

use super::peer::Peer;
use super::support::{LONG, files, job_file, name, numeric, upload};

const EXIT: Exit =
    Exit { how: ExitKind::Code { code: 0 }, ended_micros: Micros(99), aborted: false, reason: None };

/// A whole job without a server: snapshot, numbers, texts, images, requests, exit.
fn work_offline(root: &Path) {
    let folder = JobFolder::create(root, job_file("http://127.0.0.1:1", false)).unwrap();
    let source = b"print(1)".to_vec();
    let file = File {
        path: "main.py".into(),
        digest: digest_bytes(&source),
        size_bytes: source.len() as u64,
        mode: Mode::File,
    };
    let find = |_| Some(BlobSource::Bytes(source.clone().into()));
    folder.store_snapshot(&Manifest { files: vec![file] }, find).unwrap();
    let uid = folder.file().create.uid.unwrap();
    let mut settings = WriterSettings::new(uid.into(), AttemptNumber(1), None, folder.path().to_owned());
    settings.limits.disk_free_bytes = 0;
    let writer = Writer::open(settings);
    let (loss, notes) = (numeric(&writer, "loss"), writer.open_text(&name("notes")).unwrap());
    let samples = writer.open_images(&name("samples")).unwrap();
    for x in 0..20_000 {
        loss.send(f64::from(x), f64::from(x % 7), Micros(5));
    }
    for i in 0..10_u8 {
        notes.send(None, &format!("line {i}"), Micros(6));
        samples.send(ImageData {
            // The first and the last are the same picture.
            bytes: vec![i % 9; 1_000].into(),
            x: None,
            time: Micros(7),
            width: 1,
            height: 1,
            name: String::new(),
            description: String::new(),
        });
    }
    writer.patch_job(PatchJob { name: Some("offline".into()), ..PatchJob::default() });
    writer.create_chart(CreateChart { name: "both".parse().unwrap(), series: vec![] });
    let flushed = writer.close(LONG);
    assert_eq!((flushed.all_acked, flushed.waiting_points), (false, 20_020));
    folder.record_exit(&EXIT).unwrap();
    assert!(!folder.finish(false).unwrap());
}

fn check(peer: &Peer) {
    assert!(peer.xs("loss") == (0..20_000).map(f64::from).collect::<Vec<_>>());
    assert_eq!(peer.texts("notes"), (0..10).map(|i| format!("line {i}")).collect::<Vec<_>>());
    let images = peer.images("samples");
    assert_eq!(
        images.iter().map(|image| image.0).collect::<Vec<_>>(),
        (1..=10).map(f64::from).collect::<Vec<_>>()
    );
    let state = peer.state();
    assert!(images.iter().all(|(_, digest)| state.blobs.contains_key(digest)));
    assert!(state.sessions.values().all(|kept| kept.closed));
    let sent = |part: &str| state.requests.iter().filter(|(.., body)| body.contains(part)).count();
    assert!(sent(r#""name":"offline""#) >= 1 && sent(r#""name":"both""#) >= 1);
    let claim = state.requests.iter().find(|(_, path, _)| path.ends_with("/attempts")).unwrap();
    assert!(
        claim.2.contains(r#""history":{"started_micros":3,"exit":{"how":{"kind":"code","code":0}"#),
        "{claim:?}"
    );
    let create =
        state.requests.iter().find(|(method, path, _)| method == "POST" && path.ends_with("/jobs")).unwrap();
    assert!(create.2.contains(r#""snapshot":""#), "{create:?}");
    let heads: Vec<_> = state.headers.iter().filter(|head| head.contains("/ingest")).collect();
    assert!(heads.iter().all(|head| head.contains("Bearer of-the-attempt")), "{heads:?}");
}

#[test]
fn an_offline_job_is_uploaded_whole() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let mut seen = vec![];
    let access = Access { url: peer.url(), token: None };
    let settings = SyncSettings { root: root.path().into(), only: None, access, notices: Notices::silent() };
    let report = sync(&settings, &mut |progress| seen.push(progress)).unwrap();
    assert!(report.failed.is_empty() && report.done.len() == 1, "{report:?}");
    assert!(matches!(seen.first(), Some(SyncProgress::Begun { bytes: 89_000.., .. })), "{seen:?}");
    assert!(matches!(seen.last(), Some(SyncProgress::Done { .. })), "{seen:?}");
    check(&peer);
    assert_eq!(files(root.path()), Vec::<String>::new());
    assert!(upload(&peer, root.path()).done.is_empty(), "there is nothing left");
}

/// To add a fixture: `NEPTUNE_NEW_FIXTURE=sdk/client/tests/fixtures/spool-vN cargo test -p neptune-client --test it fixture`.
#[test]
fn every_version_of_the_spool_is_uploaded() {
    if let Some(new) = std::env::var_os("NEPTUNE_NEW_FIXTURE") {
        work_offline(Path::new(&new));
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let versions: Vec<_> = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!versions.is_empty());
    for version in versions {
        let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
        copy_tree(&version, root.path());
        let report = upload(&peer, root.path());
        assert!(report.failed.is_empty() && report.done.len() == 1, "{}: {report:?}", version.display());
        check(&peer);
    }
}

#[test]
fn a_newer_version_is_refused_with_what_to_do() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let all = files(root.path());
    for name in ["session.json", "job.json"] {
        let path = all.iter().find(|file| file.ends_with(name)).unwrap();
        let text = fs::read_to_string(path).unwrap();
        fs::write(
            path,
            text.replacen("\"format\":1", "\"format\":2", 1).replacen("\"format\": 1", "\"format\": 2", 1),
        )
        .unwrap();
        let report = upload(&peer, root.path());
        assert!(report.failed[0].1.to_string().contains("upgrade Neptune"), "{name}: {report:?}");
    }
    assert_eq!(files(root.path()), all);
    assert_eq!(peer.state().sessions.len(), 0);
}

#[test]
fn a_folder_stays_while_a_writer_lives_that_has_not_spooled_yet() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    let folder = JobFolder::create(root.path(), job_file(&peer.url(), true)).unwrap();
    let path = folder.path().to_owned();
    let uid = folder.file().create.uid.unwrap();
    let open = || Writer::open(WriterSettings::new(uid.into(), AttemptNumber(1), None, path.clone()));
    // Of the program and of a child that outlives it.
    let (program, child) = (open(), open());
    numeric(&program, "loss").send(1.0, 1.0, Micros(0));
    program.close(LONG);
    folder.record_exit(&EXIT).unwrap();
    drop((program, folder));
    for _ in 0..2 {
        let report = upload(&peer, root.path());
        assert_eq!((&report.in_use[..], report.done.len()), (&[path.clone()][..], 0), "{report:?}");
        assert_eq!(peer.xs("loss"), [1.0], "what the program left is sent already");
    }
    numeric(&child, "loss").send(2.0, 1.0, Micros(0));
    child.close(LONG);
    assert_eq!(upload(&peer, root.path()).done.len(), 1);
    assert_eq!(peer.xs("loss"), [1.0, 2.0]);
    assert_eq!(files(root.path()), Vec::<String>::new());
}

#[test]
fn a_job_whose_program_goes_on_is_not_said_to_have_ended() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    let folder = JobFolder::create(root.path(), job_file(&peer.url(), false)).unwrap();
    let uid = folder.file().create.uid.unwrap();
    let writer = Writer::open(WriterSettings::new(uid.into(), AttemptNumber(1), None, folder.path().into()));
    drop(folder);
    assert_eq!(upload(&peer, root.path()).in_use.len(), 1);
    assert_eq!(peer.state().requests.len(), 0);
    drop(writer);
    assert_eq!(upload(&peer, root.path()).done.len(), 1);
}

#[test]
fn a_sync_that_breaks_anywhere_is_begun_again() {
    let (mut peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    peer.set(|faults| faults.break_chance = 0.4);
    let mut tries = 0;
    while upload(&peer, root.path()).done.is_empty() {
        tries += 1;
        assert!(tries < 50);
        peer.kill();
        peer.restart();
    }
    check(&peer);
    assert_eq!(files(root.path()), Vec::<String>::new());
}

/// As a sync leaves a folder that is killed after any acknowledgement: what was sent is all still there.
#[test]
fn what_was_sent_already_is_not_stored_again() {
    let (peer, root, copy) = (Peer::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    copy_tree(root.path(), copy.path());
    assert_eq!(upload(&peer, root.path()).done.len(), 1);
    assert_eq!(upload(&peer, copy.path()).done.len(), 1);
    check(&peer);
}

#[test]
fn a_torn_spool_gives_what_is_whole() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let frames: Vec<_> = files(root.path()).into_iter().filter(|file| file.contains("frames-")).collect();
    let largest = frames.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let length = fs::metadata(largest).unwrap().len();
    fs::File::options().write(true).open(largest).unwrap().set_len(length - 1000).unwrap();
    let report = upload(&peer, root.path());
    assert_eq!(report.done.len(), 1, "{report:?}");
    let xs = peer.xs("loss");
    assert!(xs.len() > 10_000 && xs.iter().enumerate().all(|(i, x)| *x == i as f64), "{}", xs.len());
}

#[test]
fn a_damaged_spool_costs_what_it_hits_and_says_so() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let frames: Vec<_> = files(root.path()).into_iter().filter(|file| file.contains("frames-")).collect();
    let largest = frames.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    bytes[50_000] ^= 0xff;
    fs::write(largest, bytes).unwrap();
    let report = upload(&peer, root.path());
    assert_eq!(report.done.len(), 1, "{report:?}");
    let xs = peer.xs("loss");
    assert!(xs.len() < 20_000 && xs.len() > 2_000 && xs.is_sorted(), "{}", xs.len());
    assert_eq!((peer.dropped(), xs.last()), (1, Some(&19_999.0)));
}

#[test]
fn a_program_without_an_end_is_said_to_have_been_killed() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let exit = files(root.path()).into_iter().find(|file| file.ends_with("exit.json")).unwrap();
    fs::remove_file(exit).unwrap();
    assert_eq!(upload(&peer, root.path()).done.len(), 1);
    let state = peer.state();
    let claim = state.requests.iter().find(|(_, path, _)| path.ends_with("/attempts")).unwrap();
    assert!(
        claim.2.contains(r#""kind":"signal","signal":9"#) && claim.2.contains("no end was recorded"),
        "{claim:?}"
    );
}

#[test]
fn folders_that_are_none_are_named() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    let job = files(root.path()).into_iter().find(|file| file.ends_with("job.json")).unwrap();
    fs::write(job, "{").unwrap();
    fs::create_dir(root.path().join("notes")).unwrap();
    fs::create_dir(root.path().join("01".repeat(16))).unwrap();
    let report = upload(&peer, root.path());
    assert!(matches!(&report.failed[..], [(_, SyncError::Damaged { .. })]), "{report:?}");
    assert!(report.done.is_empty() && report.in_use.is_empty());
}

#[test]
fn no_server_leaves_everything_where_it_is() {
    let (mut peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    work_offline(root.path());
    peer.kill();
    let before = files(root.path()).len();
    let report = upload(&peer, root.path());
    assert!(
        matches!(&report.failed[..], [(_, SyncError::Rest(error))] if error.is_temporary()),
        "{report:?}"
    );
    assert_eq!(files(root.path()).len(), before);
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
