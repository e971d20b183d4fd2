//! What goes into a frame comes out of it, bit for bit; what was damaged is refused.

use proptest::prelude::*;

use super::*;
use crate::id::{Digest, SessionId};

const SESSION: SessionId = SessionId::from_bytes([9; 16]);

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

fn one_of_each() -> Vec<u8> {
    let mut frame = FrameBuilder::new(SESSION, 7);
    assert_eq!(frame.push_numeric(0, &[1.0, 2.0, 3.0], &[0.5, 0.25, f64::NAN], &[10, 20, 15]), 3);
    assert!(frame.push_text(1, 4.0, 30, "größer", false));
    let image = ImageRecord {
        x: 5.0,
        time: 40,
        digest: Digest::from_bytes([3; 32]),
        width: 28,
        height: 28,
        size_bytes: 1234,
        name: "digit".into(),
        description: "a 7".into(),
    };
    assert!(frame.push_image(2, &image));
    assert_eq!(frame.push_log(3, 100, 6.0, 50, b"\xff\xfeline\n"), 7);
    assert!(frame.push_dropped(0, 12));
    frame.finish()
}

#[test]
fn each_kind_of_block_comes_back() {
    let bytes = one_of_each();
    let frame = parse(&bytes).unwrap();
    assert_eq!(frame.header, Header { session: SESSION, seq: 7 });
    let [
        (0, Block::Numeric(numeric)),
        (1, Block::Text(text)),
        (2, Block::Images(images)),
        (3, Block::Log(log)),
        (0, Block::Dropped(12)),
    ] = frame.blocks[..]
    else {
        panic!("{frame:?}");
    };
    assert_eq!(numeric.x().collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    assert_eq!(bits(numeric.y()), bits([0.5, 0.25, f64::NAN]));
    assert_eq!(numeric.time().collect::<Vec<_>>(), [10, 20, 15]);
    let entries: Vec<_> = text.entries().collect();
    assert_eq!(entries, [TextEntry { x: 4.0, time: 30, text: "größer", continues: false }]);
    let image = images.entries().next().unwrap();
    assert_eq!((image.name, image.description, image.size_bytes), ("digit", "a 7", 1234));
    assert_eq!((log.offset, log.bytes), (100, &b"\xff\xfeline\n"[..]));
}

#[test]
fn the_layout_is_the_documented_one() {
    // The fixture is what version 1 of the contract wrote; clients in other languages were built from its layout.
    let fixture = include_bytes!("../../fixtures/frame-v1.bin");
    assert_eq!(
        one_of_each(),
        fixture,
        "the frame layout is a promise: a change needs a new magic and fixture"
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = one_of_each();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << (position % 8);
        assert!(parse(&damaged).is_err(), "bit flipped at {position}");
        assert!(parse(&bytes[..position]).is_err(), "cut at {position}");
    }
}

#[test]
fn a_frame_never_grows_over_its_limit() {
    let mut frame = FrameBuilder::new(SESSION, 1);
    let x = vec![0.1; 10_000];
    let y = vec![f64::MAX; 10_000];
    let time: Vec<i64> = (0..10_000).map(|i| i * i64::from(u32::MAX)).collect();
    let taken = frame.push_numeric(0, &x, &y, &time);
    assert!(taken > 2_000 && taken < 10_000);
    while frame.push_text(1, 0.0, 0, "x", false) {}
    frame.push_log(2, 0, 0.0, 0, &[0; 100]);
    let bytes = frame.finish();
    assert!(bytes.len() <= FRAME_BYTES);
    parse(&bytes).unwrap();
}

#[test]
fn a_few_bytes_cannot_claim_billions_of_points() {
    let mut frame = FrameBuilder::new(SESSION, 1);
    frame.push_numeric(0, &[1.0, 2.0, 3.0], &[1.0; 3], &[5; 3]);
    let mut bytes = frame.finish();
    let end = bytes.len() - CRC_BYTES;
    bytes[HEADER_BYTES + 8..HEADER_BYTES + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(parse(&bytes), Err(FrameError::Layout("cut")));
}

/// Any f64 at all, with the nasty ones often, and runs that are affine or representable as f32.
fn column() -> impl Strategy<Value = Vec<f64>> {
    let nasty = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<f32>().prop_map(f64::from),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-0.0),
    ];
    prop_oneof![
        prop::collection::vec(nasty, 1..50),
        (any::<f64>(), any::<f64>(), 1..50usize)
            .prop_map(|(start, stride, n)| (0..n).map(|i| start + stride * i as f64).collect()),
    ]
}

proptest! {
    #[test]
    fn any_points_come_back_bit_for_bit(x in column(), y in column(), time in prop::collection::vec(any::<i64>(), 50), near in any::<bool>()) {
        let n = x.len().min(y.len());
        let time: Vec<i64> = time[..n].iter().map(|time| if near { time % 1_000_000 } else { *time }).collect();
        let mut frame = FrameBuilder::new(SESSION, u64::MAX);
        prop_assert_eq!(frame.push_numeric(u32::MAX, &x[..n], &y[..n], &time), n);
        let bytes = frame.finish();
        let frame = parse(&bytes).unwrap();
        let (u32::MAX, Block::Numeric(numeric)) = frame.blocks[0] else { panic!("{frame:?}") };
        prop_assert_eq!(bits(numeric.x()), bits(x[..n].iter().copied()));
        prop_assert_eq!(bits(numeric.y()), bits(y[..n].iter().copied()));
        prop_assert_eq!(numeric.time().collect::<Vec<_>>(), time);
    }

    #[test]
    fn any_bytes_with_a_right_checksum_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..7u8) {
        let mut frame = MAGIC.to_vec();
        frame.extend_from_slice(&[1; 24]);
        frame.extend_from_slice(&[1, 0, 0, 0]);
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        frame.extend(bytes);
        let crc = crc32fast::hash(&frame);
        frame.extend_from_slice(&crc.to_le_bytes());
        if let Ok(frame) = parse(&frame) {
            for (_, block) in frame.blocks {
                match block {
                    Block::Numeric(numeric) => {
                        numeric.x().zip(numeric.y()).zip(numeric.time()).for_each(drop);
                    }
                    Block::Text(text) => text.entries().for_each(drop),
                    Block::Images(images) => images.entries().for_each(drop),
                    Block::Log(_) | Block::Dropped(_) => {}
                }
            }
        }
    }
}
