//! What a terminal would show of a log line: colours and weights (SGR of ECMA-48), progress bars folded.
//!
//! Only looks are read. Other escape sequences (moving the cursor, titles) are left out of the view; the raw log keeps
//! them. Each line starts plain, so that a line can be drawn without the lines before it.

const ESC: char = '\u{1b}';

/// How a run of characters looks. Colours are the 16 of a terminal: 0 to 7, 8 to 15 bright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// The text's colour; the page's own when absent.
    pub colour: Option<u8>,
    /// The ground's colour.
    pub ground: Option<u8>,
    /// Heavier.
    pub bold: bool,
    /// Fainter.
    pub dim: bool,
    /// Slanted.
    pub italic: bool,
    /// Underlined.
    pub underline: bool,
}

/// Characters of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How.
    pub style: Style,
    /// What; control characters are replaced by their pictures (U+2400 and on).
    pub text: String,
}

/// A progress bar redraws its line after each carriage return: answers the last drawing that is not blank, and how many
/// drawings came before it.
pub fn fold_progress(line: &str) -> (&str, usize) {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut seen = 0;
    let mut shown = "";
    for drawing in line.split('\r').filter(|drawing| !drawing.trim().is_empty()) {
        seen += 1;
        shown = drawing;
    }
    if seen <= 1 && !line.contains('\r') { (line, 0) } else { (shown, seen.max(1) - 1) }
}

/// Splits a line into runs of one look.
pub fn parse(line: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut style = Style::default();
    let mut rest = line;
    while let Some(at) = rest.find(ESC) {
        push(&mut runs, style, &rest[..at]);
        let (sequence, after) = split_escape(&rest[at + 1..]);
        match sequence {
            Escape::Looks(codes) => style = restyle(style, codes),
            Escape::Other => {}
            Escape::Alone => push(&mut runs, style, "\u{1b}"),
        }
        rest = after;
    }
    push(&mut runs, style, rest);
    runs
}

enum Escape<'a> {
    /// `ESC [ codes m`
    Looks(&'a str),
    /// Something a terminal obeys and does not show.
    Other,
    /// No sequence at all.
    Alone,
}

/// Reads what follows an ESC; answers it and the text after it.
fn split_escape(text: &str) -> (Escape<'_>, &str) {
    if let Some(codes) = text.strip_prefix('[') {
        let Some(end) = codes.find(|c: char| ('@'..='~').contains(&c)) else { return (Escape::Other, "") };
        let (codes, after) = codes.split_at(end);
        let looks = after.starts_with('m') && !codes.starts_with(['?', '>', '<', '=']);
        return (if looks { Escape::Looks(codes) } else { Escape::Other }, &after[1..]);
    }
    if let Some(title) = text.strip_prefix(']') {
        let end = title.find(['\u{7}', '\u{1b}']).unwrap_or(title.len());
        let after = &title[end..];
        let after = after.strip_prefix('\u{7}').or_else(|| after.strip_prefix("\u{1b}\\")).unwrap_or(after);
        return (Escape::Other, after);
    }
    (Escape::Alone, text)
}

fn restyle(mut style: Style, codes: &str) -> Style {
    let mut codes = codes.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
    while let Some(code) = codes.next() {
        match code {
            0 => style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = true,
            7 => {
                style = Style { colour: style.ground.or(Some(0)), ground: style.colour.or(Some(7)), ..style }
            }
            22 => style = Style { bold: false, dim: false, ..style },
            23 => style.italic = false,
            24 => style.underline = false,
            30..=37 => style.colour = Some(code as u8 - 30),
            38 => style.colour = extended(&mut codes).or(style.colour),
            39 => style.colour = None,
            40..=47 => style.ground = Some(code as u8 - 40),
            48 => style.ground = extended(&mut codes).or(style.ground),
            49 => style.ground = None,
            90..=97 => style.colour = Some(code as u8 - 82),
            100..=107 => style.ground = Some(code as u8 - 92),
            _ => {}
        }
    }
    style
}

/// `5;n` or `2;r;g;b`, as the nearest of the 16.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match codes.next()? {
        5 => match codes.next()? {
            plain @ 0..=15 => Some(plain as u8),
            cube @ 16..=231 => {
                let level = |divisor: u16| (cube - 16) / divisor % 6 * 51;
                Some(nearest(level(36), level(6), level(1)))
            }
            grey => {
                Some(nearest(grey.min(255) * 10 - 2312, grey.min(255) * 10 - 2312, grey.min(255) * 10 - 2312))
            }
        },
        2 => Some(nearest(codes.next()?, codes.next()?, codes.next()?)),
        _ => None,
    }
}

/// One bit per channel that is strong, and the bright half when one is very strong.
fn nearest(red: u16, green: u16, blue: u16) -> u8 {
    let strongest = red.max(green).max(blue);
    let weakest = red.min(green).min(blue);
    if strongest - weakest < 40 {
        return [0, 8, 7, 15][usize::from(strongest.min(255) / 64)];
    }
    let bit = |value: u16, bit: u8| if value > strongest / 2 { bit } else { 0 };
    bit(red, 1) + bit(green, 2) + bit(blue, 4) + if strongest > 191 { 8 } else { 0 }
}

fn push(runs: &mut Vec<Run>, style: Style, text: &str) {
    if text.is_empty() {
        return;
    }
    let text = text.chars().map(visible);
    match runs.last_mut().filter(|run| run.style == style) {
        Some(run) => run.text.extend(text),
        None => runs.push(Run { style, text: text.collect() }),
    }
}

fn visible(c: char) -> char {
    match c {
        '\t' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\u{7f}' => '\u{2421}',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let one = |run: &Run| {
            let Style { colour, ground, bold, dim, italic, underline } = run.style;
            let marks: String = [(bold, 'b'), (dim, 'd'), (italic, 'i'), (underline, 'u')]
                .into_iter()
                .filter_map(|(on, mark)| on.then_some(mark))
                .chain(colour.map(|c| char::from(b'A' + c)))
                .chain(ground.map(|c| char::from(b'a' + c)))
                .collect();
            format!("{marks}[{}]", run.text)
        };
        parse(line).iter().map(one).collect()
    }

    #[test]
    fn looks_are_read() {
        assert_eq!(shown("plain"), "[plain]");
        assert_eq!(shown("\u{1b}[1;31merror\u{1b}[0m: x"), "bB[error][: x]");
        assert_eq!(shown("\u{1b}[92mok\u{1b}[39m\u{1b}[mdone"), "K[ok][done]");
        assert_eq!(shown("\u{1b}[38;5;196mred\u{1b}[38;2;0;0;120mblue"), "J[red]E[blue]");
        assert_eq!(shown("\u{1b}[48;5;240mgrey"), "i[grey]");
        assert_eq!(shown("\u{1b}[7mswapped"), "Ah[swapped]");
    }

    #[test]
    fn other_sequences_do_not_litter_the_line() {
        assert_eq!(shown("\u{1b}[2K\u{1b}[1Aa\u{1b}[?25lb"), "[ab]");
        assert_eq!(shown("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b"), "[ab]");
        assert_eq!(shown("a\u{1b}[31"), "[a]");
    }

    #[test]
    fn control_characters_become_pictures() {
        assert_eq!(shown("a\u{0}b\u{1b}c\td"), "[a␀b␛c\td]");
    }

    #[test]
    fn a_progress_bar_shows_its_last_drawing() {
        assert_eq!(fold_progress("plain"), ("plain", 0));
        assert_eq!(fold_progress("windows\r"), ("windows", 0));
        assert_eq!(fold_progress("10%\r50%\r100%"), ("100%", 2));
        assert_eq!(fold_progress("10%\r100%\r   "), ("100%", 1));
        assert_eq!(fold_progress(""), ("", 0));
        assert_eq!(fold_progress("\r"), ("", 0));
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_drawn(line in "(\u{1b}|\\[|\\]|[0-9;:m]|38;5;|48;2;|\\PC|\r){0,40}") {
            let (folded, _) = fold_progress(&line);
            for run in parse(folded) {
                let escaped = run.text.contains(ESC);
                proptest::prop_assert!(!escaped);
                proptest::prop_assert!(run.style.colour.is_none_or(|colour| colour < 16));
            }
        }
    }
}
