//! The content of a frame, checked against its session before it lines up.

use std::collections::BTreeMap;

use bytes::Bytes;
use neptune_wire::frame::{Block, Frame, FrameBuilder, FrameError, parse};
use neptune_wire::{ChannelKind, ChannelName};

use super::OpenSession;
use super::lane::{LogStep, What};
use crate::Refused;
use crate::heads::{Head, Inner};

/// Says what becomes of a frame whose turn it is: stored, or refused with the number of points that count as dropped.
pub(super) fn content(bytes: Bytes, open: &OpenSession) -> What {
    let damage = match parse(&bytes) {
        Ok(frame) => match blocks(&frame, open) {
            Ok((points, dropped, logs)) => return What::Frame { bytes, points, dropped, logs },
            Err(why) => return refused(&frame, open, why),
        },
        Err(damage) => damage,
    };
    match mended(&bytes, &damage).as_deref().map(parse) {
        Some(Ok(frame)) => refused(&frame, open, damage.into()),
        // Some points, nobody knows how many.
        _ => What::Refused { points: 1, why: damage.into(), stand_in: None },
    }
}

/// A refused frame, and what stands in the log for it: the bytes of logs that will be missing, so that the gap they leave
/// is not counted a second time.
fn refused(frame: &Frame<'_>, open: &OpenSession, why: Refused) -> What {
    let mut stand_in = FrameBuilder::new(frame.header.session, frame.header.seq);
    let mut lost = BTreeMap::<u32, (u32, u32)>::new();
    let inner = open.heads.lock();
    for (number, block) in &frame.blocks {
        let Block::Log(log) = block else { continue };
        let Some(channel) = open.session.find_channel(*number) else { continue };
        if let Head::Log(_) = inner.channels[channel as usize].head {
            // Added up: what stands in is never larger than what it stands for.
            lost.entry(channel).or_insert((*number, 0)).1 += log.bytes.len() as u32;
        }
    }
    let mut logs = Vec::new();
    for (channel, (number, bytes)) in lost {
        stand_in.push_dropped(number, bytes);
        logs.push(LogStep::Announced { channel, bytes: bytes.into() });
    }
    let stand_in = (!stand_in.is_empty()).then(|| (stand_in.finish().into(), logs));
    What::Refused { points: points_of(frame).max(1), why, stand_in }
}

fn blocks(frame: &Frame<'_>, open: &OpenSession) -> Result<(u64, u64, Vec<LogStep>), Refused> {
    let (mut points, mut dropped, mut logs) = (0, 0, Vec::new());
    let inner = open.heads.lock();
    for (number, block) in &frame.blocks {
        let channel = open.session.find_channel(*number);
        let channel = channel.ok_or(Refused::UnboundChannel { number: *number })?;
        check_kind(&inner, channel, block)?;
        match block {
            Block::Dropped(count) => {
                dropped += u64::from(*count);
                let is_log = matches!(inner.channels[channel as usize].head, Head::Log(_));
                if is_log {
                    logs.push(LogStep::Announced { channel, bytes: u64::from(*count) });
                }
            }
            Block::Log(log) => {
                points += 1;
                logs.push(LogStep::Block { channel, offset: log.offset, length: log.bytes.len() as u64 });
            }
            _ => points += u64::from(block.count()),
        }
    }
    Ok((points, dropped, logs))
}

pub(crate) fn check_kind(inner: &Inner, channel: u32, block: &Block<'_>) -> Result<(), Refused> {
    let head = &inner.channels[channel as usize];
    let fits = matches!(
        (&head.head, block),
        (Head::Numeric(_), Block::Numeric(_))
            | (Head::Text(_), Block::Text(_))
            | (Head::Images(_), Block::Images(_))
            | (Head::Log(_), Block::Log(_))
            | (_, Block::Dropped(_))
    );
    if fits {
        return Ok(());
    }
    let asked = match block {
        Block::Numeric(_) => ChannelKind::Numeric,
        Block::Images(_) => ChannelKind::Image,
        Block::Text(_) | Block::Log(_) | Block::Dropped(_) => ChannelKind::Text,
    };
    let (channel, exists): (ChannelName, _) = (head.record.name.clone(), head.record.kind);
    if exists == asked {
        // A log is a text channel, but its bytes come as log blocks alone.
        return Err(Refused::Protocol {
            wanted: "a log takes log blocks, another text channel takes text blocks",
        });
    }
    Err(Refused::ChannelKindDiffers { channel, exists, asked })
}

/// What a refused frame loses: its points; bytes for logs; and what its sender had lost before.
fn points_of(frame: &Frame<'_>) -> u64 {
    let points = |block: &Block<'_>| match block {
        Block::Log(log) => log.bytes.len() as u64,
        _ => u64::from(block.count()),
    };
    frame.blocks.iter().map(|(_, block)| points(block)).sum()
}

/// A frame whose checksum alone is wrong, made right so that what it lost can be counted.
fn mended(bytes: &[u8], damage: &FrameError) -> Option<Vec<u8>> {
    let body = bytes.len().checked_sub(4).filter(|_| *damage == FrameError::Checksum)?;
    let mut mended = bytes.to_vec();
    let checksum = crc32fast::hash(&mended[..body]);
    mended[body..].copy_from_slice(&checksum.to_le_bytes());
    Some(mended)
}
