//! The forgetful disk forgets what it should, and nothing else.
//!
//! Each test starts itself again as a child under the layer, lets it act, and compares the image with what the model
//! in the crate's header says. The picture of an image is `path=content` for files, `path/` for folders.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this file is tests")]

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    num::NonZeroUsize,
    os::{fd::AsFd, unix::fs::FileExt, unix::fs::OpenOptionsExt},
    path::Path,
    process::{self, Command, Stdio},
};

use neptune_fault_fs::FaultFs;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Set for the child: the folder to act in.
const FOLDER: &str = "FAULT_FS_TEST_FOLDER";

/// Runs `act` in a child on a disk that holds the synced file `old=old`, and compares what is left.
#[track_caller]
fn check(test: &str, act: impl FnOnce(&Path), expected: &str) {
    if let Some(folder) = env::var_os(FOLDER) {
        act(Path::new(&folder));
        process::exit(0);
    }
    let place = tempfile::tempdir().unwrap();
    let disk = disk_with_old(place.path());
    let status = child(test, &disk, &place.path().join("data")).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");
    disk.materialise(&place.path().join("after")).unwrap();
    assert_eq!(picture(&place.path().join("after")), expected);
}

fn disk_with_old(place: &Path) -> FaultFs {
    fs::create_dir(place.join("data")).unwrap();
    fs::write(place.join("data/old"), "old").unwrap();
    FaultFs::new(place.join("data")).unwrap()
}

fn child(test: &str, disk: &FaultFs, folder: &Path) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "--nocapture", test]).envs(disk.command_env()).env(FOLDER, folder);
    child
}

fn picture(folder: &Path) -> String {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let picture = entries.iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            return format!("{name}/({})", picture(path));
        }
        let bytes = fs::read(path).unwrap();
        let text = bytes.escape_ascii().to_string();
        match bytes.first() {
            Some(first) if bytes.len() > 40 && bytes.iter().all(|byte| byte == first) => {
                format!("{name}={} x {first}", bytes.len())
            }
            _ => format!("{name}={text}"),
        }
    });
    picture.collect::<Vec<_>>().join(" ")
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn what_was_there_is_durable() {
    check("what_was_there_is_durable", |folder| drop(File::create(folder.join("x"))), "old=old");
}

#[test]
fn synced_bytes_stay_and_later_ones_go() {
    let act = |folder: &Path| {
        let mut file = File::create(folder.join("new")).unwrap();
        file.write_all(b"kept").unwrap();
        file.sync_data().unwrap();
        sync(folder);
        file.write_all(b" lost").unwrap();
        fs::write(folder.join("old"), "lost").unwrap();
    };
    check("synced_bytes_stay_and_later_ones_go", act, "new=kept old=old");
}

#[test]
fn each_sync_adds_what_came_since() {
    let act = |folder: &Path| {
        let mut file = OpenOptions::new().append(true).open(folder.join("old")).unwrap();
        for text in [" and", " newer", " and"] {
            file.write_all(text.as_bytes()).unwrap();
            file.sync_data().unwrap();
        }
        file.write_all(b" lost").unwrap();
    };
    check("each_sync_adds_what_came_since", act, "old=old and newer and");
}

#[test]
fn a_file_is_lost_without_its_name() {
    let act = |folder: &Path| {
        let mut file = File::create(folder.join("new")).unwrap();
        file.write_all(b"synced, but nobody knows where").unwrap();
        file.sync_all().unwrap();
    };
    check("a_file_is_lost_without_its_name", act, "old=old");
}

#[test]
fn a_name_without_its_file_is_empty() {
    let act = |folder: &Path| {
        fs::write(folder.join("new"), "lost").unwrap();
        sync(folder);
    };
    check("a_name_without_its_file_is_empty", act, "new= old=old");
}

#[test]
fn a_rename_is_durable_with_its_folder() {
    let act = |folder: &Path| {
        for (name, synced) in [("old", true), ("old", false)] {
            let mut file = File::create(folder.join("temporary")).unwrap();
            write!(file, "synced {synced}").unwrap();
            file.sync_all().unwrap();
            fs::rename(folder.join("temporary"), folder.join(name)).unwrap();
            if synced {
                sync(folder);
            }
        }
    };
    check("a_rename_is_durable_with_its_folder", act, "old=synced true");
}

#[test]
fn an_unsynced_unlink_is_undone() {
    check("an_unsynced_unlink_is_undone", |folder| fs::remove_file(folder.join("old")).unwrap(), "old=old");
}

#[test]
fn a_synced_unlink_stays() {
    let act = |folder: &Path| {
        fs::remove_file(folder.join("old")).unwrap();
        sync(folder);
    };
    check("a_synced_unlink_stays", act, "");
}

#[test]
fn bytes_in_the_middle_are_tracked() {
    let act = |folder: &Path| {
        let file = File::create(folder.join("new")).unwrap();
        sync(folder);
        file.write_all_at(b"aaaaaaaaaaaa", 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(b"bb", 2).unwrap();
        file.write_all_at(b"bb", 6).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(b"cc", 8).unwrap();
        (&file).seek(SeekFrom::Start(4)).unwrap();
        (&file).write_all(b"cc").unwrap();
    };
    check("bytes_in_the_middle_are_tracked", act, "new=aabbaabbaaaa old=old");
}

#[test]
fn a_length_is_durable_with_the_file() {
    let act = |folder: &Path| {
        let [cut, _, grown, recut, unsynced] = ["cut", "emptied", "grown", "recut", "unsynced"].map(|name| {
            let mut file = File::create(folder.join(name)).unwrap();
            file.write_all(b"1234").unwrap();
            file.sync_all().unwrap();
            file
        });
        sync(folder);
        cut.set_len(2).unwrap();
        cut.sync_data().unwrap();
        let emptied = File::create(folder.join("emptied")).unwrap();
        emptied.write_all_at(b"5", 3).unwrap();
        emptied.sync_data().unwrap();
        grown.set_len(6).unwrap();
        grown.sync_data().unwrap();
        recut.set_len(1).unwrap();
        recut.set_len(3).unwrap();
        recut.sync_data().unwrap();
        unsynced.set_len(1).unwrap();
    };
    let expected = r"cut=12 emptied=\x00\x00\x005 grown=1234\x00\x00 old=old recut=1\x00\x00 unsynced=1234";
    check("a_length_is_durable_with_the_file", act, expected);
}

#[test]
fn writes_under_dsync_need_no_sync() {
    let act = |folder: &Path| {
        let flags = nix::libc::O_DSYNC;
        let mut file = OpenOptions::new().append(true).custom_flags(flags).open(folder.join("old")).unwrap();
        file.write_all(b" and newer").unwrap();
    };
    check("writes_under_dsync_need_no_sync", act, "old=old and newer");
}

#[test]
fn mapped_bytes_are_durable_with_the_file() {
    let act = |folder: &Path| {
        for (name, synced) in [("kept", true), ("lost", false)] {
            let file =
                OpenOptions::new().read(true).write(true).create_new(true).open(folder.join(name)).unwrap();
            file.set_len(4).unwrap();
            file.sync_all().unwrap();
            let (size, flags) = (NonZeroUsize::new(4).unwrap(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
            // SAFETY: nobody else has this file, and the four bytes exist.
            unsafe {
                let bytes = mmap(None, size, flags, MapFlags::MAP_SHARED, file.as_fd(), 0).unwrap();
                bytes.cast::<[u8; 4]>().write(*b"data");
            }
            if synced {
                file.sync_data().unwrap();
            }
        }
        sync(folder);
    };
    check("mapped_bytes_are_durable_with_the_file", act, r"kept=data lost=\x00\x00\x00\x00 old=old");
}

#[test]
fn a_copy_by_the_kernel_is_tracked() {
    let act = |folder: &Path| {
        let copy = folder.join("copy");
        fs::write(&copy, "first").unwrap();
        sync(&copy);
        sync(folder);
        let mut from = File::open(folder.join("old")).unwrap();
        let mut to = OpenOptions::new().write(true).open(&copy).unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
        to.sync_data().unwrap();
    };
    check("a_copy_by_the_kernel_is_tracked", act, "copy=oldst old=old");
}

#[test]
fn folders_are_entries_of_their_folder() {
    let act = |folder: &Path| {
        for name in ["a/known", "a/b", "lost/b"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("file"), name).unwrap();
            sync(&folder.join(name).join("file"));
            sync(&folder.join(name));
        }
        sync(&folder.join("a"));
        sync(&folder.join("lost"));
        fs::remove_dir_all(folder.join("a/known")).unwrap();
        fs::rename(folder.join("lost"), folder.join("moved")).unwrap();
        sync(folder);
        fs::rename(folder.join("moved"), folder.join("lost again")).unwrap();
    };
    let expected = "a/(b/(file=a/b) known/(file=a/known)) moved/(b/(file=lost/b)) old=old";
    check("folders_are_entries_of_their_folder", act, expected);
}

#[test]
fn links_share_their_file() {
    let act = |folder: &Path| {
        fs::hard_link(folder.join("old"), folder.join("link")).unwrap();
        sync(folder);
        let mut file = OpenOptions::new().append(true).open(folder.join("link")).unwrap();
        file.write_all(b"er").unwrap();
        file.sync_data().unwrap();
    };
    check("links_share_their_file", act, "link=older old=older");
}

#[test]
fn a_used_inode_begins_anew() {
    let act = |folder: &Path| {
        for round in 0..20 {
            let path = folder.join(round.to_string());
            fs::write(&path, "earlier").unwrap();
            sync(&path);
            fs::remove_file(&path).unwrap();
        }
        let mut file = File::create(folder.join("new")).unwrap();
        sync(folder);
        file.write_all(b"lost").unwrap();
    };
    check("a_used_inode_begins_anew", act, "new= old=old");
}

#[test]
fn threads_may_share_a_file() {
    let act = |folder: &Path| {
        let file = File::create(folder.join("new")).unwrap();
        file.set_len(800_000).unwrap();
        file.sync_all().unwrap();
        sync(folder);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        (&file).write_all(&[7; 500]).unwrap();
                        file.sync_data().unwrap();
                    }
                });
            }
        });
        file.write_all_at(b"lost", 1000).unwrap();
    };
    check("threads_may_share_a_file", act, "new=800000 x 7 old=old");
}

#[test]
fn other_programs_are_watched_too() {
    let act = |folder: &Path| {
        let script = "printf new > new; truncate -s 5 old; dd if=/dev/zero bs=4 count=1 conv=fsync of=zero status=none; \
                      sync new .; printf lost >> new; mv old lost";
        let status = Command::new("sh").args(["-ec", script]).current_dir(folder).status().unwrap();
        assert!(status.success());
    };
    check("other_programs_are_watched_too", act, r"new=new old=old zero=\x00\x00\x00\x00");
}

#[test]
fn a_test_without_the_layer_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let disk = disk_with_old(place.path());
    let error = disk.materialise(&place.path().join("after")).unwrap_err();
    assert!(error.to_string().contains("no program touched"), "{error}");
}

#[test]
fn torn_files_keep_all_synced_pages() {
    const PAGES: usize = 64;
    let act = |folder: &Path| {
        let mut file = File::create(folder.join("pages")).unwrap();
        file.write_all(&vec![1; PAGES * 4096]).unwrap();
        file.sync_all().unwrap();
        sync(folder);
        file.write_all(&vec![2; PAGES * 4096]).unwrap();
    };
    if let Some(folder) = env::var_os(FOLDER) {
        act(Path::new(&folder));
        process::exit(0);
    }
    let place = tempfile::tempdir().unwrap();
    let disk = disk_with_old(place.path());
    let mut child = child("torn_files_keep_all_synced_pages", &disk, &place.path().join("data"));
    assert!(child.stdout(Stdio::null()).status().unwrap().success());
    let mut sizes = Vec::new();
    for seed in 0..8 {
        let after = place.path().join(format!("after{seed}"));
        disk.materialise_torn(&after, seed).unwrap();
        assert_eq!(fs::read(after.join("old")).unwrap(), b"old");
        let bytes = fs::read(after.join("pages")).unwrap();
        let (synced, torn) = bytes.split_at(PAGES * 4096);
        assert!(synced.iter().all(|&byte| byte == 1));
        let news = torn.chunks(4096).filter(|page| page.iter().all(|&byte| byte == 2)).count();
        let zeros = torn.chunks(4096).filter(|page| page.iter().all(|&byte| byte == 0)).count();
        assert_eq!(news + zeros, torn.len() / 4096);
        assert!(news > PAGES / 4 && news < PAGES, "{news} new pages with seed {seed}");
        sizes.push(bytes.len());
    }
    sizes.dedup();
    assert!(sizes.len() > 1, "always {sizes:?} bytes");
}

/// A child that is killed at any moment has on disk all it said was synced; one that does not sync has not.
#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    let test = "what_was_acknowledged_before_a_kill_is_there";
    if let Some(folder) = env::var_os(FOLDER) {
        append_lines(Path::new(&folder), env::var_os("FAULT_FS_TEST_UNSYNCED").is_none());
    }
    for round in 0..5_u32 {
        let (acknowledged, durable) = kill_after(test, 50 + 37 * round, true);
        assert!(durable >= acknowledged, "round {round}: {acknowledged} acknowledged, {durable} durable");
        let (acknowledged, durable) = kill_after(test, 50 + 37 * round, false);
        assert!(durable == 0 && acknowledged >= 50, "nothing was synced, yet {durable} lines are durable");
    }
}

fn append_lines(folder: &Path, synced: bool) -> ! {
    let mut file = File::create(folder.join("lines")).unwrap();
    sync(folder);
    for number in 1_u32.. {
        writeln!(file, "{number}").unwrap();
        if synced {
            file.sync_data().unwrap();
        }
        println!("acknowledged {number}");
    }
    unreachable!("killed before")
}

/// The last line acknowledged before the kill, and how many are on disk after.
fn kill_after(test: &str, lines: u32, synced: bool) -> (u32, u32) {
    let place = tempfile::tempdir().unwrap();
    let disk = disk_with_old(place.path());
    let mut child = child(test, &disk, &place.path().join("data"));
    if !synced {
        child.env("FAULT_FS_TEST_UNSYNCED", "1");
    }
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = 0;
    for line in output {
        if let Some(number) = line.strip_prefix("acknowledged ") {
            acknowledged = number.parse().unwrap();
        }
        if acknowledged == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    disk.materialise(&place.path().join("after")).unwrap();
    let text = fs::read_to_string(place.path().join("after/lines")).unwrap();
    let durable: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(durable.iter().copied().eq(1..=durable.len() as u32), "{text}");
    (acknowledged, durable.len() as u32)
}
