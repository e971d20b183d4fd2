//! Many at once: commits take effect one after the other, and reads see whole ones.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use neptune_kv::{Batch, CommitError, Family, Key, KeyRange, Kv, Scan};
use tokio::spawn;

use super::{rows, text};
use crate::{Place, long, run};

/// Writers at the same time, enough that some wait together.
const WRITERS: usize = 32;

/// Each of many writers expects the same and changes it; exactly one may, round after round.
pub fn of_conflicting_commits_one_wins<P: Place>(make: impl Fn() -> P) {
    let rounds = if long() { 200 } else { 20 };
    run(async {
        let place = make();
        let kv = place.open().await;
        let key = Key::state("claim");
        for round in 0..rounds {
            let attempts = (0..WRITERS).map(|writer| {
                let mark = Key::log(format!("{round}/{writer}"));
                let batch = match round {
                    0 => Batch::new().expect_absent(key.clone()),
                    _ => Batch::new().expect(key.clone(), format!("{}", round - 1)),
                };
                let (kv, batch) = (kv.clone(), batch.put(key.clone(), round.to_string()).put(mark, ""));
                spawn(async move { kv.commit(batch).await })
            });
            let answers = join_all(attempts).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
            let won = answers.iter().filter(|answer| answer.is_ok()).count();
            let lost =
                answers.iter().filter(|answer| matches!(answer, Err(CommitError::Conflict(_)))).count();
            assert_eq!((won, lost), (1, WRITERS - 1), "round {round}: {answers:?}");
            let marks = rows(&*kv, KeyRange::prefix(Family::Log, format!("{round}/"))).await;
            assert_eq!(marks.len(), 1, "round {round}: losers left {marks:?}");
        }
    });
}

/// Read, add one, commit if unchanged, else again: every success is one more.
pub fn no_increment_is_lost<P: Place>(make: impl Fn() -> P) {
    let increments = if long() { 100 } else { 10 };
    run(async {
        let place = make();
        let kv = place.open().await;
        let counter = Key::state("counter");
        kv.commit(Batch::new().put(counter.clone(), "0")).await.unwrap();
        let writers = (0..WRITERS / 4).map(|_| {
            let (kv, counter) = (kv.clone(), counter.clone());
            spawn(async move {
                for _ in 0..increments {
                    increment(&*kv, &counter).await;
                }
            })
        });
        join_all(writers).await.into_iter().for_each(Result::unwrap);
        assert_eq!(text(&*kv, &counter).await, (WRITERS / 4 * increments).to_string());
    });
}

async fn increment(kv: &dyn Kv, counter: &Key) {
    loop {
        let value = kv.get(counter).await.unwrap().unwrap();
        let next = std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap() + 1;
        match kv
            .commit(Batch::new().expect(counter.clone(), value).put(counter.clone(), next.to_string()))
            .await
        {
            Ok(()) => return,
            Err(CommitError::Conflict(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A writer keeps one number in several keys and families; no read ever sees two numbers.
pub fn a_reader_sees_whole_batches<P: Place>(make: impl Fn() -> P) {
    let reads = if long() { 2_000 } else { 100 };
    run(async {
        let place = make();
        let kv = place.open().await;
        let keys = Family::ALL.map(|family| ["a", "z"].map(|name| Key::new(family, name))).concat();
        kv.commit(numbered(&keys, 0)).await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let writer = spawn(write_until(done.clone(), kv.clone(), keys.clone()));
        let mut read = 0;
        while read < reads || writer_stands_still(&*kv, &keys).await {
            read_whole(&*kv, &keys).await;
            read += 1;
        }
        done.store(true, Ordering::Relaxed);
        writer.await.unwrap();
    });
}

fn numbered(keys: &[Key], number: u64) -> Batch {
    keys.iter().fold(Batch::new(), |batch, key| batch.put(key.clone(), number.to_string()))
}

async fn write_until(done: Arc<AtomicBool>, kv: Arc<dyn Kv>, keys: Vec<Key>) {
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        kv.commit(numbered(&keys, number)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn writer_stands_still(kv: &dyn Kv, keys: &[Key]) -> bool {
    tokio::task::yield_now().await;
    text(kv, &keys[0]).await == "0"
}

async fn read_whole(kv: &dyn Kv, keys: &[Key]) {
    // Often, for what can go wrong here takes a microsecond.
    for _ in 0..50 {
        let values = kv.get_many(keys).await.unwrap();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    }
    let snapshot = kv.snapshot().await.unwrap();
    let first = snapshot.get(&keys[0]).await.unwrap().unwrap();
    for family in Family::ALL {
        let page = kv.scan(Scan::ascending(KeyRange::all(family))).await.unwrap();
        assert!(page.rows.iter().all(|(_, value)| *value == page.rows[0].1), "{page:?}");
        let page = snapshot.scan(Scan::ascending(KeyRange::all(family))).await.unwrap();
        assert!(page.rows.iter().all(|(_, value)| *value == first), "{page:?}");
    }
}

/// Whoever stops waiting does not tear the batch apart, nor stop those who go on waiting.
pub fn a_dropped_commit_is_whole_or_absent<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        for number in 0..50_u8 {
            let keys = Family::ALL.map(|family| Key::new(family, vec![number]));
            let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(key.clone(), "value"));
            let mut commit = pin!(kv.commit(batch));
            // Polled once, then left; some backends are done by then.
            let _ = commit.as_mut().now_or_never();
        }
        // Commits take effect in order, so what may still come has come when this one has.
        let last = Key::state("last");
        kv.commit(Batch::new().put(last.clone(), "value")).await.unwrap();
        assert_eq!(text(&*kv, &last).await, "value");
        for number in 0..50_u8 {
            let keys = Family::ALL.map(|family| Key::new(family, vec![number]));
            let values: Vec<Option<Bytes>> = kv.get_many(&keys).await.unwrap();
            assert!(values.iter().all(|value| *value == values[0]), "{number}: {values:?}");
        }
    });
}
