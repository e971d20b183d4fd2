//! Frames read back by reference, and the blocks of one channel in them.

use bytes::Bytes;
use neptune_store::Store;
use neptune_wire::frame::{Block, Frame, parse};

use crate::Refused;
use crate::heads::JobHeads;

/// Frames that are read at once: about one megabyte.
pub(super) const FRAMES: usize = 16;

/// Reads frames of a job's log in the order asked; one asked twice in a row is read once.
pub(super) async fn read(store: &Store, heads: &JobHeads, seqs: &[u64]) -> Result<Vec<Bytes>, Refused> {
    let mut each = seqs.to_vec();
    each.dedup();
    let found = store.find_frames(&heads.uid, &each).await?;
    let mut frames = Vec::with_capacity(seqs.len());
    let mut at = 0;
    for seq in seqs {
        while each[at] != *seq {
            at += 1;
        }
        let frame = found[at].clone().ok_or_else(|| damaged(*seq, "it is missing"))?;
        frames.push(frame);
    }
    Ok(frames)
}

/// Reads a stored frame.
pub(super) fn open(seq: u64, bytes: &[u8]) -> Result<Frame<'_>, Refused> {
    parse(bytes).map_err(|error| damaged(seq, &error.to_string()))
}

/// The blocks of one channel in a frame, in order.
pub(super) fn blocks<'a>(heads: &JobHeads, frame: &Frame<'a>, channel: u32) -> Vec<Block<'a>> {
    let inner = heads.lock();
    let session = &frame.header.session;
    let of_channel = |number: &u32| inner.find_number(session, *number) == Some(channel);
    frame.blocks.iter().filter(|(number, _)| of_channel(number)).map(|(_, block)| *block).collect()
}

fn damaged(seq: u64, what: &str) -> Refused {
    Refused::Storage(format!("frame {seq} of the job's log is damaged: {what}").into())
}
