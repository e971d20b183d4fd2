//! `neptune logs`: what a job printed, or the lines of any of its text channels; with `-f` as they come.
//!
//! Without a channel both logs are printed in the order of time: standard output to standard output, standard error to
//! standard error, as if the program ran here. A named channel goes to standard output.

mod follow;
mod printer;

use std::collections::VecDeque;

use clap::Args;
use neptune_client::rest::Rest;
use neptune_wire::query::{Line, TextQuery};
use neptune_wire::{Channel, ChannelKind, ChannelName, ChannelOrigin, JobRef};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::target;
use printer::Printer;

/// Lines in one request.
const PAGE: u32 = 5_000;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The job's id, such as TRIG-12
    job: JobRef,
    /// A text channel [default: sys/stdout and sys/stderr]
    channel: Option<ChannelName>,
    /// Go on as lines come, until the job ends
    #[arg(long, short)]
    follow: bool,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tail: Option<u32>,
    /// Only lines that hold this text, ignoring case
    #[arg(long, value_name = "TEXT", conflicts_with = "follow")]
    search: Option<String>,
    /// Only standard output
    #[arg(long, conflicts_with_all = ["channel", "stderr"])]
    stdout: bool,
    /// Only standard error
    #[arg(long, conflicts_with = "channel")]
    stderr: bool,
}

/// Which channels are printed.
#[derive(Debug)]
enum Wanted {
    Logs { stdout: bool, stderr: bool },
    Named(ChannelName),
}

impl Wanted {
    fn of(args: &LogsArgs) -> Self {
        match &args.channel {
            Some(channel) => Self::Named(channel.clone()),
            None => Self::Logs { stdout: !args.stderr, stderr: !args.stdout },
        }
    }

    fn takes(&self, channel: &Channel) -> bool {
        match self {
            Self::Named(name) => channel.name == *name,
            Self::Logs { stdout, stderr } => match channel.origin {
                ChannelOrigin::Stdout => *stdout,
                ChannelOrigin::Stderr => *stderr,
                ChannelOrigin::User | ChannelOrigin::System => false,
            },
        }
    }

    /// Whether a channel's lines go to standard error: only when both logs are printed.
    fn to_stderr(&self, channel: &Channel) -> bool {
        matches!(self, Self::Logs { stdout: true, stderr: true }) && channel.origin == ChannelOrigin::Stderr
    }
}

pub(crate) fn run(args: &LogsArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let wanted = Wanted::of(args);
    let rest = server.rest();
    let channels = server.wait(rest.list_channels(&args.job))?;
    if let Wanted::Named(name) = &wanted {
        check_named(name, &channels, args.follow)?;
    }
    let mut printer = Printer::new(out);
    let mut sources: Vec<Source> = Vec::new();
    for channel in channels.iter().filter(|channel| wanted.takes(channel)) {
        let index = printer.add(channel.name.clone(), wanted.to_stderr(channel));
        sources.push(Source::new(channel.name.clone(), index));
    }
    if sources.is_empty() && !args.follow {
        say("nothing was printed yet");
        return Ok(());
    }
    server.wait(async {
        match args.tail {
            Some(tail) => print_tail(rest, args, &sources, tail, &mut printer).await?,
            None => print_all(rest, args, &mut sources, &mut printer).await?,
        }
        if args.follow {
            follow::follow(rest, &args.job, &wanted, &mut printer).await?;
        }
        printer.finish()
    })
}

fn check_named(name: &ChannelName, channels: &[Channel], follow: bool) -> Result<(), CliError> {
    let texts = || {
        let texts = channels.iter().filter(|channel| channel.kind == ChannelKind::Text);
        texts.map(|channel| channel.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match channels.iter().find(|channel| channel.name == *name) {
        Some(channel) if channel.kind == ChannelKind::Text => Ok(()),
        Some(channel) => Err(CliError::usage(format!(
            "channel {name:?} is {}; logs prints text channels: {}",
            channel.kind.as_str(),
            texts()
        ))),
        None if follow => Ok(()),
        None => {
            Err(CliError::usage(format!("no channel {name:?}; the job's text channels are: {}", texts())))
        }
    }
}

/// One channel on its way out, page by page.
struct Source {
    name: ChannelName,
    /// In the printer.
    index: usize,
    lines: VecDeque<Line>,
    /// First line of the next page; nothing when the end was reached.
    next: Option<u64>,
}

impl Source {
    fn new(name: ChannelName, index: usize) -> Self {
        Self { name, index, lines: VecDeque::new(), next: Some(0) }
    }

    async fn refill(&mut self, rest: &Rest, args: &LogsArgs) -> Result<(), CliError> {
        while let (true, Some(line)) = (self.lines.is_empty(), self.next) {
            let search = args.search.clone();
            let query = TextQuery { line: Some(line), limit: Some(PAGE), tail: None, search };
            let page = rest.read_text(&args.job, &self.name, &query).await?;
            self.lines = page.lines.into();
            self.next = page.next;
        }
        Ok(())
    }
}

/// Merges all channels by time, with one page of each in memory.
async fn print_all(
    rest: &Rest,
    args: &LogsArgs,
    sources: &mut [Source],
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    loop {
        for source in sources.iter_mut() {
            source.refill(rest, args).await?;
        }
        let waiting = sources.iter_mut().filter(|source| !source.lines.is_empty());
        let Some(first) = waiting.min_by_key(|source| source.lines.front().map(|line| line.time)) else {
            return Ok(());
        };
        if let Some(line) = first.lines.pop_front() {
            printer.print(first.index, &line)?;
        }
    }
}

/// The last lines of all channels together.
async fn print_tail(
    rest: &Rest,
    args: &LogsArgs,
    sources: &[Source],
    tail: u32,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let mut lines = Vec::new();
    for source in sources {
        let query =
            TextQuery { tail: Some(tail), limit: Some(tail), line: None, search: args.search.clone() };
        let page = rest.read_text(&args.job, &source.name, &query).await?;
        lines.extend(page.lines.into_iter().map(|line| (source.index, line)));
    }
    // Stable: lines of one channel stay in their order.
    lines.sort_by_key(|(_, line)| line.time);
    let from = lines.len().saturating_sub(tail as usize);
    lines[from..].iter().try_for_each(|(index, line)| printer.print(*index, line))
}
