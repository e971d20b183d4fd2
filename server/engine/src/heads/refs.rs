//! Heads of text and image channels: how many points, and which frame each begins in. The points stay in the frame log.

use neptune_store::Steps;

/// Where the points of a text or image channel lie.
///
/// Memory: 16 bytes for each frame that holds points of the channel.
#[derive(Debug, Default)]
pub(crate) struct RefsHead {
    refs: Vec<FrameRef>,
    count: u64,
    pub(crate) steps: Steps,
}

/// Points `first ..` of the channel lie in frame `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRef {
    pub(crate) seq: u64,
    pub(crate) first: u64,
}

impl RefsHead {
    pub(crate) fn append(&mut self, seq: u64, x: f64, time: i64) {
        if self.refs.last().is_none_or(|last| last.seq != seq) {
            self.refs.push(FrameRef { seq, first: self.count });
        }
        self.count += 1;
        self.steps.add(x, time);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The frames that hold points from `point` on, at most `limit` of them; the first may hold earlier ones too.
    pub(crate) fn frames_from(&self, point: u64, limit: usize) -> &[FrameRef] {
        let first = self.refs.partition_point(|frame| frame.first <= point).saturating_sub(1);
        &self.refs[first..self.refs.len().min(first + limit)]
    }
}
