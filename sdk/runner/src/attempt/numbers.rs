//! Numeric channels from printed lines: everywhere in a line where a prefix stands with a number behind it.

use crate::config::LogChannel;

/// A line longer than this is searched in pieces.
const LINE_BYTES: usize = 64 * 1024;

/// Finds numbers in a stream of bytes that comes in pieces. A carriage return ends a line too, as progress bars use it.
#[derive(Debug)]
pub(super) struct Numbers {
    prefixes: Vec<String>,
    line: Vec<u8>,
}

impl Numbers {
    pub(super) fn new(channels: &[LogChannel]) -> Self {
        Self { prefixes: channels.iter().map(|channel| channel.prefix.clone()).collect(), line: Vec::new() }
    }

    /// Takes the next bytes; calls `found` with the prefix's index and the number for each hit in a finished line.
    pub(super) fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(usize, f64)) {
        if self.prefixes.is_empty() {
            return;
        }
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") || self.line.len() > LINE_BYTES {
                self.finish(found);
            }
        }
    }

    /// The stream has ended: what is there of the last line is a line.
    pub(super) fn finish(&mut self, found: &mut dyn FnMut(usize, f64)) {
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let mut rest = self.line.as_slice();
            while let Some(at) = position(rest, prefix.as_bytes()) {
                rest = &rest[at + prefix.len()..];
                if let Some(number) = number(rest) {
                    found(index, number);
                }
            }
        }
        self.line.clear();
    }
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Reads blanks, then `[+-] digits [. digits] [e [+-] digits]`; not `.5`, `nan` or `inf`.
fn number(text: &[u8]) -> Option<f64> {
    let text = &text[text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..];
    let digits =
        |from: usize| text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let mut end = sign + digits(sign);
    if end == sign {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefixes: &[&str], pieces: &[&[u8]], expected: &[(&str, f64)]) {
        let channels: Vec<_> = prefixes.iter().map(|prefix| LogChannel::new(prefix, "x").unwrap()).collect();
        let mut numbers = Numbers::new(&channels);
        let mut hits = Vec::new();
        let mut found = |index: usize, value| hits.push((prefixes[index], value));
        pieces.iter().for_each(|piece| numbers.feed(piece, &mut found));
        numbers.finish(&mut found);
        assert_eq!(hits, expected);
    }

    #[test]
    fn a_prefix_and_a_number_anywhere_in_a_line() {
        check(
            &["loss:"],
            &[b"epoch 1 loss: 0.25, val loss:\t-1e-3\n"],
            &[("loss:", 0.25), ("loss:", -0.001)],
        );
        check(&["loss", "acc="], &[b"acc=1. loss 5E2x\n"], &[("loss", 500.0), ("acc=", 1.0)]);
        check(&["x"], &[b"x+7 x 3e x -2.5.1\n"], &[("x", 7.0), ("x", 3.0), ("x", -2.5)]);
    }

    #[test]
    fn what_is_no_number_is_none() {
        check(&["x"], &[b"x .5 x nan x inf x - x  x\nx"], &[]);
        check(&["x"], &[b"x\n5\n"], &[]);
        check(&[], &[b"x 5\n"], &[]);
    }

    #[test]
    fn lines_come_in_pieces_and_may_lack_their_end() {
        check(
            &["loss: "],
            &[b"lo", b"ss: 1", b"2", b"\rloss: 3\r\nloss: 4"],
            &[("loss: ", 12.0), ("loss: ", 3.0), ("loss: ", 4.0)],
        );
        check(&["é"], &[&[0xc3], &[0xa9, b'1', 0xff, b'\n']], &[("é", 1.0)]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut numbers = Numbers::new(&[LogChannel::new("x", "x").unwrap()]);
        for _ in 0..100 {
            numbers.feed(&[b'a'; 10_000], &mut |_, _| {});
        }
        assert!(numbers.line.capacity() < 4 * LINE_BYTES);
    }

    proptest::proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(text in "([a-c]|loss: ?|[-+0-9.e]|\\n|\\r){0,60}", cuts in proptest::collection::vec(0usize..200, 0..6)) {
            let channels = [LogChannel::new("loss:", "x").unwrap(), LogChannel::new("a", "y").unwrap()];
            let run = |pieces: Vec<&[u8]>| {
                let (mut numbers, mut hits) = (Numbers::new(&channels), Vec::new());
                let mut found = |index: usize, value: f64| hits.push((index, value.to_bits()));
                pieces.iter().for_each(|piece| numbers.feed(piece, &mut found));
                numbers.finish(&mut found);
                hits
            };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&text.as_bytes()[from..]);
            proptest::prop_assert_eq!(run(pieces), run(vec![text.as_bytes()]));
        }
    }
}
