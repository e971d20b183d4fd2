//! Heads of text and image channels: how many points, and which frame each of the open ones begins in. The points stay in
//! the frame log until they are sealed, then in sheets.

use neptune_store::{RowsState, Steps};

/// Where the points of a text or image channel lie.
///
/// Memory: 48 bytes for each frame that holds open points of the channel.
#[derive(Debug, Default)]
pub(crate) struct RefsHead {
    sealed: RowsState,
    /// Of the open points.
    refs: Vec<FrameRef>,
    count: u64,
    pub(crate) steps: Steps,
}

/// Points `first ..` of the channel lie in frame `seq`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FrameRef {
    pub(crate) seq: u64,
    pub(crate) first: u64,
    /// As they are behind this frame.
    steps: Steps,
}

/// Where to look for a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FoundPoint {
    /// There is none of this number.
    End,
    /// In a sheet; so many points are sealed.
    Sealed { until: u64 },
    /// In these frames, the first of which may hold earlier ones too.
    Open(Vec<FrameRef>),
}

impl RefsHead {
    /// The head of a channel of which so much is sealed, and nothing open.
    pub(crate) fn from_state(sealed: RowsState) -> RefsHead {
        RefsHead { sealed, refs: Vec::new(), count: sealed.count, steps: sealed.steps }
    }

    pub(crate) fn append(&mut self, seq: u64, x: f64, time: i64) {
        if self.refs.last().is_none_or(|last| last.seq != seq) {
            self.refs.push(FrameRef { seq, first: self.count, steps: self.steps });
        }
        self.count += 1;
        self.steps.add(x, time);
        if let Some(last) = self.refs.last_mut() {
            last.steps = self.steps;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where a point lies, and what of the following is in at most `limit` frames.
    pub(crate) fn find(&self, point: u64, limit: usize) -> FoundPoint {
        if point >= self.count {
            return FoundPoint::End;
        }
        if point < self.sealed.count {
            return FoundPoint::Sealed { until: self.sealed.count };
        }
        let first = self.refs.partition_point(|frame| frame.first <= point).saturating_sub(1);
        FoundPoint::Open(self.refs[first..self.refs.len().min(first + limit)].to_vec())
    }

    pub(crate) fn sealed(&self) -> RowsState {
        self.sealed
    }

    /// At most `limit` frames with open points, of those up to `through`, from the one at place `first` on.
    pub(crate) fn frames_to_seal(&self, first: usize, limit: usize, through: u64) -> Vec<FrameRef> {
        let end = self.refs.partition_point(|frame| frame.seq <= through);
        self.refs[first.min(end)..end.min(first + limit)].to_vec()
    }

    /// What will be sealed once all frames up to `seq` are, `seq` being at least the last that is.
    pub(crate) fn state_behind(&self, seq: u64) -> (u64, Steps) {
        let open = self.refs.partition_point(|frame| frame.seq <= seq);
        match (open.checked_sub(1), self.refs.get(open)) {
            (None, _) => (self.sealed.count, self.sealed.steps),
            (Some(last), Some(next)) => (next.first, self.refs[last].steps),
            (Some(_), None) => (self.count, self.steps),
        }
    }

    /// Drops what refers to frames up to `seq`, whose points are in sheets now.
    pub(crate) fn seal(&mut self, seq: u64, sealed: RowsState) {
        let open = self.refs.partition_point(|frame| frame.seq <= seq);
        self.refs = self.refs.split_off(open);
        self.sealed = sealed;
    }
}
