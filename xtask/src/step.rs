//! One step of work: says what and why, runs a command with its output in a log, says how long it took.
//!
//! On a terminal the running step shows its time and the last line of its log; elsewhere one line a minute shows that
//! it lives. A step that fails prints the end of its log and where the whole of it is.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::native;
use crate::place::Place;

/// How often the line on a terminal is drawn again.
const REDRAW: Duration = Duration::from_millis(200);
/// How often a step says that it lives where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How many lines of a failed step's log are printed; the rest stays in the file.
const TAIL_LINES: usize = 120;
/// Of a log's end, enough for [`TAIL_LINES`] long lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// Prints one line for the person who waits.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) log: PathBuf,
    pub(crate) took: Duration,
}

/// Runs a command as one step that must succeed.
///
/// # Errors
///
/// If it cannot start or ends with another status than 0; the end of its log is printed then.
pub(crate) fn run(place: &Place, title: &str, why: &str, command: &mut Command) -> Result<Duration> {
    let outcome = observe(place, title, why, command, Duration::MAX)?;
    if outcome.status.success() {
        say(&format!("  {title}: done in {}", seconds(outcome.took)));
        return Ok(outcome.took);
    }
    print_tail(&outcome.log);
    bail!("{title} ended with {}; the whole log is {}", outcome.status, outcome.log.display());
}

/// Runs a command as one step, for `limit` at most, and leaves the judgement to the caller.
///
/// # Errors
///
/// If it cannot start.
pub(crate) fn observe(
    place: &Place,
    title: &str,
    why: &str,
    command: &mut Command,
    limit: Duration,
) -> Result<Outcome> {
    say(&if why.is_empty() { format!("- {title}") } else { format!("- {title}: {why}") });
    let log = place.logs.join(format!("{}.log", file_name(title)));
    let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);

    let started = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let terminal = stderr().is_terminal();
    let mut said = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Short steps end without waiting for a whole redraw.
        thread::sleep(REDRAW.min(started.elapsed() / 8 + Duration::from_millis(5)));
        let took = started.elapsed();
        if took > limit {
            child.kill()?;
            let _ = writeln!(&file, "\nended by xtask: it took longer than {}", seconds(limit));
        } else if terminal {
            draw(took, &doing(place, &log));
        } else if took - said >= HEARTBEAT {
            said = took;
            say(&format!("  {title}: {} so far; {}", seconds(took), doing(place, &log)));
        }
    };
    if terminal {
        let _ = write!(stderr(), "\r\x1b[2K");
    }
    Ok(Outcome { status, log, took: started.elapsed() })
}

/// Runs a quick command and answers what it printed, without spaces around it.
///
/// # Errors
///
/// If it cannot start or ends with another status than 0; the message holds what it said.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Prints the end of a log between two marks.
pub(crate) fn print_tail(log: &Path) {
    let text = tail(log);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    say(&format!("  ┌ the last {} lines of {}", lines.len() - from, log.display()));
    for line in &lines[from..] {
        say(&format!("  │ {line}"));
    }
    say("  └");
}

/// A time as a person reads it: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

fn draw(took: Duration, line: &str) {
    let shown: String = line.chars().filter(|c| !c.is_control()).take(90).collect();
    let _ = write!(stderr(), "\r\x1b[2K  {} {shown}", seconds(took));
    let _ = stderr().flush();
}

/// The last line of the log, and how far the one compile is that takes longer than all others.
fn doing(place: &Place, log: &Path) -> String {
    let text = tail(log);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    if line.contains("librocksdb-sys") {
        return format!(
            "{line}: {} of about {} files",
            native::rocksdb_objects(place),
            native::ROCKSDB_FILES
        );
    }
    line.to_owned()
}

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = fs::metadata(log)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn file_name(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}
