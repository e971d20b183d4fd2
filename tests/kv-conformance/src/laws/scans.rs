//! Scans: order, ranges, and pages that say exactly what is left.

use bytes::Bytes;
use neptune_kv::{Batch, Family, Key, KeyRange, Kv, Page, Scan};

use super::{assert_shrinks, keys, rows};
use crate::{Place, run};

/// Neither signed bytes nor text: 0x7f < 0x80, and a prefix comes before what it begins.
pub fn order_is_by_unsigned_bytes<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let sorted: [&[u8]; 9] =
            [b"", b"\0", b"\0\0", b"\x01", b"\x7f", b"\x7f\xff", b"\x80", b"\xff", b"\xff\xff"];
        for family in Family::ALL {
            let shuffled = [4, 8, 0, 6, 2, 7, 1, 5, 3].map(|index| Key::new(family, sorted[index]));
            for key in shuffled {
                kv.commit(Batch::new().put(key, "")).await.unwrap();
            }
            let up = kv.scan(Scan::ascending(KeyRange::all(family))).await.unwrap();
            assert_eq!(names(&up), sorted);
            let down = kv.scan(Scan::descending(KeyRange::all(family))).await.unwrap();
            assert_eq!(names(&down), sorted.iter().rev().copied().collect::<Vec<_>>());
        }
    });
}

/// The start is in it, the end is not, in both directions, whether or not either is a key.
pub fn a_range_is_half_open<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        fill(&*kv, Family::Log, &["a", "b", "ba", "c", "d"]).await;
        fill(&*kv, Family::State, &["b"]).await;
        fill(&*kv, Family::Bulk, &["b"]).await;
        let cases = [
            (KeyRange::new(Family::Log, "b", "d"), "b ba c"),
            (KeyRange::new(Family::Log, "aa", "bb"), "b ba"),
            (KeyRange::new(Family::Log, "", "a"), ""),
            (KeyRange::new(Family::Log, "a", "a\0"), "a"),
            (KeyRange::prefix(Family::Log, "b"), "b ba"),
            (KeyRange { end: None, ..KeyRange::new(Family::Log, "c", "") }, "c d"),
            (KeyRange { end: None, ..KeyRange::new(Family::Log, "e", "") }, ""),
            (KeyRange::all(Family::Log), "a b ba c d"),
        ];
        for (range, expected) in cases {
            assert_eq!(keys(&*kv, range.clone()).await, expected, "{range:?}");
            let down = kv.scan(Scan::descending(range.clone())).await.unwrap();
            let up = down.rows.iter().rev().map(|(key, _)| key.escape_ascii().to_string());
            assert_eq!(up.collect::<Vec<_>>().join(" "), expected, "{range:?} downward");
        }
    });
}

/// A range that ends where or before it begins holds nothing and is no mistake.
pub fn a_backward_range_is_empty<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        fill(&*kv, Family::State, &["a", "b", "c"]).await;
        for (start, end) in [("b", "b"), ("c", "a"), ("", ""), ("z", "y")] {
            let range = KeyRange::new(Family::State, start, end);
            for scan in [Scan::ascending(range.clone()), Scan::descending(range)] {
                assert_eq!(kv.scan(scan).await.unwrap(), Page { rows: vec![], rest: None });
            }
        }
    });
}

/// A page has the rows asked for; its rest is absent exactly when nothing is left.
pub fn rows_bound_a_page<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        fill(&*kv, Family::Bulk, &["a", "b", "c", "d", "e", "f"]).await;
        let range = KeyRange::new(Family::Bulk, "a", "f");
        for (rows, pages) in [(0, "a|b|c|d|e"), (1, "a|b|c|d|e"), (2, "a b|c d|e"), (5, "a b c d e")] {
            assert_eq!(walk(&*kv, Scan::ascending(range.clone()).rows(rows)).await, pages);
        }
        for (rows, pages) in [(1, "e|d|c|b|a"), (2, "e d|c b|a"), (3, "e d c|b a"), (9, "e d c b a")] {
            assert_eq!(walk(&*kv, Scan::descending(range.clone()).rows(rows)).await, pages);
        }
    });
}

/// Keys and values count; a page holds what fits, and one row when not even that fits.
pub fn bytes_bound_a_page<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let batch = Batch::new().put(Key::log("a"), "").put(Key::log("b"), "123456789");
        kv.commit(batch.put(Key::log("c"), "1").put(Key::log("d"), "1")).await.unwrap();
        // Sizes of the rows: 1, 10, 2, 2.
        let all = KeyRange::all(Family::Log);
        for (bytes, pages) in
            [(0, "a|b|c|d"), (10, "a|b|c d"), (11, "a b|c d"), (13, "a b c|d"), (15, "a b c d")]
        {
            assert_eq!(walk(&*kv, Scan::ascending(all.clone()).bytes(bytes)).await, pages, "{bytes} bytes");
        }
        for (bytes, pages) in
            [(1, "d|c|b|a"), (4, "d c|b|a"), (12, "d c|b a"), (14, "d c b|a"), (15, "d c b a")]
        {
            assert_eq!(walk(&*kv, Scan::descending(all.clone()).bytes(bytes)).await, pages, "{bytes} bytes");
        }
        assert_eq!(walk(&*kv, Scan::ascending(all).bytes(13).rows(2)).await, "a b|c d");
    });
}

/// Whatever is asked, a page stays within the backend's limits, and the walk still reaches everything.
pub fn limits_bound_a_page<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        let limits = kv.limits();
        let many = limits.page_rows + 1;
        for first in (0..many).step_by(limits.batch_ops) {
            let mut batch = Batch::new();
            for index in first..many.min(first + limits.batch_ops) {
                batch = batch.put(Key::state(index.to_be_bytes().to_vec()), "");
            }
            kv.commit(batch).await.unwrap();
        }
        let large = limits.page_bytes / limits.value_bytes + 1;
        for index in 0..large {
            let key = Key::bulk(index.to_be_bytes().to_vec());
            kv.commit(Batch::new().put(key, vec![0; limits.value_bytes])).await.unwrap();
        }
        let page = kv.scan(Scan::ascending(KeyRange::all(Family::State))).await.unwrap();
        assert!(page.rest.is_some() && page.rows.len() == limits.page_rows, "{} rows", page.rows.len());
        assert_eq!(rows(&*kv, KeyRange::all(Family::State)).await.len(), many);
        let page = kv.scan(Scan::ascending(KeyRange::all(Family::Bulk))).await.unwrap();
        let size: usize = page.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(page.rest.is_some() && size <= limits.page_bytes, "{size} bytes");
        assert_eq!(rows(&*kv, KeyRange::all(Family::Bulk)).await.len(), large);
    });
}

/// A walk that pauses sees what was written beyond its last row meanwhile, however near.
pub fn nothing_between_two_pages_is_missed<P: Place>(make: impl Fn() -> P) {
    run(async {
        let place = make();
        let kv = place.open().await;
        fill(&*kv, Family::State, &["a", "b", "c"]).await;
        let all = KeyRange::all(Family::State);
        let up = kv.scan(Scan::ascending(all.clone()).rows(2)).await.unwrap();
        let down = kv.scan(Scan::descending(all).rows(1)).await.unwrap();
        fill(&*kv, Family::State, &["", "a\0", "b\0", "bzzz", "c\0"]).await;
        assert_eq!(walk(&*kv, Scan::ascending(up.rest.unwrap())).await, "b\\x00 bzzz c c\\x00");
        let rest = walk(&*kv, Scan::descending(down.rest.unwrap())).await;
        assert_eq!(rest, "bzzz b\\x00 b a\\x00 a ");
    });
}

async fn fill(kv: &dyn Kv, family: Family, keys: &[&'static str]) {
    let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(Key::new(family, *key), "value"));
    kv.commit(batch).await.unwrap();
}

fn names(page: &Page) -> Vec<&[u8]> {
    page.rows.iter().map(|(key, _): &(Bytes, Bytes)| &key[..]).collect()
}

/// Every page from `scan` on: keys joined by blanks, pages by bars.
async fn walk(kv: &dyn Kv, scan: Scan) -> String {
    let mut pages = Vec::new();
    let mut next = Some(scan.range.clone());
    while let Some(range) = next {
        let page = kv.scan(Scan { range: range.clone(), ..scan.clone() }).await.unwrap();
        let keys = names(&page).iter().map(|key| key.escape_ascii().to_string()).collect::<Vec<_>>();
        pages.push(keys.join(" "));
        next = page.rest.inspect(|rest| assert_shrinks(&range, rest));
    }
    pages.join("|")
}
