//! Killed at any moment, with every unsynced write lost: what was acknowledged is there, and only whole batches.
//!
//! A child commits under `neptune-fault-fs` and prints each acknowledged number; it is killed, and the next child
//! goes on with what the loss of power left, so recoveries are recovered from too. `NEPTUNE_TEST_SEED=n` repeats a run
//! as far as a kill can be repeated.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this file is tests")]

use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use neptune_fault_fs::FaultFs;
use neptune_kv::{Batch, Family, Key, KeyRange, Kv, KvRead, Scan};
use neptune_kv_conformance::{long, run};
use neptune_kv_rocksdb::{Durability, Options, RocksKv};

/// Kills of one store, and stores: ten kills quick, a hundred long.
const KILLS: u32 = 10;
const CHAINS: u32 = 1;
const CHAINS_LONG: u32 = 10;

/// Each has keys of its own; together they make groups.
const WRITERS: u32 = 4;

/// Every so many commits, a writer clears what it wrote to the log before.
const CLEAR_EVERY: u32 = 40;

/// Set for the child.
const STORE: &str = "KV_TEST_STORE";
const UNSYNCED: &str = "KV_TEST_UNSYNCED";

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    run_child_if_asked();
    let chains = if long() { CHAINS_LONG } else { CHAINS };
    let mut chance = Chance::new();
    for chain in 1..=chains {
        let commits = lose_power_again_and_again(&mut chance);
        println!("chain {chain} of {chains}: {commits} commits acknowledged, none lost in {KILLS} kills");
    }
}

/// Kills child after child on one store; how many commits were acknowledged.
fn lose_power_again_and_again(chance: &mut Chance) -> u32 {
    let place = tempfile::tempdir().unwrap();
    let mut disk = place.path().join("0");
    let mut acknowledged = Acknowledged::default();
    for kill in 1..=KILLS {
        let before = acknowledged.total();
        let next = place.path().join(kill.to_string());
        let torn = (kill % 2 == 0).then(|| chance.below(u64::MAX));
        let commits = 20 + chance.below(1_200) as u32;
        lose_power(&disk, &next, commits, torn, Durability::PowerLoss, &mut acknowledged);
        std::fs::remove_dir_all(&disk).unwrap();
        disk = next;
        let lost = lost(&disk, &acknowledged);
        assert!(lost.is_empty(), "kill {kill}, torn by {torn:?}: {lost:?}");
        assert!(acknowledged.total() >= before + commits, "kill {kill}: the child did not get on");
    }
    acknowledged.total()
}

/// The test above can fail: without syncing, nearly all is lost to power, and nothing to the kill alone.
#[test]
fn without_syncing_it_does_not() {
    let place = tempfile::tempdir().unwrap();
    let (disk, after) = (place.path().join("disk"), place.path().join("after"));
    let mut acknowledged = Acknowledged::default();
    lose_power(&disk, &after, 200, None, Durability::ProcessEnd, &mut acknowledged);
    assert_eq!(lost(&disk, &acknowledged), [] as [String; 0]);
    let lost = lost(&after, &acknowledged);
    assert!(lost.len() > 100, "only {} of 200 commits are lost", lost.len());
}

/// What the child said, by writer: the last number committed, and below which the log was cleared.
#[derive(Debug, Default)]
struct Acknowledged {
    committed: BTreeMap<u32, u32>,
    cleared: BTreeMap<u32, u32>,
}

impl Acknowledged {
    fn total(&self) -> u32 {
        self.committed.values().sum()
    }

    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        if let [what @ ("committed" | "cleared"), writer, number] = words[..] {
            let (writer, number) = (writer.parse().unwrap(), number.parse().unwrap());
            let map = if what == "committed" { &mut self.committed } else { &mut self.cleared };
            assert!(map.insert(writer, number).is_none_or(|before| before < number), "{line}");
        }
    }
}

/// Lets a child commit on `disk` until it is killed, and writes what the loss of power leaves to `after`.
fn lose_power(
    disk: &Path,
    after: &Path,
    commits: u32,
    torn: Option<u64>,
    durability: Durability,
    acknowledged: &mut Acknowledged,
) {
    let fault = FaultFs::new(disk).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "--nocapture", "what_was_acknowledged_survives_the_loss_of_power"]);
    child.envs(fault.command_env()).env(STORE, disk.join("store")).stdout(Stdio::piped());
    if durability == Durability::ProcessEnd {
        child.env(UNSYNCED, "1");
    }
    let mut child = child.spawn().unwrap();
    let mut left = commits;
    // Lines that were printed before the kill are still read after it.
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        acknowledged.note(&line);
        left = left.saturating_sub(u32::from(line.starts_with("committed ")));
        if left == 0 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    match torn {
        Some(seed) => fault.materialise_torn(after, seed).unwrap(),
        None => fault.materialise(after).unwrap(),
    }
}

/// Opens the store on `disk` and says what is not as it was acknowledged.
fn lost(disk: &Path, acknowledged: &Acknowledged) -> Vec<String> {
    let kv = RocksKv::open(disk.join("store"), Options::default()).unwrap();
    let found = run(async {
        let mut found = BTreeMap::new();
        for family in Family::ALL {
            for (key, value) in rows(&kv, family).await {
                found.insert(Key::new(family, key), value);
            }
        }
        found
    });
    let mut lost = Vec::new();
    for writer in 0..WRITERS {
        let committed = acknowledged.committed.get(&writer).copied().unwrap_or(0);
        let cleared = acknowledged.cleared.get(&writer).copied().unwrap_or(0);
        let last = found.get(&last_key(writer)).map_or(0, number_of);
        for number in 1..=committed.max(last) {
            let in_family = |family| found.get(&key(family, writer, number));
            let [state, log, bulk] = Family::ALL.map(in_family);
            let whole = state == Some(&value(writer, number, 20))
                && bulk == Some(&value(writer, number, 30_000))
                // A clear that nobody was told of may have happened, but only of what may be cleared.
                && (log == Some(&value(writer, number, 3_000)) || (log.is_none() && number < last));
            if !whole || number > last {
                lost.push(format!("commit {number} of writer {writer}"));
            }
            if number < cleared && log.is_some() {
                lost.push(format!("clear of {number} by writer {writer}"));
            }
        }
        let beyond = Family::ALL.map(|family| found.get(&key(family, writer, last + 1)));
        assert_eq!(beyond, [None; 3], "parts of an unacknowledged commit of writer {writer} are there");
    }
    lost
}

async fn rows(kv: &RocksKv, family: Family) -> Vec<(Bytes, Bytes)> {
    let (mut rows, mut next) = (Vec::new(), Some(KeyRange::all(family)));
    while let Some(range) = next {
        let page = kv.scan(Scan::ascending(range)).await.unwrap();
        rows.extend(page.rows);
        next = page.rest;
    }
    rows
}

fn run_child_if_asked() {
    if let Some(store) = env::var_os(STORE) {
        // Ends the line that the test harness has begun.
        println!();
        run(commit_until_killed(PathBuf::from(store)));
    }
}

async fn commit_until_killed(store: PathBuf) {
    let synced = env::var_os(UNSYNCED).is_none();
    let durability = if synced { Durability::PowerLoss } else { Durability::ProcessEnd };
    let kv = Arc::new(RocksKv::open(store, Options { durability, ..Options::default() }).unwrap());
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(commit_as(writer, kv.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn commit_as(writer: u32, kv: Arc<RocksKv>) {
    let mut last = kv.get(&last_key(writer)).await.unwrap();
    for number in last.as_ref().map_or(0, number_of) + 1.. {
        let batch = Batch {
            expect: vec![(last_key(writer), last)],
            put: vec![
                (last_key(writer), Bytes::from(number.to_string())),
                (key(Family::State, writer, number), value(writer, number, 20)),
                (key(Family::Log, writer, number), value(writer, number, 3_000)),
                (key(Family::Bulk, writer, number), value(writer, number, 30_000)),
            ],
            delete: vec![],
        };
        kv.commit(batch).await.unwrap();
        println!("committed {writer} {number}");
        last = Some(Bytes::from(number.to_string()));
        if number.is_multiple_of(CLEAR_EVERY) {
            let (from, to) = (key(Family::Log, writer, 0), key(Family::Log, writer, number));
            kv.clear(KeyRange::new(Family::Log, from.bytes, to.bytes)).await.unwrap();
            println!("cleared {writer} {number}");
        }
    }
}

fn last_key(writer: u32) -> Key {
    Key::state(format!("last/{writer}"))
}

fn number_of(value: &Bytes) -> u32 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn key(family: Family, writer: u32, number: u32) -> Key {
    Key::new(family, format!("{writer}/{number:010}"))
}

/// Up to `size` bytes that do not compress and belong to this commit alone.
fn value(writer: u32, number: u32, size: u64) -> Bytes {
    let mut chance = Chance(u64::from(writer) << 32 | u64::from(number));
    let size = 1 + chance.below(size) as usize;
    let bytes = std::iter::repeat_with(|| chance.next().to_le_bytes()).flatten();
    bytes.take(size).collect::<Vec<u8>>().into()
}

/// Repeatable numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        let seed = env::var("NEPTUNE_TEST_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("NEPTUNE_TEST_SEED={seed}");
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
