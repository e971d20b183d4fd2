//! A frame with some of its blocks replaced by the count of what they held.
//!
//! Only frames that the server does not have are ever sent in another form than before, so each number is stored once in
//! one form.

use std::collections::HashSet;

use bytes::Bytes;
use neptune_wire::Digest;
use neptune_wire::frame::{self, Block, FrameBuilder, FrameError, ImageRecord};

/// The frame without points of `channels` and without images of `images`.
///
/// What is left out is reported as dropped. A channel that is not bound cannot be named in a frame, so its count is
/// reported on the frame's first channel that is.
pub(super) fn without(
    bytes: &[u8],
    channels: &HashSet<u32>,
    images: &HashSet<Digest>,
) -> Result<Bytes, FrameError> {
    let frame = frame::parse(bytes)?;
    let mut builder = FrameBuilder::new(frame.header.session, frame.header.seq);
    let bound = frame.blocks.iter().map(|(channel, _)| *channel).find(|channel| !channels.contains(channel));
    let mut unbound = 0;
    for (channel, block) in &frame.blocks {
        if channels.contains(channel) {
            unbound += block.count();
        } else {
            copy(&mut builder, *channel, block, images);
        }
    }
    if let Some(channel) = bound {
        builder.push_dropped(channel, unbound);
    }
    Ok(builder.finish().into())
}

fn copy(builder: &mut FrameBuilder, channel: u32, block: &Block<'_>, lost: &HashSet<Digest>) {
    match block {
        Block::Numeric(numeric) => {
            let (x, y): (Vec<_>, Vec<_>) = numeric.x().zip(numeric.y()).unzip();
            let time: Vec<_> = numeric.time().collect();
            let taken = builder.push_numeric(channel, &x, &y, &time);
            debug_assert_eq!(taken, x.len(), "what fitted a fuller frame fits");
        }
        Block::Text(text) => text.entries().for_each(|entry| {
            builder.push_text(channel, entry.x, entry.time, entry.text, entry.continues);
        }),
        Block::Images(images) => {
            for entry in images.entries() {
                if lost.contains(&entry.digest) {
                    builder.push_dropped(channel, 1);
                    continue;
                }
                builder.push_image(
                    channel,
                    &ImageRecord {
                        x: entry.x,
                        time: entry.time,
                        digest: entry.digest,
                        width: entry.width,
                        height: entry.height,
                        size_bytes: entry.size_bytes,
                        name: entry.name.into(),
                        description: entry.description.into(),
                    },
                );
            }
        }
        Block::Log(log) => {
            builder.push_log(channel, log.offset, log.x, log.time, log.bytes);
        }
        Block::Dropped(count) => {
            builder.push_dropped(channel, *count);
        }
    }
}
