//! Images of a channel, without their bytes.

use neptune_store::Store;
use neptune_wire::frame::Block;
use neptune_wire::query::{ImagePoint, Images, ImagesQuery};
use neptune_wire::{Micros, Number};

use super::frames;
use crate::Refused;
use crate::heads::{Head, JobHeads};

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

pub(super) async fn page(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    query: &ImagesQuery,
) -> Result<Images, Refused> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refused::field("limit", "must be 1 to 1000"));
    }
    let total = heads.lock().channels[channel as usize].count();
    let images = from(store, heads, channel, query.index.unwrap_or(0), limit as usize).await?;
    let next = images.last().map(|last| last.index + 1).filter(|next| *next < total);
    Ok(Images { images, total, next })
}

/// Images from `index` on, at most `limit` of them.
pub(crate) async fn from(
    store: &Store,
    heads: &JobHeads,
    channel: u32,
    index: u64,
    limit: usize,
) -> Result<Vec<ImagePoint>, Refused> {
    let mut images: Vec<ImagePoint> = Vec::new();
    let mut at = index;
    while images.len() < limit {
        let refs = match &heads.lock().channels[channel as usize].head {
            Head::Images(head) if at < head.count() => head.frames_from(at, frames::FRAMES).to_vec(),
            _ => break,
        };
        let seqs: Vec<u64> = refs.iter().map(|frame| frame.seq).collect();
        for (frame_ref, bytes) in refs.iter().zip(frames::read(store, heads, &seqs).await?) {
            let frame = frames::open(frame_ref.seq, &bytes)?;
            let mut number = frame_ref.first;
            for block in frames::blocks(heads, &frame, channel) {
                let Block::Images(block) = block else { continue };
                for entry in block.entries() {
                    if number >= at && images.len() < limit {
                        images.push(ImagePoint {
                            index: number,
                            x: Number(entry.x),
                            time: Micros(entry.time),
                            name: entry.name.into(),
                            description: entry.description.into(),
                            width: entry.width,
                            height: entry.height,
                            size_bytes: entry.size_bytes,
                            digest: entry.digest,
                        });
                    }
                    number += 1;
                }
            }
            at = at.max(number);
        }
    }
    Ok(images)
}
