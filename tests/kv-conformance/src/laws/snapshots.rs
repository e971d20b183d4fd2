//! Snapshots: the same reads, at one point in time.

use bytes::Bytes;
use neptune_kv::{Batch, Family, Key, KeyRange, Scan};

use super::{keys, text};
use crate::{Place, run};

/// What is written, overwritten or deleted later is not in it, for any read; several stand at several times.
pub fn a_snapshot_stands_still<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [kept, gone, new] = [Key::state("kept"), Key::state("gone"), Key::state("new")];
        let empty = kv.snapshot().await.unwrap();
        kv.commit(Batch::new().put(kept.clone(), "1").put(gone.clone(), "1")).await.unwrap();
        let first = kv.snapshot().await.unwrap();
        kv.commit(Batch::new().put(kept.clone(), "2").put(new.clone(), "2").delete(gone.clone()))
            .await
            .unwrap();
        let second = kv.snapshot().await.unwrap();
        kv.commit(Batch::new().delete(kept.clone()).delete(new.clone())).await.unwrap();

        let all = KeyRange::all(Family::State);
        assert_eq!(keys(&*empty, all.clone()).await, "");
        assert_eq!(keys(&*first, all.clone()).await, "gone kept");
        assert_eq!(keys(&*second, all.clone()).await, "kept new");
        assert_eq!(keys(&*kv, all.clone()).await, "");
        assert_eq!(text(&*first, &kept).await, "1");
        assert_eq!(text(&*second, &kept).await, "2");
        let [one, two] = ["1", "2"].map(|text| Some(Bytes::from(text)));
        let asked = [kept, gone, new];
        assert_eq!(first.get_many(&asked).await.unwrap(), [one.clone(), one, None]);
        assert_eq!(second.get_many(&asked).await.unwrap(), [two.clone(), None, two]);
        let down = second.scan(Scan::descending(all).rows(1)).await.unwrap();
        assert_eq!(down.rows, [(Bytes::from("new"), Bytes::from("2"))]);
    });
}

/// It may be held when the handle it came from is gone.
pub fn a_snapshot_outlives_the_store<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let key = Key::log("key");
        kv.commit(Batch::new().put(key.clone(), "value")).await.unwrap();
        let snapshot = kv.snapshot().await.unwrap();
        drop(kv);
        assert_eq!(text(&*snapshot, &key).await, "value");
        assert_eq!(keys(&*snapshot, KeyRange::all(Family::Log)).await, "key");
    });
}
