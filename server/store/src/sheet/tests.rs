//! Rows come back bit for bit, however they are cut, and damage is told.

use neptune_wire::Digest;
use proptest::prelude::*;

use super::*;
use crate::segment::LINE_BYTES;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-100_i32..100).prop_map(f64::from),
        Just(-0.0),
        Just(f64::NAN),
        Just(9_223_372_036_854_775_808.0),
    ]
}

fn bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 1..40),
        8 => "[a-zü\n]{1,40}".prop_map(String::into_bytes),
        1 => (1..longest).prop_map(|length| vec![b'x'; length]),
        1 => (any::<u64>(), 1..longest).prop_map(|(seed, length)| noise(seed, length)),
    ]
    .prop_map(Bytes::from)
}

/// Bytes that do not compress.
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn text() -> impl Strategy<Value = Bytes> {
    let text =
        prop_oneof![8 => ".{0,40}", 1 => (0..32_usize << 10).prop_map(|length| "ü".repeat(length / 2))];
    text.prop_map(Bytes::from)
}

fn text_row() -> impl Strategy<Value = TextRow> {
    (number(), any::<i64>(), text(), any::<bool>()).prop_map(|(x, time, text, continues)| TextRow {
        x,
        time,
        text,
        continues,
    })
}

fn log_row() -> impl Strategy<Value = LogRow> {
    let lost = prop_oneof![4 => Just(0), 1 => any::<u64>()];
    (number(), any::<i64>(), lost, any::<bool>(), bytes(60 << 10))
        .prop_map(|(x, time, lost, breaks, bytes)| LogRow { x, time, lost, breaks, bytes })
}

fn image_row() -> impl Strategy<Value = ImageRow> {
    (number(), any::<i64>(), any::<([u8; 32], u32, u32, u64)>(), text(), text()).prop_map(
        |(x, time, (digest, width, height, size_bytes), name, description)| {
            let digest = Digest::from_bytes(digest);
            let [name, description] =
                [name, description].map(|text| text.slice(..text.len().min(4 << 10) & !1));
            let whole = |text: Bytes| if std::str::from_utf8(&text).is_ok() { text } else { Bytes::new() };
            let (name, description) = (whole(name), whole(description));
            ImageRow { x, time, digest, width, height, size_bytes, name, description }
        },
    )
}

/// Equal numbers are equal bits: NaN too.
fn plain<R: Row>(row: &R) -> Vec<u8> {
    let mut out = Vec::new();
    R::push_all(std::slice::from_ref(row), &mut out);
    out
}

/// Seals rows and reads them back; logs may come back in more pieces, so they are compared by their bytes.
fn check<R: Row>(rows: &[R]) -> Vec<Sheet<R>> {
    let mut start = Place { at: 7, ..Place::default() };
    let sealed = Sheet { start, rows: rows.to_vec() }.seal();
    let mut sheets = Vec::new();
    for (place, bytes) in sealed {
        assert!(bytes.len() <= SHEET_BYTES, "{} bytes", bytes.len());
        let sheet = Sheet::<R>::decode(place.at, &bytes).unwrap();
        assert_eq!((sheet.start, place), (start, start));
        start = sheet.rows.iter().fold(start, |place, row| row.place_behind(place));
        assert_eq!(sheet.end(), start.at);
        sheets.push(sheet);
    }
    assert_eq!(start, rows.iter().fold(Place { at: 7, ..Place::default() }, |at, row| row.place_behind(at)));
    sheets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_line_and_image_survives(
        texts in prop::collection::vec(text_row(), 1..40),
        images in prop::collection::vec(image_row(), 1..40),
    ) {
        let found: Vec<_> = check(&texts).iter().flat_map(|sheet| sheet.rows.iter().map(plain)).collect();
        prop_assert_eq!(found, texts.iter().map(plain).collect::<Vec<_>>());
        let found: Vec<_> = check(&images).iter().flat_map(|sheet| sheet.rows.iter().map(plain)).collect();
        prop_assert_eq!(found, images.iter().map(plain).collect::<Vec<_>>());
    }

    #[test]
    fn every_byte_of_a_log_survives(rows in prop::collection::vec(log_row(), 1..12)) {
        let mut found: Vec<LogRow> = check(&rows).into_iter().flat_map(|sheet| sheet.rows).collect();
        // A row that was cut is put together again.
        let mut at = 0;
        while at < rows.len() {
            while found[at].bytes.len() < rows[at].bytes.len() {
                let rest = found.remove(at + 1);
                prop_assert_eq!((rest.lost, rest.breaks, rest.x.to_bits()), (0, false, rows[at].x.to_bits()));
                found[at].bytes = [&found[at].bytes[..], &rest.bytes].concat().into();
            }
            prop_assert_eq!(plain(&found[at]), plain(&rows[at]));
            at += 1;
        }
        prop_assert_eq!(found.len(), rows.len());
    }

    #[test]
    fn damage_is_told(rows in prop::collection::vec(log_row(), 1..3), place: prop::sample::Index, bit in 0_u8..8) {
        let bytes = Sheet { start: Place::default(), rows }.encode();
        let place = place.index(bytes.len());
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 1 << bit;
        prop_assert!(Sheet::<LogRow>::decode(0, &flipped).is_err());
        prop_assert!(Sheet::<LogRow>::decode(0, &bytes[..place]).is_err());
        prop_assert!(Sheet::<TextRow>::decode(0, &bytes).is_err());
    }

    #[test]
    fn bytes_that_only_look_right_are_refused(body in prop::collection::vec(any::<u8>(), 0..200), count in 0_u32..50) {
        // Even with a checksum that is right, nothing panics and nothing large is asked of memory.
        for kind in 1..=3 {
            let packed = zstd::bulk::compress(&body, LEVEL).unwrap();
            let mut bytes = vec![VERSION, kind];
            bytes.extend_from_slice(&count.to_le_bytes());
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&[0; 12]);
            bytes.extend_from_slice(&packed);
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
            let _ = Sheet::<TextRow>::decode(0, &bytes);
            let _ = Sheet::<LogRow>::decode(0, &bytes);
            let _ = Sheet::<ImageRow>::decode(0, &bytes);
        }
    }
}

#[test]
fn the_longest_row_fits_a_value() {
    let row = LogRow { x: 0.5, time: 1, lost: 0, breaks: false, bytes: noise(1, 60 << 10).into() };
    let sheets = check(&[row]);
    assert_eq!(sheets.len(), 2);
    let rows: Vec<TextRow> = (0..5)
        .map(|_| TextRow { x: 0.0, time: 0, text: vec![b'x'; 32 << 10].into(), continues: true })
        .collect();
    assert_eq!(check(&rows).len(), 1);
}

#[test]
fn a_sheet_is_cut_where_the_channel_was_sealed() {
    let row = |text: &'static str| TextRow { x: 0.0, time: 0, text: text.into(), continues: false };
    let mut sheet =
        Sheet { start: Place { at: 5, ..Place::default() }, rows: vec![row("a"), row("b"), row("c")] };
    sheet.truncate(9);
    assert_eq!(sheet.end(), 8);
    sheet.truncate(6);
    assert_eq!(sheet.rows, [row("a")]);
}

#[test]
fn places_in_a_log_know_their_lines() {
    let row =
        |lost, breaks, bytes: &'static [u8]| LogRow { x: 0.0, time: 0, lost, breaks, bytes: bytes.into() };
    let behind = |place: Place, row: &LogRow| (row.place_behind(place).lines, row.place_behind(place).open);
    let open = Place { at: 3, lines: 1, open: 3 };
    assert_eq!(behind(open, &row(0, false, b"x")), (1, 4));
    assert_eq!(behind(open, &row(0, true, b"x\ny")), (3, 1));
    assert_eq!(behind(open, &row(9, false, b"x\n")), (3, 0));
    let long = LogRow { bytes: vec![b'x'; LINE_BYTES].into(), ..row(0, false, b"") };
    assert_eq!(behind(open, &long), (2, 3));
}
