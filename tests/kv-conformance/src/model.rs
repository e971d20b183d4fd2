//! The model: one sorted map, and histories of operations to compare with.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use neptune_kv::{Batch, CommitError, Family, Key, KeyRange, Kv, KvRead, Order, Page, Scan};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::Place;

/// Snapshots held at the same time.
const SNAPSHOTS: usize = 3;

type Rows = BTreeMap<Key, Bytes>;

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Commits `batch`; before that, expects what is there for each of `fitting`.
    Commit {
        batch: Batch,
        fitting: Vec<Key>,
    },
    GetMany(Vec<Key>),
    Scan(Scan),
    /// Keeps a snapshot, dropping the oldest.
    Snapshot,
    /// Reads all of every snapshot kept.
    ReadSnapshots,
    Clear(KeyRange),
    Reopen,
}

/// Histories over so few keys that they meet often.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (batches(), vec(keys(), 0..3)).prop_map(|(batch, fitting)| Step::Commit { batch, fitting }),
        2 => vec(keys(), 0..5).prop_map(Step::GetMany),
        4 => scans().prop_map(Step::Scan),
        1 => Just(Step::Snapshot),
        1 => Just(Step::ReadSnapshots),
        1 => ranges().prop_map(Step::Clear),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..60)
}

fn families() -> impl Strategy<Value = Family> {
    select(&Family::ALL[..])
}

fn names() -> impl Strategy<Value = Bytes> {
    vec(select(&[0x00, 0x01, 0x7f, 0x80, 0xff][..]), 0..3).prop_map(Bytes::from)
}

fn keys() -> impl Strategy<Value = Key> {
    (families(), names()).prop_map(|(family, name)| Key::new(family, name))
}

fn values() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..4).prop_map(Bytes::from),
        1 => (any::<u8>(), 1_000..20_000_usize).prop_map(|(byte, size)| Bytes::from(vec![byte; size])),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    let put = vec((keys(), values()), 0..8);
    let delete = vec(keys(), 0..4);
    // Mostly without: a random condition nearly always conflicts.
    let expect = prop_oneof![4 => Just(vec![]), 1 => vec((keys(), option::of(values())), 1..2)];
    (expect, put, delete).prop_map(|(expect, put, delete)| Batch { expect, put, delete })
}

fn ranges() -> impl Strategy<Value = KeyRange> {
    let ends = (families(), names(), option::of(names()));
    ends.prop_map(|(family, start, end)| KeyRange { family, start, end })
}

fn scans() -> impl Strategy<Value = Scan> {
    let orders = select(&[Order::Ascending, Order::Descending][..]);
    let rows = prop_oneof![0..6_usize, Just(usize::MAX)];
    let bytes = prop_oneof![0..40_usize, 0..40_000_usize, Just(usize::MAX)];
    (ranges(), orders, rows, bytes).prop_map(|(range, order, rows, bytes)| Scan { range, order, rows, bytes })
}

/// Runs `history` on a store and on the model, and compares every answer and the end.
pub(crate) async fn check(place: &impl Place, history: Vec<Step>) {
    let mut kv = place.open().await;
    let mut model = Rows::new();
    let mut snapshots: Vec<(Arc<dyn KvRead>, Rows)> = Vec::new();
    for step in history {
        match step {
            Step::Commit { mut batch, fitting } => {
                batch.expect.extend(fitting.into_iter().map(|key| (key.clone(), model.get(&key).cloned())));
                compare_commit(&*kv, &mut model, batch).await;
            }
            Step::GetMany(keys) => {
                let expected: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
                assert_eq!(kv.get_many(&keys).await.unwrap(), expected);
                for (key, value) in keys.iter().zip(expected) {
                    assert_eq!(kv.get(key).await.unwrap(), value);
                }
            }
            Step::Scan(scan) => {
                assert_eq!(kv.scan(scan.clone()).await.unwrap(), page(&model, &scan), "{scan:?}")
            }
            Step::Snapshot => {
                snapshots.truncate(SNAPSHOTS - 1);
                snapshots.insert(0, (kv.snapshot().await.unwrap(), model.clone()));
            }
            Step::ReadSnapshots => {
                for (snapshot, model) in &snapshots {
                    compare_all(&**snapshot, model).await;
                }
            }
            Step::Clear(range) => {
                kv.clear(range.clone()).await.unwrap();
                model.retain(|key, _| !range.contains(key));
                // A clear may show through earlier snapshots.
                snapshots.clear();
            }
            Step::Reopen => {
                snapshots.clear();
                drop(kv);
                kv = place.open().await;
            }
        }
    }
    compare_all(&*kv, &model).await;
}

async fn compare_commit(kv: &dyn Kv, model: &mut Rows, batch: Batch) {
    let conflict = batch.expect.iter().find(|(key, value)| model.get(key) != value.as_ref());
    let conflict = conflict.map(|(key, _)| key.clone());
    match (kv.commit(batch.clone()).await, conflict) {
        (Ok(()), None) => {
            model.retain(|key, _| !batch.delete.contains(key));
            model.extend(batch.put);
        }
        (Err(CommitError::Conflict(named)), Some(_)) => {
            let failing =
                |(key, value): &(Key, Option<Bytes>)| *key == named && model.get(key) != value.as_ref();
            assert!(batch.expect.iter().any(failing), "{named} does not conflict in {batch:?}");
        }
        (answer, conflict) => panic!("{answer:?} to {batch:?}, which conflicts at {conflict:?}"),
    }
}

async fn compare_all(kv: &(impl KvRead + ?Sized), model: &Rows) {
    for family in Family::ALL {
        let scan = Scan::ascending(KeyRange::all(family));
        assert_eq!(kv.scan(scan.clone()).await.unwrap(), page(model, &scan));
    }
}

/// The page the trait's documentation describes, by counting.
fn page(model: &Rows, scan: &Scan) -> Page {
    let mut left: Vec<_> = model.iter().filter(|(key, _)| scan.range.contains(key)).collect();
    if scan.order == Order::Descending {
        left.reverse();
    }
    let sizes = left.iter().scan(0, |total, (key, value)| {
        *total += key.bytes.len() + value.len();
        Some(*total)
    });
    let fits = sizes.take(scan.rows).take_while(|total| *total <= scan.bytes).count();
    let fits = fits.max(left.len().min(1));
    let rows: Vec<_> =
        left[..fits].iter().map(|(key, value)| (key.bytes.clone(), (*value).clone())).collect();
    let rest = (fits < left.len()).then(|| {
        let last = rows[fits - 1].0.clone();
        match scan.order {
            Order::Ascending => KeyRange { start: [&last[..], b"\0"].concat().into(), ..scan.range.clone() },
            Order::Descending => KeyRange { end: Some(last), ..scan.range.clone() },
        }
    });
    Page { rows, rest }
}
