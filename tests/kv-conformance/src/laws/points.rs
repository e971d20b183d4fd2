//! Reading and writing single keys.

use bytes::Bytes;
use neptune_kv::{Batch, Family, Key};

use super::text;
use crate::{Place, run};

/// A key that was never written, was deleted, or could never be written is absent.
pub fn an_absent_key_reads_as_none<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [never, deleted] = ["never", "deleted"].map(Key::state);
        let impossible = Key::state(vec![7; kv.limits().key_bytes + 1]);
        kv.commit(Batch::new().put(deleted.clone(), "value")).await.unwrap();
        assert_eq!(text(&*kv, &deleted).await, "value");
        kv.commit(Batch::new().delete(deleted.clone()).delete(never.clone())).await.unwrap();
        assert_eq!(kv.get_many(&[never, deleted, impossible]).await.unwrap(), [None, None, None]);
    });
}

/// Nothing is a name and a value like any other; an empty value is not an absent one.
pub fn empty_keys_and_values_are_kept<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        for family in Family::ALL {
            let [empty, zero] = ["", "\0"].map(|bytes| Key::new(family, bytes));
            kv.commit(Batch::new().put(empty.clone(), "").put(zero.clone(), "zero")).await.unwrap();
            assert_eq!(kv.get(&empty).await.unwrap(), Some(Bytes::new()));
            assert_eq!(text(&*kv, &zero).await, "zero");
            kv.commit(Batch::new().expect(empty.clone(), "").delete(empty.clone())).await.unwrap();
            assert_eq!(kv.get(&empty).await.unwrap(), None);
            assert_eq!(text(&*kv, &zero).await, "zero");
        }
    });
}

/// The same bytes in two families are two keys.
pub fn families_are_apart<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [state, log, bulk] = Family::ALL.map(|family| Key::new(family, "key"));
        kv.commit(Batch::new().put(state.clone(), "in state").put(log.clone(), "in log")).await.unwrap();
        assert_eq!(kv.get(&bulk).await.unwrap(), None);
        kv.commit(Batch::new().delete(log.clone()).put(bulk.clone(), "in bulk")).await.unwrap();
        assert_eq!(text(&*kv, &state).await, "in state");
        assert_eq!(kv.get(&log).await.unwrap(), None);
        assert_eq!(text(&*kv, &bulk).await, "in bulk");
    });
}

/// Answers stand where their questions stood, over families, with gaps and doubles.
pub fn many_are_read_in_the_order_asked<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let [a, b, c] = [Key::bulk("a"), Key::state("b"), Key::log("c")];
        kv.commit(Batch::new().put(a.clone(), "1").put(c.clone(), "3")).await.unwrap();
        let values = kv.get_many(&[c.clone(), b, a, c]).await.unwrap();
        let [one, three] = ["1", "3"].map(|text| Some(Bytes::from(text)));
        assert_eq!(values, [three.clone(), None, one, three]);
        assert_eq!(kv.get_many(&[]).await.unwrap(), []);
    });
}
