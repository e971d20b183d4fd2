//! Clearing ranges nobody refers to any more.

use neptune_kv::{Batch, Family, Key, KeyRange, Kv};

use super::{count, keys, text};
use crate::{Place, run};

/// Its keys are gone, its neighbours and the other families stay, however many it holds.
pub fn a_clear_takes_its_range_alone<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        fill(&*kv).await;
        for family in Family::ALL {
            kv.clear(KeyRange::new(family, "b", "d")).await.unwrap();
            assert_eq!(keys(&*kv, KeyRange::all(family)).await, "a aa d e");
            assert_eq!(kv.get(&Key::new(family, "b")).await.unwrap(), None);
            kv.commit(Batch::new().expect_absent(Key::new(family, "c"))).await.unwrap();
        }
        kv.clear(KeyRange::prefix(Family::Log, "a")).await.unwrap();
        kv.clear(KeyRange { end: None, ..KeyRange::new(Family::State, "aa", "") }).await.unwrap();
        kv.clear(KeyRange::all(Family::Bulk)).await.unwrap();
        assert_eq!(keys(&*kv, KeyRange::all(Family::Log)).await, "d e");
        assert_eq!(keys(&*kv, KeyRange::all(Family::State)).await, "a");
        assert_eq!(keys(&*kv, KeyRange::all(Family::Bulk)).await, "");
    });
}

/// A clear takes what was there, not what comes.
pub fn a_cleared_range_can_be_written_again<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        for family in Family::ALL {
            let key = Key::new(family, "c");
            for round in ["1", "2", "3"] {
                kv.commit(Batch::new().expect_absent(key.clone()).put(key.clone(), round)).await.unwrap();
                assert_eq!(text(&*kv, &key).await, round);
                kv.clear(KeyRange::all(family)).await.unwrap();
                assert_eq!(kv.get(&key).await.unwrap(), None);
            }
            kv.commit(Batch::new().put(key.clone(), "last")).await.unwrap();
            assert_eq!(text(&*kv, &key).await, "last");
        }
    });
}

/// Nothing to clear is no mistake, and a backward range takes nothing.
pub fn a_clear_may_be_empty_or_repeated<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        kv.clear(KeyRange::all(Family::Log)).await.unwrap();
        fill(&*kv).await;
        let before = count(&*kv).await;
        for range in [("b", "b"), ("e", "a"), ("", ""), ("x", "z")] {
            kv.clear(KeyRange::new(Family::State, range.0, range.1)).await.unwrap();
            assert_eq!(count(&*kv).await, before, "{range:?}");
        }
        for _ in 0..2 {
            kv.clear(KeyRange::prefix(Family::Log, "b")).await.unwrap();
            assert_eq!(keys(&*kv, KeyRange::all(Family::Log)).await, "a aa c cc d e");
        }
    });
}

/// `a aa b bb c cc d e` in every family.
async fn fill(kv: &dyn Kv) {
    let mut batch = Batch::new();
    for family in Family::ALL {
        for key in ["a", "aa", "b", "bb", "c", "cc", "d", "e"] {
            batch = batch.put(Key::new(family, key), "value");
        }
    }
    kv.commit(batch).await.unwrap();
}
