//! Lines of a log do not depend on how its bytes came, and no byte is stored twice.

use proptest::prelude::*;

use super::*;

fn block(offset: u64, bytes: &[u8]) -> Log<'_> {
    Log { offset, x: 0.0, time: 0, bytes }
}

/// Lines of a whole stream by the plainest means: text, whether it goes on, whether it is finished.
fn lines_of(stream: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut lines = Vec::new();
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
        while rest.len() > LINE_BYTES {
            let mut cut = LINE_BYTES;
            while cut < LINE_BYTES + 3 && rest.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
                cut += 1;
            }
            if cut == rest.len() {
                break;
            }
            lines.push((rest[..cut].to_vec(), true));
            rest = &rest[cut..];
        }
        lines.push((rest.to_vec(), false));
    }
    lines
}

/// Lines from pieces, as a reader puts them together.
fn lines_by_segments(pieces: &[&[u8]]) -> (Vec<(Vec<u8>, bool)>, u32) {
    let (mut lines, mut open) = (Vec::<(Vec<u8>, bool)>::new(), 0);
    for piece in pieces {
        for segment in Segments::new(open, piece) {
            if segment.begins {
                lines.push((vec![], false));
            }
            let line = lines.last_mut().unwrap();
            line.0.extend_from_slice(segment.bytes);
            line.1 = segment.end == End::Long;
            open = segment.open;
        }
    }
    (lines, open)
}

#[test]
fn lines_are_cut_at_line_feeds() {
    let check = |stream: &[u8], lines: &[&str], open| {
        let (found, left) = lines_by_segments(&[stream]);
        let found: Vec<_> = found.iter().map(|(line, _)| std::str::from_utf8(line).unwrap()).collect();
        assert_eq!((found.as_slice(), left), (lines, open), "{stream:?}");
    };
    check(b"", &[], 0);
    check(b"a", &["a"], 1);
    check(b"a\n", &["a"], 0);
    check(b"\n", &[""], 0);
    check(b"\n\na\r\nb", &["", "", "a\r", "b"], 1);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let fits = "x".repeat(LINE_BYTES);
    assert_eq!(lines_by_segments(&[fits.as_bytes()]).0.len(), 1);
    assert_eq!(lines_by_segments(&[fits.as_bytes(), b"\n"]).0, [(fits.clone().into_bytes(), false)]);
    let (lines, open) = lines_by_segments(&[fits.as_bytes(), b"y"]);
    assert_eq!((lines.len(), lines[0].1, open), (2, true, 1));
    let umlauts = format!("x{}", "ü".repeat(LINE_BYTES));
    for (line, _) in lines_by_segments(&[umlauts.as_bytes()]).0 {
        assert!(std::str::from_utf8(&line).is_ok());
    }
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_the_bytes_came(
        parts in prop::collection::vec(
            prop_oneof![
                4 => "[a-zü\n]{0,12}",
                1 => (LINE_BYTES - 4..LINE_BYTES + 5).prop_map(|length| "x".repeat(length)),
                1 => (LINE_BYTES / 2 - 3..LINE_BYTES / 2 + 3).prop_map(|length| "ü".repeat(length)),
            ],
            0..12,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = parts.concat().into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let (found, open) = lines_by_segments(&pieces);
        prop_assert_eq!(&found, &lines_of(&stream));
        prop_assert_eq!(open > 0, !stream.is_empty() && !stream.ends_with(b"\n"));

        let mut head = LogHead::default();
        let mut offset = 0;
        for (seq, piece) in (1..).zip(&pieces) {
            if !piece.is_empty() {
                let cut = head.append(seq, 0, AttemptNumber(1), &block(offset, piece));
                prop_assert_eq!(cut.lost, 0);
            }
            offset += piece.len() as u64;
        }
        prop_assert_eq!(head.line_count() as usize, found.len());
        prop_assert_eq!(head.length() as usize, stream.len());
        // A line is found in the piece where it begins.
        for line in 0..head.line_count() {
            let FoundPlace::Open(found) = head.find(LogPlace::Line(line), 2) else { panic!("line {line}") };
            let next = found.get(1).map_or(head.line_count(), |next| next.lines);
            prop_assert!(found[0].lines <= line && line < next);
        }
    }

    #[test]
    fn what_is_sent_twice_is_stored_once(
        sends in prop::collection::vec((0..40_u64, 1..20_u64), 1..30),
    ) {
        // Every send is a stretch of one stream; the sender may go back, and may lose bytes by going ahead.
        let stream: Vec<u8> = (0..100).collect();
        let (mut head, mut reached, mut lost, mut stored) = (LogHead::default(), 0, 0, Vec::new());
        for (seq, (offset, length)) in (1..).zip(sends) {
            let bytes = &stream[offset as usize..(offset + length) as usize];
            let cut = head.append(seq, 0, AttemptNumber(1), &block(offset, bytes));
            prop_assert_eq!(cut.lost, offset.saturating_sub(reached));
            lost += cut.lost;
            stored.extend_from_slice(&bytes[cut.skip as usize..]);
            reached = reached.max(offset + length);
        }
        prop_assert_eq!(head.length() + lost, reached);
        // What is stored is the stream without what was lost: every byte once, in order.
        prop_assert!(stored.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(stored.len() as u64, head.length());
    }
}

#[test]
fn a_gap_is_counted_once_and_marked() {
    let mut head = LogHead::default();
    let first = AttemptNumber(1);
    head.append(1, 0, first, &block(0, b"half a li"));
    // The sender says that it lost 5 bytes; the gap shows 7.
    head.announce_lost(1, first, 5);
    let cut = head.append(2, 0, first, &block(16, b"next\n"));
    assert_eq!((cut.gap, cut.lost), (7, 2));
    assert_eq!((head.line_count(), head.length()), (3, 14));
    assert_eq!(head.pieces[1].lost, 7);
    // Whoever reads on from the byte before the gap meets its mark.
    let FoundPlace::Open(found) = head.find(LogPlace::Byte(9), 1) else { panic!() };
    assert_eq!(found[0].lost, 7);
    assert_eq!(head.find(LogPlace::Byte(14), 1), FoundPlace::End);
    // The state behind the first frame knows what was announced in it.
    let state = head.state_behind(1).unwrap();
    assert_eq!((state.length, state.lines, state.open, state.cursor.announced), (9, 1, 9, 5));
}

#[test]
fn a_new_attempt_writes_from_zero_again() {
    let mut head = LogHead::default();
    head.append(1, 0, AttemptNumber(1), &block(0, b"one\nunfinished"));
    let cut = head.append(2, 0, AttemptNumber(2), &block(0, b"two\n"));
    assert_eq!(cut, Cut { skip: 0, gap: 0, lost: 0, new_attempt: true });
    assert_eq!((head.line_count(), head.length()), (3, 18));
    assert_eq!(head.pieces[1].open, 0);
}
