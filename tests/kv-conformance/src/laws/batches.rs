//! Commits: all or nothing, on exact conditions, within limits.

use neptune_kv::{Batch, CommitError, Family, Key, KeyRange, Kv, Limits};

use super::{count, keys, text};
use crate::{Place, run};

/// A batch without content is nothing to refuse.
pub fn an_empty_batch_is_accepted<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        kv.commit(Batch::new()).await.unwrap();
        assert_eq!(count(&*kv).await, 0);
    });
}

/// One batch changes all families together.
pub fn a_batch_spans_families<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [state, log, bulk] = Family::ALL.map(|family| Key::new(family, "key"));
        let batch = Batch::new().expect_absent(state.clone()).put(log.clone(), "1").put(bulk.clone(), "2");
        kv.commit(batch).await.unwrap();
        let batch = Batch::new().expect(log.clone(), "1").delete(log.clone()).put(state.clone(), "3");
        kv.commit(batch.expect(bulk.clone(), "2")).await.unwrap();
        assert_eq!(text(&*kv, &state).await, "3");
        assert_eq!(kv.get(&log).await.unwrap(), None);
        assert_eq!(text(&*kv, &bulk).await, "2");
    });
}

/// A condition compares the whole value, and the error names its key.
pub fn an_expectation_is_exact<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [present, empty, absent] = ["present", "empty", "absent"].map(Key::state);
        kv.commit(Batch::new().put(present.clone(), "value").put(empty.clone(), "")).await.unwrap();

        let fitting = Batch::new().expect(present.clone(), "value").expect(empty.clone(), "");
        kv.commit(fitting.expect_absent(absent.clone())).await.unwrap();

        conflicts(&*kv, Batch::new().expect(present.clone(), "valu"), &present).await;
        conflicts(&*kv, Batch::new().expect(present.clone(), "value\0"), &present).await;
        conflicts(&*kv, Batch::new().expect(present.clone(), ""), &present).await;
        conflicts(&*kv, Batch::new().expect_absent(present.clone()), &present).await;
        conflicts(&*kv, Batch::new().expect_absent(empty.clone()), &empty).await;
        conflicts(&*kv, Batch::new().expect(absent.clone(), ""), &absent).await;
        let second = Batch::new().expect(present.clone(), "value").expect(absent.clone(), "value");
        conflicts(&*kv, second, &absent).await;
    });
}

/// One condition that fails keeps every change of its batch away, in every family.
pub fn a_conflict_leaves_no_trace<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [state, log, bulk] = Family::ALL.map(|family| Key::new(family, "kept"));
        kv.commit(Batch::new().put(state.clone(), "1").put(log.clone(), "2")).await.unwrap();
        let batch = Batch::new()
            .expect(state.clone(), "1")
            .expect(bulk.clone(), "not there")
            .put(state.clone(), "overwritten")
            .put(Key::bulk("new"), "new")
            .delete(log.clone());
        conflicts(&*kv, batch, &bulk).await;
        assert_eq!(text(&*kv, &state).await, "1");
        assert_eq!(text(&*kv, &log).await, "2");
        assert_eq!(count(&*kv).await, 2);
    });
}

/// Conditions are on what was there before the batch, not on what it writes.
pub fn a_batch_expects_the_state_before_it<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let key = Key::state("key");
        kv.commit(Batch::new().expect_absent(key.clone()).put(key.clone(), "1")).await.unwrap();
        kv.commit(Batch::new().expect(key.clone(), "1").put(key.clone(), "2")).await.unwrap();
        conflicts(&*kv, Batch::new().expect(key.clone(), "3").put(key.clone(), "3"), &key).await;
        conflicts(&*kv, Batch::new().expect_absent(key.clone()).delete(key.clone()), &key).await;
        assert_eq!(text(&*kv, &key).await, "2");
    });
}

/// A key may be named more than once; what then holds is defined.
pub fn deletes_come_first_and_the_later_put_wins<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let key = Key::bulk("key");
        let batch = Batch::new().put(key.clone(), "1").put(key.clone(), "2").delete(key.clone());
        kv.commit(batch).await.unwrap();
        assert_eq!(text(&*kv, &key).await, "2");
    });
}

/// A portable caller may rely on [`Limits::PROMISED`].
pub fn the_limits_are_those_promised<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let limits = place.open().await.limits();
        let promised = Limits::PROMISED;
        assert!(limits.key_bytes >= promised.key_bytes, "{limits:?}");
        assert!(limits.value_bytes >= promised.value_bytes, "{limits:?}");
        assert!(limits.batch_bytes >= promised.batch_bytes, "{limits:?}");
        assert!(limits.batch_ops >= promised.batch_ops, "{limits:?}");
        assert!(limits.page_rows >= promised.page_rows, "{limits:?}");
        assert!(limits.page_bytes >= promised.page_bytes, "{limits:?}");
    });
}

/// The longest key is accepted, one byte more is refused wherever it stands.
pub fn a_key_is_bounded<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let longest = Key::state(vec![0xff; kv.limits().key_bytes]);
        let longer = Key::state(vec![0xff; kv.limits().key_bytes + 1]);
        is_too_large(&*kv, Batch::new().put(longer.clone(), ""), "key").await;
        is_too_large(&*kv, Batch::new().delete(longer.clone()), "key").await;
        is_too_large(&*kv, Batch::new().expect_absent(longer), "key").await;
        kv.commit(Batch::new().put(longest.clone(), "kept")).await.unwrap();
        assert_eq!(text(&*kv, &longest).await, "kept");
    });
}

/// The largest value is accepted, one byte more is refused.
pub fn a_value_is_bounded<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let largest = vec![0xab; kv.limits().value_bytes];
        let larger = vec![0xab; kv.limits().value_bytes + 1];
        is_too_large(&*kv, Batch::new().put(Key::bulk("key"), larger.clone()), "value").await;
        is_too_large(&*kv, Batch::new().expect(Key::bulk("key"), larger), "value").await;
        for family in Family::ALL {
            let key = Key::new(family, "key");
            kv.commit(Batch::new().put(key.clone(), largest.clone())).await.unwrap();
            assert_eq!(kv.get(&key).await.unwrap().unwrap(), largest);
        }
    });
}

/// The largest batch is accepted and written whole, one byte more is refused.
pub fn a_batch_is_bounded_in_bytes<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let Limits { value_bytes, batch_bytes, batch_ops, .. } = kv.limits();
        let mut batch = Batch::new();
        while batch.size_bytes() < batch_bytes {
            let key = Key::bulk(batch.put.len().to_be_bytes().to_vec());
            let room = batch_bytes - batch.size_bytes() - key.bytes.len();
            batch = batch.put(key, vec![1; room.min(value_bytes)]);
        }
        assert!(batch.size_bytes() == batch_bytes && batch.ops() < batch_ops);
        is_too_large(&*kv, batch.clone().delete(Key::state("k")), "batch").await;
        let ops = batch.ops();
        kv.commit(batch).await.unwrap();
        assert_eq!(count(&*kv).await, ops);
    });
}

/// The longest batch is accepted and written whole, one operation more of any kind is refused.
pub fn a_batch_is_bounded_in_operations<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let ops = kv.limits().batch_ops;
        let mut batch = Batch::new();
        for index in 0..ops {
            batch = batch.put(Key::state(index.to_be_bytes().to_vec()), "");
        }
        is_too_large(&*kv, batch.clone().put(Key::state("k"), ""), "batch").await;
        is_too_large(&*kv, batch.clone().delete(Key::state("k")), "batch").await;
        is_too_large(&*kv, batch.clone().expect_absent(Key::state("k")), "batch").await;
        kv.commit(batch).await.unwrap();
        assert_eq!(count(&*kv).await, ops);
    });
}

async fn conflicts(kv: &dyn Kv, batch: Batch, key: &Key) {
    match kv.commit(batch).await {
        Err(CommitError::Conflict(named)) => assert_eq!(&named, key),
        other => panic!("a conflict at {key}, not {other:?}"),
    }
}

/// The store must be empty before, and is empty after.
async fn is_too_large(kv: &dyn Kv, batch: Batch, what: &str) {
    match kv.commit(batch).await {
        Err(CommitError::TooLarge(too_large)) => assert_eq!(too_large.what, what),
        other => panic!("a {what} too large, not {other:?}"),
    }
    for family in Family::ALL {
        assert_eq!(keys(kv, KeyRange::all(family)).await, "");
    }
}
