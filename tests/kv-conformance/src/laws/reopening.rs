//! Closing a store and opening it again.

use bytes::Bytes;
use neptune_kv::{Batch, CheckpointError, Family, Key, KeyRange};

use super::{count, keys, text};
use crate::{Place, run};

/// Writes, overwrites and deletes of several openings add up.
pub fn what_was_committed_is_there_again<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let [kept, changed, gone] = [Key::state("kept"), Key::log("changed"), Key::bulk("gone")];
        let kv = place.open().await;
        let batch = Batch::new().put(kept.clone(), "1").put(changed.clone(), "1").put(gone.clone(), "1");
        kv.commit(batch).await.unwrap();
        drop(kv);
        let kv = place.open().await;
        assert_eq!(count(&*kv).await, 3);
        kv.commit(Batch::new().expect(changed.clone(), "1").put(changed.clone(), "2").delete(gone))
            .await
            .unwrap();
        drop(kv);
        let kv = place.open().await;
        assert_eq!(count(&*kv).await, 2);
        assert_eq!(text(&*kv, &kept).await, "1");
        assert_eq!(text(&*kv, &changed).await, "2");
    });
}

/// What is not there is not there, also where a backend has yet to look: between its rows, first thing after opening.
pub fn what_was_absent_is_absent_again<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let key = |family, number: u8| Key::new(family, vec![number]);
        let mut batch = Batch::new();
        for family in Family::ALL {
            for number in (2..20).step_by(2) {
                batch = batch.put(key(family, number), vec![number; 9_000]);
            }
        }
        kv.commit(batch).await.unwrap();
        drop(kv);
        for number in 1..21 {
            let expected = (number % 2 == 0 && number < 20).then(|| Bytes::from(vec![number; 9_000]));
            let many = place.open().await;
            for family in Family::ALL {
                let values = many.get_many(&[key(family, number)]).await.unwrap();
                assert!(values == [expected.clone()], "{family:?} {number}: {values:?}");
            }
            drop(many);
            let single = place.open().await;
            for family in Family::ALL {
                let value = single.get(&key(family, number)).await.unwrap();
                assert!(value == expected, "{family:?} {number}: {value:?}");
            }
        }
    });
}

/// A clear is as durable as a commit, and so is what is written after it.
pub fn what_was_cleared_stays_away<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let mut batch = Batch::new();
        for family in Family::ALL {
            for key in ["a", "b", "c"] {
                batch = batch.put(Key::new(family, key), "value");
            }
        }
        kv.commit(batch.clone()).await.unwrap();
        for family in Family::ALL {
            kv.clear(KeyRange::new(family, "a", "c")).await.unwrap();
            kv.commit(Batch::new().put(Key::new(family, "aa"), "later")).await.unwrap();
        }
        drop(kv);
        let kv = place.open().await;
        for family in Family::ALL {
            assert_eq!(keys(&*kv, KeyRange::all(family)).await, "aa c");
        }
    });
}

/// A copy is the store as of one moment, a store of its own; or the backend refuses and says so.
pub fn a_copy_is_the_store_as_of_one_moment<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let mut batch = Batch::new();
        for family in Family::ALL {
            for key in ["a", "b", "c"] {
                batch = batch.put(Key::new(family, key), "value");
            }
        }
        kv.commit(batch).await.unwrap();
        kv.clear(KeyRange::new(Family::Log, "b", "c")).await.unwrap();
        let Some(folder) = place.copy_folder() else {
            let refused = kv.checkpoint("/nowhere".as_ref()).await;
            assert!(matches!(refused, Err(CheckpointError::Unsupported)), "{refused:?}");
            return;
        };
        kv.checkpoint(&folder).await.unwrap();
        for family in Family::ALL {
            kv.commit(Batch::new().put(Key::new(family, "later"), "value")).await.unwrap();
        }
        let again = kv.checkpoint(&folder).await;
        assert!(matches!(again, Err(CheckpointError::Io(_))), "a copy is never written over: {again:?}");
        let copy = place.open_copy(&folder).await;
        let rows = [(Family::State, "a b c"), (Family::Log, "a c"), (Family::Bulk, "a b c")];
        for (family, expected) in rows {
            assert_eq!(keys(&*copy, KeyRange::all(family)).await, expected);
            assert_eq!(keys(&*kv, KeyRange::all(family)).await, format!("{expected} later"));
        }
        copy.commit(Batch::new().put(Key::state("of the copy"), "value")).await.unwrap();
        assert_eq!(kv.get(&Key::state("of the copy")).await.unwrap(), None);
    });
}
