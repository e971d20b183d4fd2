//! One column of texts: a dictionary of the distinct values, and a code a row.
//!
//! Values are counted, so one that no row has any more gives its place to the next new one: a property that changes
//! every second keeps the dictionary as small as the number of jobs.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::paged::{Cell as _, Paged};

/// What a value was before it was a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Double,
    Text,
}

/// One distinct value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) text: Box<str>,
    /// What it is as a number; absent if it is none.
    pub(crate) number: f64,
    rows: u32,
}

/// A column of texts.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) codes: Paged<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Coded {
    pub(crate) fn new() -> Coded {
        Coded {
            codes: Paged::new(1),
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    pub(crate) fn entry(&self, code: u32) -> &Entry {
        &self.entries[code as usize]
    }

    /// One more than the highest code.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A row's value.
    pub(crate) fn find(&self, row: u32) -> Option<&Entry> {
        let code = self.codes.get(row, 0);
        (!code.is_absent()).then(|| self.entry(code))
    }

    /// Sets a row's value. Answers whether it changed.
    pub(crate) fn set(&mut self, row: u32, kind: Kind, text: &str, number: f64) -> bool {
        let hash = self.hasher.hash_one((kind, text));
        let entries = &self.entries;
        let same = |code: &u32| {
            let entry = &entries[*code as usize];
            entry.kind == kind && &*entry.text == text
        };
        let found = self.index.find(hash, same).copied();
        let old = self.codes.get(row, 0);
        if found == Some(old) {
            return false;
        }
        let code = found.unwrap_or_else(|| self.add(hash, kind, text, number));
        self.entries[code as usize].rows += 1;
        self.codes.set(row, &[code]);
        self.release(old);
        true
    }

    /// Takes a row's value away. Answers whether there was one.
    pub(crate) fn clear(&mut self, row: u32) -> bool {
        let old = self.codes.get(row, 0);
        self.codes.clear(row);
        self.release(old);
        !old.is_absent()
    }

    fn add(&mut self, hash: u64, kind: Kind, text: &str, number: f64) -> u32 {
        let entry = Entry { kind, text: text.into(), number, rows: 0 };
        let code = match self.free.pop() {
            Some(code) => {
                self.entries[code as usize] = entry;
                code
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        let Self { index, hasher, entries, .. } = self;
        index.insert_unique(hash, code, |code| {
            let entry = &entries[*code as usize];
            hasher.hash_one((entry.kind, &*entry.text))
        });
        code
    }

    fn release(&mut self, code: u32) {
        if code.is_absent() {
            return;
        }
        let entry = &mut self.entries[code as usize];
        entry.rows -= 1;
        if entry.rows > 0 {
            return;
        }
        let hash = self.hasher.hash_one((entry.kind, &*entry.text));
        if let Ok(found) = self.index.find_entry(hash, |found| *found == code) {
            found.remove();
        }
        self.entries[code as usize].text = "".into();
        self.free.push(code);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_dictionary_holds_what_rows_have(changes in proptest::collection::vec((0_u32..40, proptest::option::of("[ab]{0,2}")), 1..300)) {
            let mut column = Coded::new();
            let mut texts = vec![None; 40];
            for (row, text) in changes {
                let before = texts[row as usize].clone();
                let changed = match &text {
                    Some(text) => column.set(row, Kind::Text, text, f64::ABSENT),
                    None => column.clear(row),
                };
                prop_assert_eq!(changed, before != text);
                texts[row as usize] = text;
            }
            for (row, text) in (0..).zip(&texts) {
                prop_assert_eq!(column.find(row).map(|entry| entry.text.to_string()), text.clone());
            }
            // Seven texts are possible, and at most one more was alive at a time while a row changed.
            prop_assert!(column.len() <= 8);
            let distinct: std::collections::HashSet<_> = texts.iter().flatten().collect();
            prop_assert_eq!(column.index.len(), distinct.len());
        }
    }
}
