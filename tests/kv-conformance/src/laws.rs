//! The laws, by what they are about. Each takes a maker of empty places and panics when it is broken.

use bytes::Bytes;
use neptune_kv::{Family, Key, KeyRange, KvRead, Scan};

pub mod batches;
pub mod clears;
pub mod concurrency;
pub mod points;
pub mod random;
pub mod reopening;
pub mod scans;
pub mod snapshots;

/// All rows of a range in ascending order, page after page.
async fn rows(kv: &(impl KvRead + ?Sized), range: KeyRange) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    let mut next = Some(range);
    while let Some(range) = next {
        let page = kv.scan(Scan::ascending(range.clone())).await.unwrap();
        rows.extend(page.rows);
        next = page.rest.inspect(|rest| assert_shrinks(&range, rest));
    }
    rows
}

/// A walk ends because every rest is a true part of the range asked.
fn assert_shrinks(range: &KeyRange, rest: &KeyRange) {
    let inside = rest.start >= range.start && (range.end.is_none() || rest.end <= range.end);
    assert!(inside && rest != range && rest.family == range.family, "{rest:?} is left of {range:?}");
}

/// The keys of a range as text, joined by blanks.
async fn keys(kv: &(impl KvRead + ?Sized), range: KeyRange) -> String {
    let rows = rows(kv, range).await;
    rows.iter().map(|(key, _)| key.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

/// How many keys all families hold.
async fn count(kv: &(impl KvRead + ?Sized)) -> usize {
    let mut count = 0;
    for family in Family::ALL {
        count += rows(kv, KeyRange::all(family)).await.len();
    }
    count
}

/// The value of a key that must be there, as text.
async fn text(kv: &(impl KvRead + ?Sized), key: &Key) -> String {
    let value = kv.get(key).await.unwrap();
    value.unwrap_or_else(|| panic!("{key} is absent")).escape_ascii().to_string()
}
