//! Lines of several channels on two streams, each line once, also while it still grows.

use std::io::{self, IsTerminal, Write};

use neptune_wire::ChannelName;
use neptune_wire::query::Line;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;

/// Knows how far each channel is printed.
pub(super) struct Printer<'a> {
    out: &'a mut Output,
    channels: Vec<Printed>,
    /// Channel whose last line is not ended on its stream yet.
    open: Option<usize>,
}

struct Printed {
    name: ChannelName,
    to_stderr: bool,
    /// The line wanted next.
    next: u64,
    /// What stands there of the line before `next`.
    last: Option<Line>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    channel: &'a ChannelName,
    #[serde(flatten)]
    line: &'a Line,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut Output) -> Self {
        Self { out, channels: Vec::new(), open: None }
    }

    /// Adds a channel, or finds it; answers its index.
    pub(super) fn add(&mut self, name: ChannelName, to_stderr: bool) -> usize {
        if let Some(index) = self.find(&name) {
            return index;
        }
        self.channels.push(Printed { name, to_stderr, next: 0, last: None });
        self.channels.len() - 1
    }

    pub(super) fn find(&self, name: &ChannelName) -> Option<usize> {
        self.channels.iter().position(|channel| channel.name == *name)
    }

    /// Names and the first line of each that may have grown or is not printed yet.
    pub(super) fn positions(&self) -> Vec<(ChannelName, usize, u64)> {
        let position = |(index, channel): (usize, &Printed)| {
            (channel.name.clone(), index, channel.next.saturating_sub(u64::from(channel.last.is_some())))
        };
        self.channels.iter().enumerate().map(position).collect()
    }

    /// Prints a line; what was printed of it already is not printed again.
    pub(super) fn print(&mut self, index: usize, line: &Line) -> Result<(), CliError> {
        let channel = &self.channels[index];
        if line.line + 1 < channel.next {
            return Ok(());
        }
        let again = line.line + 1 == channel.next;
        let (before, unchanged) = match &channel.last {
            Some(last) if again => {
                (last.text.clone(), last.text == line.text && last.continues == line.continues)
            }
            _ => (String::new(), false),
        };
        if again && unchanged {
            return Ok(());
        }
        if self.out.json {
            // A line that may still grow is not printed before the next one shows that it is whole.
            if !again {
                self.flush_json(index)?;
            }
        } else if again && self.open == Some(index) && line.text.starts_with(&before) {
            self.write(index, &line.text[before.len()..])?;
        } else {
            self.end_open_line()?;
            self.write(index, &line.text)?;
            self.open = Some(index);
        }
        let channel = &mut self.channels[index];
        (channel.next, channel.last) = (line.line + 1, Some(line.clone()));
        Ok(())
    }

    /// Ends a line that nobody continues for now: a pipe's reader waits for its end.
    pub(super) fn rest(&mut self) -> Result<(), CliError> {
        let terminal = self.open.is_some_and(|index| self.is_terminal(index));
        if terminal { Ok(()) } else { self.end_open_line() }
    }

    /// Ends the last line.
    pub(super) fn finish(&mut self) -> Result<(), CliError> {
        (0..self.channels.len())
            .filter(|_| self.out.json)
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|index| self.flush_json(index))?;
        self.end_open_line()
    }

    fn flush_json(&mut self, index: usize) -> Result<(), CliError> {
        let channel = &mut self.channels[index];
        match channel.last.take() {
            Some(line) => {
                let json = JsonLine { channel: &channel.name, line: &line };
                let text = serde_json::to_string(&json).expect("a line always serialises");
                self.out.line(&text)
            }
            None => Ok(()),
        }
    }

    fn end_open_line(&mut self) -> Result<(), CliError> {
        let Some(index) = self.open.take() else { return Ok(()) };
        // A line over the server's limit goes on in the next.
        let continues = self.channels[index].last.as_ref().is_some_and(|line| line.continues);
        if continues { Ok(()) } else { self.write(index, "\n") }
    }

    fn write(&mut self, index: usize, text: &str) -> Result<(), CliError> {
        match self.channels[index].to_stderr {
            true => Ok(io::stderr().write_all(text.as_bytes())?),
            false => self.out.bytes(text.as_bytes()),
        }
    }

    fn is_terminal(&self, index: usize) -> bool {
        if self.channels[index].to_stderr { io::stderr().is_terminal() } else { self.out.is_terminal() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use expect_test::{Expect, expect};
    use neptune_wire::{Micros, Number};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Rc<RefCell<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Prints `channel line text` events; `.` lets the stream rest.
    fn check(json: bool, terminal: bool, events: &[(usize, u64, &str)], expect: Expect) {
        let written = Written::default();
        let mut out = Output::to(written.clone(), json, terminal);
        let mut printer = Printer::new(&mut out);
        for name in ["a", "b"] {
            printer.add(ChannelName::new(name).unwrap(), false);
        }
        for (channel, line, text) in events {
            if *text == "." {
                printer.rest().unwrap();
                continue;
            }
            let (text, continues) = text.strip_suffix('~').map_or((*text, false), |text| (text, true));
            let (x, time) = (Number(0.0), Micros(0));
            printer.print(*channel, &Line { line: *line, x, time, text: text.into(), continues }).unwrap();
        }
        printer.finish().unwrap();
        expect.assert_eq(&String::from_utf8_lossy(&written.0.borrow()));
    }

    const GROWING: [(usize, u64, &str); 6] =
        [(0, 0, "one"), (0, 1, "tw"), (0, 1, "two"), (0, 0, "one"), (0, 2, "three"), (0, 2, "three")];

    #[test]
    fn a_growing_line_is_printed_once() {
        check(
            false,
            true,
            &GROWING,
            expect![[r#"
            one
            two
            three
        "#]],
        );
        check(
            false,
            false,
            &GROWING,
            expect![[r#"
            one
            two
            three
        "#]],
        );
    }

    #[test]
    fn json_lines_are_whole() {
        check(
            true,
            false,
            &GROWING,
            expect![[r#"
            {"channel":"a","line":0,"x":0.0,"time":0,"text":"one"}
            {"channel":"a","line":1,"x":0.0,"time":0,"text":"two"}
            {"channel":"a","line":2,"x":0.0,"time":0,"text":"three"}
        "#]],
        );
    }

    #[test]
    fn channels_do_not_share_a_line() {
        check(
            false,
            true,
            &[(0, 0, "a"), (1, 0, "b"), (0, 1, "c")],
            expect![[r#"
            a
            b
            c
        "#]],
        );
    }

    #[test]
    fn a_pipe_gets_the_end_of_a_line_that_rests() {
        check(
            false,
            false,
            &[(0, 0, "50 %"), (0, 0, "."), (0, 0, "50 % 60 %")],
            expect![[r#"
            50 %
            50 % 60 %
        "#]],
        );
        check(
            false,
            true,
            &[(0, 0, "50 %"), (0, 0, "."), (0, 0, "50 % 60 %")],
            expect![[r#"
            50 % 60 %
        "#]],
        );
    }

    #[test]
    fn a_line_over_the_limit_goes_on() {
        check(
            false,
            false,
            &[(0, 0, "long ~"), (0, 1, "line"), (0, 2, "next")],
            expect![[r#"
            long line
            next
        "#]],
        );
    }
}
