//! Where a value lies: a family and its bytes, and half-open ranges of them.

use std::fmt;

use bytes::Bytes;

/// One of the three ordered spaces. They differ in how a backend tunes them, never in what they promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Small records that are read and rewritten: jobs, queues, heads of things.
    State,
    /// Appended in order, read after a restart, cleared soon: frames on their way into chunks.
    Log,
    /// Large values, written once and read often: sealed chunks, summaries, blocks of text.
    Bulk,
}

impl Family {
    /// Every family, in order.
    pub const ALL: [Family; 3] = [Family::State, Family::Log, Family::Bulk];
}

/// The full name of one value. Orders by family, then by unsigned bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The space it lies in.
    pub family: Family,
    /// Its name there; may be empty, at most [`Limits::key_bytes`](crate::Limits::key_bytes) to be written.
    pub bytes: Bytes,
}

impl Key {
    /// The key `bytes` in `family`.
    pub fn new(family: Family, bytes: impl Into<Bytes>) -> Key {
        Key { family, bytes: bytes.into() }
    }

    /// The key `bytes` in [`Family::State`].
    pub fn state(bytes: impl Into<Bytes>) -> Key {
        Key::new(Family::State, bytes)
    }

    /// The key `bytes` in [`Family::Log`].
    pub fn log(bytes: impl Into<Bytes>) -> Key {
        Key::new(Family::Log, bytes)
    }

    /// The key `bytes` in [`Family::Bulk`].
    pub fn bulk(bytes: impl Into<Bytes>) -> Key {
        Key::new(Family::Bulk, bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.family, self.bytes.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Every key of one family with `start <= key` and, if there is an end, `key < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The space it lies in.
    pub family: Family,
    /// The first key that may be in it.
    pub start: Bytes,
    /// The first key beyond it; `None` reaches to the end of the family.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// The whole family.
    pub fn all(family: Family) -> KeyRange {
        KeyRange { family, start: Bytes::new(), end: None }
    }

    /// From `start` up to, not including, `end`. Empty when `start >= end`.
    pub fn new(family: Family, start: impl Into<Bytes>, end: impl Into<Bytes>) -> KeyRange {
        KeyRange { family, start: start.into(), end: Some(end.into()) }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(family: Family, prefix: impl Into<Bytes>) -> KeyRange {
        let start = prefix.into();
        let end = after_prefix(&start);
        KeyRange { family, start, end }
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &Key) -> bool {
        key.family == self.family
            && self.start <= key.bytes
            && self.end.as_ref().is_none_or(|end| key.bytes < *end)
    }

    /// Whether no key at all can lie in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end <= &self.start)
    }
}

/// The smallest key above every key with this prefix; `None` if nothing is (all bytes 0xff).
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_prefix(prefix: &'static [u8], end: Option<&'static [u8]>) {
        assert_eq!(KeyRange::prefix(Family::State, prefix).end.as_deref(), end);
    }

    #[test]
    fn a_prefix_ends_at_its_successor() {
        check_prefix(b"", None);
        check_prefix(b"ab", Some(b"ac"));
        check_prefix(b"a\xff\xff", Some(b"b"));
        check_prefix(b"\xff\xff", None);
    }

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = KeyRange::new(Family::Log, "b", "d");
        let inside = |bytes: &'static str| range.contains(&Key::log(bytes));
        assert_eq!(["a", "b", "c\u{7f}", "d"].map(inside), [false, true, true, false]);
        assert!(!range.contains(&Key::bulk("c")));
    }

    #[test]
    fn a_backward_range_is_empty() {
        assert!(KeyRange::new(Family::Log, "b", "b").is_empty());
        assert!(KeyRange::new(Family::Log, "c", "b").is_empty());
        assert!(!KeyRange::new(Family::Log, "b", "b\0").is_empty());
        assert!(!KeyRange::all(Family::Log).is_empty());
    }
}
