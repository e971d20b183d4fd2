//! Images of a channel, without their bytes.

use bytes::Bytes;
use neptune_store::Store;
use neptune_store::sheet::ImageRow;
use neptune_store::sheets::SheetRange;
use neptune_wire::frame::Block;
use neptune_wire::query::{ImagePoint, Images, ImagesQuery};
use neptune_wire::{Micros, Number};

use super::frames;
use crate::Refused;
use crate::heads::refs::{FoundPoint, FrameRef};
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
    while images.len() < limit {
        let at = index + images.len() as u64;
        let some = read(store, heads, channel, at).await?;
        if some.is_empty() {
            break;
        }
        images.extend(some);
    }
    images.truncate(limit);
    Ok(images)
}

/// Some images from `index` on, at least one if there is one: what a sheet or a few frames hold.
async fn read(store: &Store, heads: &JobHeads, channel: u32, index: u64) -> Result<Vec<ImagePoint>, Refused> {
    let mut seqs = Vec::new();
    for _ in 0..frames::LOOKS {
        let found = match &heads.lock().channels[channel as usize].head {
            Head::Images(head) => head.find(index, frames::FRAMES),
            _ => FoundPoint::End,
        };
        match found {
            FoundPoint::End => return Ok(vec![]),
            FoundPoint::Sealed { until } => {
                let range = SheetRange { job: &heads.uid, channel, at: index, until };
                return sealed_images(store, range).await;
            }
            FoundPoint::Open(refs) => {
                seqs = refs.iter().map(|frame| frame.seq).collect();
                if let Some(frames) = frames::read(store, heads, &seqs).await? {
                    return open_images(heads, channel, index, &refs, &frames);
                }
            }
        }
    }
    Err(frames::gone(&seqs))
}

async fn sealed_images(store: &Store, range: SheetRange<'_>) -> Result<Vec<ImagePoint>, Refused> {
    let sheets = store.read_sheets::<ImageRow>(range, 0).await?;
    let rows = sheets.into_iter().flat_map(|sheet| (sheet.start.at..).zip(sheet.rows));
    // Both are UTF-8, or the sheet would have been refused.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let image = |(index, row): (u64, ImageRow)| ImagePoint {
        index,
        x: Number(row.x),
        time: Micros(row.time),
        name: text(&row.name),
        description: text(&row.description),
        width: row.width,
        height: row.height,
        size_bytes: row.size_bytes,
        digest: row.digest,
    };
    Ok(rows.skip_while(|(index, _)| *index < range.at).map(image).collect())
}

fn open_images(
    heads: &JobHeads,
    channel: u32,
    index: u64,
    refs: &[FrameRef],
    frames: &[Bytes],
) -> Result<Vec<ImagePoint>, Refused> {
    let mut images = Vec::new();
    for (frame_ref, bytes) in refs.iter().zip(frames) {
        let frame = frames::open(frame_ref.seq, bytes)?;
        let mut number = frame_ref.first;
        for block in frames::blocks(heads, &frame, channel) {
            let Block::Images(block) = block else { continue };
            for entry in block.entries() {
                if number >= index {
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
    }
    Ok(images)
}
