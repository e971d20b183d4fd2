//! Opening: one holder at a time, known formats only, and damage is named, never passed over.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this file is tests")]

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use neptune_kv::{Batch, Family, Key, KeyRange, Kv, KvRead, ReadError, Scan};
use neptune_kv_conformance::run;
use neptune_kv_rocksdb::{Durability, OpenError, Options, RocksKv};
use tempfile::TempDir;

/// Set for a child: the store to hold open until killed.
const HOLD: &str = "KV_TEST_HOLD";

fn open(store: &Path) -> Result<RocksKv, OpenError> {
    RocksKv::open(store, Options::default())
}

/// The error and its causes in one line, with the folder's path cut out.
fn refusal(store: &Path) -> String {
    let error = open(store).unwrap_err();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text.replace(store.to_str().unwrap(), "STORE")
}

/// A store with the numbers 0..1000 in every family, as a killed process leaves it: in files, the last hundred in the log.
fn filled(place: &TempDir) -> PathBuf {
    let store = place.path().join("open");
    // Unsynced, to be quick: nothing is killed here.
    let options = Options { durability: Durability::ProcessEnd, ..Options::default() };
    let kv = RocksKv::open(&store, options).unwrap();
    fill(&kv, 0..900);
    // Closing writes to files what is in memory.
    drop(kv);
    let kv = RocksKv::open(&store, options).unwrap();
    fill(&kv, 900..1000);
    copy(&store, place.path())
}

fn fill(kv: &RocksKv, numbers: std::ops::Range<u32>) {
    run(async {
        for number in numbers {
            let batch = Family::ALL.iter().fold(Batch::new(), |batch, &family| {
                batch.put(Key::new(family, number.to_be_bytes().to_vec()), format!("{number:>100}"))
            });
            kv.commit(batch).await.unwrap();
        }
    });
}

/// How many keys of a family are there, which must be the first ones; `Err` if damage is met.
fn count(kv: &RocksKv, family: Family) -> Result<usize, ReadError> {
    run(async {
        let page = kv.scan(Scan::ascending(KeyRange::all(family))).await?;
        for (number, (key, value)) in page.rows.iter().enumerate() {
            assert_eq!(key[..], (number as u32).to_be_bytes());
            assert_eq!(value[..], format!("{number:>100}").into_bytes());
        }
        Ok(page.rows.len())
    })
}

fn files(store: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// The log with the last hundred commits.
fn log(store: &Path) -> PathBuf {
    files(store, "log").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn flip_byte(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_has_one_holder() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let kv = open(&store).unwrap();
    assert_eq!(refusal(&store), format!("store STORE is held by process {}", process::id()));
    // A snapshot still reads from the files.
    let snapshot = run(kv.snapshot()).unwrap();
    drop(kv);
    assert!(matches!(open(&store), Err(OpenError::Held { pid: Some(_), .. })));
    drop(snapshot);
    drop(open(&store).unwrap());
}

#[test]
fn a_holder_is_named_and_a_dead_one_forgotten() {
    if let Some(store) = env::var_os(HOLD) {
        let _kv = open(Path::new(&store)).unwrap();
        println!("holding");
        loop {
            std::thread::park();
        }
    }
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "a_holder_is_named_and_a_dead_one_forgotten"])
        .env(HOLD, &store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("holding")), "the holder ended");
    assert_eq!(refusal(&store), format!("store STORE is held by process {}", holder.id()));
    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(open(&store).unwrap());
}

#[test]
fn a_folder_with_other_things_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("thesis.tex"), "").unwrap();
    let expected = "folder STORE is not a store and not empty, it has \"thesis.tex\"";
    assert_eq!(refusal(place.path()), expected);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_newer_store_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    fs::write(store.join("FORMAT"), "neptune-kv-rocksdb 2\n").unwrap();
    assert_eq!(refusal(&store), "store STORE has format 2, this version knows format 1: use a later version");
    fs::write(store.join("FORMAT"), "neptune-kv-rocksdb 1\n").unwrap();
    assert_eq!(count(&open(&store).unwrap(), Family::Bulk).unwrap(), 1000);

    let names = ["default", "state", "log", "bulk"];
    let mut rocks = rocksdb::DB::open_cf(&rocksdb::Options::default(), store.join("rocksdb"), names).unwrap();
    rocks.create_cf("paxos", &rocksdb::Options::default()).unwrap();
    drop(rocks);
    let expected = "store STORE has family paxos, this version knows state, log, bulk: use a later version";
    assert_eq!(refusal(&store), expected);
}

#[test]
fn a_creation_that_was_interrupted_is_completed() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    fs::remove_file(store.join("FORMAT")).unwrap();
    fs::write(store.join("FORMAT.draft"), "nept").unwrap();
    assert_eq!(count(&open(&store).unwrap(), Family::Log).unwrap(), 1000);
    assert_eq!(fs::read_to_string(store.join("FORMAT")).unwrap(), "neptune-kv-rocksdb 1\n");
}

#[test]
fn a_store_without_its_parts_is_damaged_not_empty() {
    for part in ["rocksdb", "rocksdb/CURRENT", "MANIFEST", "sst", "FORMAT's text"] {
        let place = tempfile::tempdir().unwrap();
        let store = filled(&place);
        match part {
            "rocksdb" => fs::remove_dir_all(store.join(part)).unwrap(),
            "sst" => fs::remove_file(&files(&store, "sst")[0]).unwrap(),
            "FORMAT's text" => fs::write(store.join("FORMAT"), "neptune-kv-rocksdb one").unwrap(),
            "MANIFEST" => {
                let current = fs::read_to_string(store.join("rocksdb/CURRENT")).unwrap();
                fs::remove_file(store.join("rocksdb").join(current.trim_end())).unwrap();
            }
            _ => fs::remove_file(store.join(part)).unwrap(),
        }
        let refusal = refusal(&store);
        assert!(refusal.starts_with("store STORE is damaged: "), "without {part}: {refusal}");
    }
}

#[test]
fn a_changed_manifest_is_damage() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    let current = fs::read_to_string(store.join("rocksdb/CURRENT")).unwrap();
    flip_byte(&store.join("rocksdb").join(current.trim_end()), 100);
    let refusal = refusal(&store);
    assert!(refusal.starts_with("store STORE is damaged: Corruption: "), "{refusal}");
}

#[test]
fn a_changed_block_is_damage_where_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    // Each family's first file; the beginning of a file is a block of rows.
    for file in files(&store, "sst") {
        flip_byte(&file, 50);
    }
    let kv = open(&store).unwrap();
    for family in Family::ALL {
        let read = run(kv.get(&Key::new(family, 0_u32.to_be_bytes().to_vec())));
        assert!(matches!(read, Err(ReadError::Corrupt { family: named, .. }) if named == family), "{read:?}");
        let scanned = count(&kv, family);
        assert!(matches!(scanned, Err(ReadError::Corrupt { .. })), "{scanned:?}");
        let condition = Batch::new().expect_absent(Key::new(family, 0_u32.to_be_bytes().to_vec()));
        let committed = run(kv.commit(condition));
        assert!(matches!(committed, Err(neptune_kv::CommitError::Read(_))), "{committed:?}");
    }
}

#[test]
fn an_unfinished_commit_at_the_end_of_the_log_is_cut() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    let path = log(&store);
    let bytes = fs::read(&path).unwrap();
    for missing in [1, 7, 100, 300, 400] {
        fs::write(&path, &bytes[..bytes.len() - missing]).unwrap();
        let copy = copy(&store, place.path());
        let kv = open(&copy).unwrap();
        let counts = Family::ALL.map(|family| count(&kv, family).unwrap());
        // A record holds 3 x (4 + 100) bytes and some.
        let expected = 1000 - missing.div_ceil(350);
        assert_eq!(counts, [expected; 3], "{missing} bytes missing");
    }
    // A page of the last record that never arrived.
    let mut torn = bytes.clone();
    let end = torn.len();
    torn[end - 200..end - 50].fill(0);
    fs::write(&path, &torn).unwrap();
    let kv = open(&copy(&store, place.path())).unwrap();
    assert_eq!(Family::ALL.map(|family| count(&kv, family).unwrap()), [999; 3]);
}

#[test]
fn a_broken_place_within_the_log_is_damage() {
    let place = tempfile::tempdir().unwrap();
    let store = filled(&place);
    let path = log(&store);
    let size = fs::metadata(&path).unwrap().len() as usize;
    for byte in [4, 5, 6, 20, size / 2, size - 1000] {
        let copy = copy(&store, place.path());
        flip_byte(&copy.join("rocksdb").join(path.file_name().unwrap()), byte);
        let refusal = refusal(&copy);
        assert!(refusal.starts_with("store STORE is damaged: log "), "byte {byte}: {refusal}");
    }
}

fn copy(store: &Path, place: &Path) -> PathBuf {
    let copy = tempfile::tempdir_in(place).unwrap().keep().join("store");
    fs::create_dir_all(copy.join("rocksdb")).unwrap();
    for folder in ["", "rocksdb"] {
        for entry in fs::read_dir(store.join(folder)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, copy.join(folder).join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}
