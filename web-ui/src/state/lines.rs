//! The lines of one text channel that the page holds: blocks around the view and at the end, fetched when looked at.
//!
//! Live lines and fetched blocks meet here by line number, so nothing is doubled whatever arrives first; a hole is
//! just a block that will be asked for when it is looked at. The line that was last may still grow: it is replaced.

use std::collections::{BTreeMap, BTreeSet};

use neptune_wire::query::{Line, Lines};

/// Lines per block, the unit of fetching.
pub const BLOCK: u64 = 500;
/// Blocks kept: 100,000 lines, some tens of megabytes at worst.
const BLOCKS: usize = 200;

/// A range of lines to ask the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The first line.
    pub line: u64,
    /// At most so many.
    pub limit: u32,
}

/// The lines of a channel.
#[derive(Debug, Default)]
pub struct LineStore {
    total: u64,
    blocks: BTreeMap<u64, Block>,
    asked: BTreeSet<u64>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Block {
    lines: BTreeMap<u64, Line>,
    used: u64,
}

impl LineStore {
    /// How many lines the channel has, as far as is known.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The line of that number, if it is here.
    pub fn find(&self, line: u64) -> Option<&Line> {
        self.blocks.get(&(line / BLOCK))?.lines.get(&line)
    }

    /// The subscription began when the channel had `mark` lines. What was the last line may have grown unseen.
    pub fn subscribed(&mut self, mark: u64) {
        if mark < self.total {
            // Another log than the one shown: the server went back.
            *self = Self::default();
        } else if let Some(last) = self.total.checked_sub(1) {
            self.forget_from(last);
        }
        self.total = mark;
    }

    /// The server left out everything from this line on.
    pub fn reread(&mut self, from: u64) {
        self.forget_from(from.saturating_sub(1));
        self.total = self.total.max(from + 1);
    }

    /// Lines arrived live; the first may be the grown form of a line that is here.
    pub fn pushed(&mut self, lines: Vec<Line>) {
        lines.into_iter().for_each(|line| self.place(line));
        self.evict();
    }

    /// A range was answered.
    pub fn answered(&mut self, ask: Ask, answer: Lines) {
        self.asked.remove(&(ask.line / BLOCK));
        self.total = self.total.max(answer.total);
        for line in answer.lines {
            // A live line of the same number is as new or newer.
            if self.find(line.line).is_none_or(|held| held.text.len() < line.text.len()) {
                self.place(line);
            }
        }
        self.evict();
    }

    /// A range was not answered; it will be asked for again when it is looked at.
    pub fn unanswered(&mut self, ask: Ask) {
        self.asked.remove(&(ask.line / BLOCK));
    }

    /// What must be asked for so that these rows can be drawn; remembers that it was asked for.
    pub fn ask(&mut self, first: u64, end: u64) -> Vec<Ask> {
        let end = end.min(self.total);
        if first >= end {
            return Vec::new();
        }
        self.uses += 1;
        let mut asks = Vec::new();
        for number in first / BLOCK..=(end - 1) / BLOCK {
            if let Some(block) = self.blocks.get_mut(&number) {
                block.used = self.uses;
            }
            let block_end = ((number + 1) * BLOCK).min(self.total);
            let held = self.blocks.get(&number).map_or(0, |block| block.lines.len() as u64);
            if held < block_end - number * BLOCK && self.asked.insert(number) {
                asks.push(Ask { line: number * BLOCK, limit: BLOCK as u32 });
            }
        }
        asks
    }

    fn place(&mut self, line: Line) {
        self.total = self.total.max(line.line + 1);
        let block = self.blocks.entry(line.line / BLOCK).or_default();
        block.used = block.used.max(self.uses);
        block.lines.insert(line.line, line);
    }

    fn forget_from(&mut self, from: u64) {
        self.blocks.split_off(&(from / BLOCK + 1));
        if let Some(block) = self.blocks.get_mut(&(from / BLOCK)) {
            block.lines.split_off(&from);
        }
    }

    fn evict(&mut self) {
        while self.blocks.len() > BLOCKS {
            let Some((&oldest, _)) = self.blocks.iter().min_by_key(|(_, block)| block.used) else { return };
            self.blocks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use neptune_wire::{Micros, Number};

    use super::*;

    fn line(number: u64, text: &str) -> Line {
        Line { line: number, x: Number(0.0), time: Micros(0), text: text.into(), continues: false }
    }

    fn answer(ask: Ask, total: u64) -> Lines {
        let end = (ask.line + u64::from(ask.limit)).min(total);
        Lines { lines: (ask.line..end).map(|n| line(n, "old")).collect(), total, next: None }
    }

    #[test]
    fn what_is_looked_at_is_asked_for_once() {
        let mut store = LineStore::default();
        store.subscribed(2_000);
        let asks = store.ask(490, 510);
        assert_eq!(asks, [Ask { line: 0, limit: 500 }, Ask { line: 500, limit: 500 }]);
        assert_eq!(store.ask(490, 510), []);
        store.answered(asks[0], answer(asks[0], 2_000));
        store.unanswered(asks[1]);
        assert_eq!(store.ask(490, 510), [asks[1]]);
        assert_eq!(store.find(499).unwrap().text, "old");
    }

    #[test]
    fn live_lines_and_answers_meet_without_doubles() {
        let mut store = LineStore::default();
        store.subscribed(3);
        let asks = store.ask(0, 3);
        store.pushed(vec![line(2, "old, grown"), line(3, "new")]);
        assert_eq!(store.total(), 4);
        store.answered(asks[0], answer(asks[0], 3));
        assert_eq!(store.find(2).unwrap().text, "old, grown");
        assert_eq!(store.total(), 4);
        assert_eq!(store.ask(0, 4), [], "all four lines are here");
    }

    #[test]
    fn after_a_reconnect_only_the_gap_is_asked_for() {
        let mut store = LineStore::default();
        store.subscribed(1_000);
        let asks = store.ask(0, 1_000);
        for ask in asks {
            store.answered(ask, answer(ask, 1_000));
        }
        store.subscribed(1_200);
        assert_eq!(store.ask(0, 500), []);
        assert!(store.find(998).is_some());
        assert!(store.find(999).is_none(), "the last line may have grown");
        assert_eq!(store.ask(0, 1_200), [Ask { line: 500, limit: 500 }, Ask { line: 1_000, limit: 500 }]);
    }

    #[test]
    fn what_the_server_left_out_is_asked_for() {
        let mut store = LineStore::default();
        store.subscribed(0);
        store.pushed(vec![line(0, "a"), line(1, "b")]);
        store.reread(2);
        assert_eq!(store.ask(0, 10), [Ask { line: 0, limit: 500 }]);
        store.answered(Ask { line: 0, limit: 500 }, answer(Ask { line: 0, limit: 500 }, 7));
        assert_eq!((store.total(), store.ask(0, 10)), (7, vec![]));
    }

    #[test]
    fn a_log_that_shrank_is_another_log() {
        let mut store = LineStore::default();
        store.subscribed(10);
        store.pushed(vec![line(9, "a")]);
        store.subscribed(5);
        assert!(store.find(9).is_none());
        assert_eq!(store.total(), 5);
    }

    #[test]
    fn a_long_log_does_not_fill_the_memory() {
        let mut store = LineStore::default();
        let lines = (BLOCKS as u64 + 50) * BLOCK;
        for number in 0..lines {
            store.pushed(vec![line(number, "x")]);
        }
        assert_eq!(store.blocks.len(), BLOCKS);
        store.ask(lines - 10, lines);
        assert!(store.find(lines - 1).is_some());
        assert_eq!(store.total(), lines);
    }
}
