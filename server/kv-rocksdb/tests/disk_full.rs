//! On a disk that is full, commits are refused, reads go on, nothing acknowledged is lost, and it resumes by itself. One
//! that fails in another way is told apart.
//!
//! Each test starts itself again in a mount namespace of its own, with a small file system in memory to fill. That
//! takes root or user namespaces; where neither is, the test says that it did not run.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::{
    env,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{self, Command},
    time::{Duration, Instant},
};

use neptune_kv::{Batch, CommitError, Family, Key, KeyRange, Kv, KvRead, Scan};
use neptune_kv_conformance::run;
use neptune_kv_rocksdb::{OpenError, Options, RocksKv};
use nix::{
    libc, mount,
    sys::signal::{SigHandler, Signal, signal},
    sys::statvfs::statvfs,
};

/// Set for the child: an empty folder to mount on.
const FOLDER: &str = "KV_TEST_FOLDER";

const DISK_BYTES: u64 = 300 << 20;
const RESERVE_BYTES: u64 = 64 << 20;

/// RocksDB looks for room every five seconds; the machine may be busy.
const RESUMES_WITHIN: Duration = Duration::from_secs(60);

/// Runs `act` on a disk of [`DISK_BYTES`] of its own.
fn on_small_disk(test: &str, act: impl FnOnce(&Path)) {
    if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
        let size = format!("size={DISK_BYTES}");
        mount::mount(Some("tmpfs"), &folder, Some("tmpfs"), mount::MsFlags::empty(), Some(&*size)).unwrap();
        act(&folder);
        process::exit(0);
    }
    let Some(unshare) = [vec!["--mount"], vec!["--mount", "--map-root-user"]].into_iter().find(can_unshare)
    else {
        // Past the capture of output: nobody should believe that it ran.
        let text =
            format!("test {test} DID NOT RUN: neither root nor user namespaces to mount a small disk in\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("unshare");
    child.args(unshare).arg("--").arg(env::current_exe().unwrap()).args(["--exact", "--nocapture", test]);
    let output = child.env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

fn can_unshare(arguments: &Vec<&str>) -> bool {
    let script = "mount -t tmpfs none /mnt";
    let probe = Command::new("unshare").args(arguments).args(["--", "sh", "-c", script]).output();
    probe.is_ok_and(|output| output.status.success())
}

fn options(reserve_bytes: u64) -> Options {
    Options { reserve_bytes, ..Options::default() }
}

fn free_bytes(disk: &Path) -> u64 {
    let space = statvfs(disk).unwrap();
    space.blocks_available() * space.fragment_size()
}

/// Something else on the disk, that leaves `free` bytes.
fn fill_disk(disk: &Path, free: u64) -> PathBuf {
    let path = disk.join("somebody else's");
    let mut file = File::create(&path).unwrap();
    while free_bytes(disk) > free {
        let size = (free_bytes(disk) - free).min(1 << 20) as usize;
        match file.write_all(&vec![1; size]) {
            Err(error) if error.kind() == ErrorKind::StorageFull => break,
            other => other.unwrap(),
        }
    }
    path
}

fn key(number: u32) -> Key {
    Key::bulk(number.to_be_bytes().to_vec())
}

fn value(number: u32) -> Vec<u8> {
    // Numbers that do not compress.
    let mut state = u64::from(number) + 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    });
    words.take(7_000).flatten().collect()
}

/// Commits from `first` on until one is refused; the number of that one and why.
fn commit_until_refused(kv: &RocksKv, first: u32) -> (u32, CommitError) {
    let bound = first + (2 * DISK_BYTES / 56_000) as u32;
    for number in first..bound {
        if let Err(error) = run(kv.commit(Batch::new().put(key(number), value(number)))) {
            return (number, error);
        }
    }
    panic!("twice the size of the disk was accepted");
}

/// That `..count` are there with their values, and beyond them at most some of `unknown`.
fn check(kv: &RocksKv, count: u32, unknown: &[u32]) {
    run(async {
        let mut found = Vec::new();
        let mut next = Some(KeyRange::all(Family::Bulk));
        while let Some(range) = next {
            let page = kv.scan(Scan::ascending(range)).await.unwrap();
            for (key, stored) in page.rows {
                let number = u32::from_be_bytes(key[..].try_into().unwrap());
                assert!(stored == value(number), "value of {number}");
                found.push(number);
            }
            next = page.rest;
        }
        found.retain(|number| !unknown.contains(number));
        assert!(found.iter().copied().eq(0..count), "{} of {count} commits", found.len());
        assert_eq!(kv.get(&key(count / 2)).await.unwrap().unwrap(), value(count / 2));
    });
}

/// Commits `number` again and again until it is accepted.
fn commit_when_possible(kv: &RocksKv, number: u32) {
    let begin = Instant::now();
    loop {
        match run(kv.commit(Batch::new().put(key(number), value(number)))) {
            Ok(()) => return,
            Err(CommitError::ReadOnly) if begin.elapsed() < RESUMES_WITHIN => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("after {:?}: {error:?}", begin.elapsed()),
        }
    }
}

#[test]
fn commits_stop_at_the_reserve_and_go_on() {
    on_small_disk("commits_stop_at_the_reserve_and_go_on", |disk| {
        let kv = RocksKv::open(disk.join("store"), options(RESERVE_BYTES)).unwrap();
        let (first, error) = commit_until_refused(&kv, 0);
        assert!(matches!(error, CommitError::ReadOnly), "{error:?}");
        assert!(u64::from(first) * 56_000 > DISK_BYTES / 4, "only {first} commits on an empty disk");
        check(&kv, first, &[]);
        // Compaction gives back some room, which is used; whatever is refused leaves no trace.
        let mut next = first;
        for _ in 0..200 {
            match run(kv.commit(Batch::new().put(key(next), value(next)))) {
                Ok(()) => next += 1,
                Err(error) => assert!(matches!(error, CommitError::ReadOnly), "{error:?}"),
            }
            assert!(free_bytes(disk) > RESERVE_BYTES / 8, "the reserve is used up");
        }
        check(&kv, next, &[]);
        drop(kv);
        // The reserve is enough to open it.
        check(&RocksKv::open(disk.join("store"), options(RESERVE_BYTES)).unwrap(), next, &[]);
    });
}

#[test]
fn the_reserve_is_free_again_when_others_leave() {
    on_small_disk("the_reserve_is_free_again_when_others_leave", |disk| {
        let kv = RocksKv::open(disk.join("store"), options(RESERVE_BYTES)).unwrap();
        run(kv.commit(Batch::new().put(key(0), value(0)))).unwrap();
        let others = fill_disk(disk, RESERVE_BYTES - 1);
        let refused = run(kv.commit(Batch::new().put(key(1), value(1))));
        assert!(matches!(refused, Err(CommitError::ReadOnly)), "{refused:?}");
        // Making room by clearing is possible all the same.
        run(kv.clear(KeyRange::all(Family::Log))).unwrap();
        check(&kv, 1, &[]);
        fs::remove_file(others).unwrap();
        run(kv.commit(Batch::new().put(key(1), value(1)))).unwrap();
        check(&kv, 2, &[]);
    });
}

#[test]
fn a_disk_without_any_room_is_survived() {
    on_small_disk("a_disk_without_any_room_is_survived", |disk| {
        let kv = RocksKv::open(disk.join("store"), options(0)).unwrap();
        for number in 0..100 {
            run(kv.commit(Batch::new().put(key(number), value(number)))).unwrap();
        }
        let mut next = 100;
        let mut unknown = Vec::new();
        for round in 0..3 {
            // Each round leaves a little more, so that the log, a flush and a compaction meet the end of the disk.
            let others = fill_disk(disk, round * (10 << 20));
            let (refused, error) = commit_until_refused(&kv, next);
            assert!(matches!(error, CommitError::Unknown(_) | CommitError::ReadOnly), "{error:?}");
            if matches!(error, CommitError::Unknown(_)) {
                unknown.push(refused);
            }
            for _ in 0..20 {
                let again = run(kv.commit(Batch::new().put(key(refused + 1), value(refused + 1))));
                assert!(matches!(again, Err(CommitError::ReadOnly)), "round {round}: {again:?}");
            }
            check(&kv, refused, &unknown);
            fs::remove_file(others).unwrap();
            commit_when_possible(&kv, refused);
            unknown.clear();
            next = refused + 1;
            check(&kv, next, &[]);
        }
        drop(kv);
        check(&RocksKv::open(disk.join("store"), options(0)).unwrap(), next, &[]);
    });
}

#[test]
fn a_store_that_was_stopped_by_a_full_disk_opens_again() {
    on_small_disk("a_store_that_was_stopped_by_a_full_disk_opens_again", |disk| {
        let store = disk.join("store");
        let kv = RocksKv::open(&store, options(0)).unwrap();
        let (first, error) = commit_until_refused(&kv, 0);
        let unknown = if matches!(error, CommitError::Unknown(_)) { vec![first] } else { vec![] };
        drop(kv);
        let others = fill_disk(disk, 0);
        match RocksKv::open(&store, options(0)) {
            Err(OpenError::Io { cause, .. }) => {
                assert!(cause.to_string().contains("No space left"), "{cause}")
            }
            other => panic!("opened without any room: {other:?}"),
        }
        fs::remove_file(others).unwrap();
        // The store itself has filled the disk; whoever runs it makes room.
        let size = format!("size={}", 2 * DISK_BYTES);
        mount::mount(None::<&str>, disk, None::<&str>, mount::MsFlags::MS_REMOUNT, Some(&*size)).unwrap();
        let kv = RocksKv::open(&store, options(RESERVE_BYTES)).unwrap();
        check(&kv, first, &unknown);
        run(kv.commit(Batch::new().put(key(first), value(first)))).unwrap();
        check(&kv, first + 1, &[]);
    });
}

/// The largest file this process may write; beyond it a write fails, and not for want of room.
fn limit_files(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the signal's default, the death of the process, gives way to an error; the limit is a plain value.
    unsafe {
        signal(Signal::SIGXFSZ, SigHandler::SigIgn).unwrap();
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn a_disk_that_fails_is_told_apart_and_opened_again() {
    on_small_disk("a_disk_that_fails_is_told_apart_and_opened_again", |disk| {
        let kv = RocksKv::open(disk.join("store"), options(0)).unwrap();
        limit_files(4 << 20);
        let (first, error) = commit_until_refused(&kv, 0);
        assert!(first > 10 && matches!(error, CommitError::Unknown(_)), "{first}: {error:?}");
        limit_files(u64::MAX);
        // Whatever the disk would take now: only another start can know what it holds.
        for _ in 0..20 {
            let again = run(kv.commit(Batch::new().put(key(first + 1), value(first + 1))));
            assert!(matches!(again, Err(CommitError::Failed(_))), "{again:?}");
            let clear = run(kv.clear(KeyRange::all(Family::Log)));
            assert!(matches!(clear, Err(CommitError::Failed(_))), "{clear:?}");
        }
        check(&kv, first, &[first]);
        drop(kv);
        let kv = RocksKv::open(disk.join("store"), options(0)).unwrap();
        check(&kv, first, &[first]);
        run(kv.commit(Batch::new().put(key(first), value(first)))).unwrap();
        check(&kv, first + 1, &[]);
    });
}
