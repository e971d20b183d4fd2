//! Frames read back by reference, and the blocks of one channel in them.

use bytes::Bytes;
use neptune_store::Store;
use neptune_wire::frame::{Block, Frame, Log, parse};

use crate::Refused;
use crate::heads::JobHeads;
use crate::heads::log::Piece;

/// Frames that are read at once: about one megabyte.
pub(crate) const FRAMES: usize = 16;
/// So often a reader looks at the head when what it was sent to is gone: once is enough if nothing is damaged, as the
/// head is turned to the sheets before the frames go. The others are for rounds that follow each other closely.
pub(crate) const LOOKS: usize = 4;

/// Reads frames of a job's log in the order asked; one asked twice in a row is read once. `None` when one of them is not
/// there any more: what was in it is sealed.
pub(crate) async fn read(
    store: &Store,
    heads: &JobHeads,
    seqs: &[u64],
) -> Result<Option<Vec<Bytes>>, Refused> {
    let mut each = seqs.to_vec();
    each.dedup();
    let found = store.find_frames(&heads.uid, &each).await?;
    let mut frames = Vec::with_capacity(seqs.len());
    let mut at = 0;
    for seq in seqs {
        while each[at] != *seq {
            at += 1;
        }
        let Some(frame) = found[at].clone() else { return Ok(None) };
        frames.push(frame);
    }
    Ok(Some(frames))
}

/// Reads a stored frame.
pub(crate) fn open(seq: u64, bytes: &[u8]) -> Result<Frame<'_>, Refused> {
    parse(bytes).map_err(|error| damaged(seq, &error.to_string()))
}

/// The blocks of one channel in a frame, in order.
pub(crate) fn blocks<'a>(heads: &JobHeads, frame: &Frame<'a>, channel: u32) -> Vec<Block<'a>> {
    let inner = heads.lock();
    let session = &frame.header.session;
    let of_channel = |number: &u32| inner.find_number(session, *number) == Some(channel);
    frame.blocks.iter().filter(|(number, _)| of_channel(number)).map(|(_, block)| *block).collect()
}

/// The block of a piece; its bytes still hold what the piece leaves out.
pub(crate) fn log_block<'a>(piece: &Piece, bytes: &'a [u8]) -> Result<Log<'a>, Refused> {
    let frame = open(piece.seq, bytes)?;
    match frame.blocks.get(usize::from(piece.block)) {
        Some((_, Block::Log(log))) => Ok(*log),
        _ => Err(damaged(piece.seq, "it has no log where one was")),
    }
}

/// Frames that a head refers to and that stay gone.
pub(crate) fn gone(seqs: &[u64]) -> Refused {
    damaged(seqs.first().copied().unwrap_or_default(), "it or one after it is missing")
}

fn damaged(seq: u64, what: &str) -> Refused {
    Refused::Storage(format!("frame {seq} of the job's log is damaged: {what}").into())
}
