//! `cargo xtask test [--long] [FILTER]`: every test there is, one table, one closing line.
//!
//! ```text
//! Rust       each test program of the workspace and of xtask, release profile; then the documentation's examples
//! Python     sdk/python/tests, and tests/end-to-end/*.py where there are any, by pytest in .venv
//! examples   each folder of examples/ as its README starts it, against a fresh server; it must end well
//! ```
//!
//! A suite's output is shown only if it fails. `--long` sets `NEPTUNE_TEST_LONG=1`: the same tests with full counts,
//! sizes and durations. Tests of the whole find what they start in the environment: `.venv/bin` first in PATH with
//! `neptune`, `neptune-server` and `python`, and `NEPTUNE_TEST_CHROMIUM`, the path of a browser. No other variable
//! whose name starts with `NEPTUNE_` reaches them.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::place::{Place, program};
use crate::report::{Report, Row};
use crate::serve::in_venv;
use crate::server::{POLL, Server};
use crate::{native, setup, step};

/// A quick suite that takes longer hangs. The whole quick tier has 30 minutes.
const QUICK_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The same for a suite with full counts, sizes and durations.
const LONG_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// What the person asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) long: bool,
    /// Only tests whose name holds this.
    pub(crate) filter: Option<String>,
}

/// Prepares, runs every suite, prints the table; answers whether all passed.
pub(crate) fn run(place: &Place, options: &Options) -> bool {
    let mut report = Report::default();
    let started = Instant::now();
    let mut tests = Tests { place, options, report: &mut report };
    if let Err(error) = tests.all() {
        step::say(&format!("error: {error:#}"));
        report.push(Row::failed("the rest could not run", started.elapsed()));
    }
    report.print("suite")
}

struct Tests<'a> {
    place: &'a Place,
    options: &'a Options,
    report: &'a mut Report,
}

impl Tests<'_> {
    fn all(&mut self) -> Result<()> {
        setup::testing(self.place)?;
        setup::serving(self.place)?;
        // Everything else that some test may start or load.
        step::run(self.place, "build the rest", "what tests start", &mut native::cargo(self.place, "build"))?;
        let mut programs = self.compile("compile the tests", &native::SELECTION)?;
        programs.extend(self.compile("compile the tests of xtask", &["--package", "xtask"])?);
        for program in programs {
            self.rust(&program)?;
        }
        self.documentation()?;
        self.pytest("sdk/python/tests")?;
        self.pytest("tests/end-to-end")?;
        self.examples()
    }

    /// Compiles the test programs of a selection and answers where they are.
    fn compile(&self, title: &str, selection: &[&str]) -> Result<Vec<Program>> {
        let cargo = || {
            let mut cargo = self.place.cargo("test");
            cargo.args(["--release", "--locked", "--no-run"]).args(selection);
            cargo
        };
        step::run(self.place, title, "release profile", &mut cargo())?;
        // Everything is compiled now; asked again, cargo lists it at once.
        let list = step::read(cargo().args(["--message-format", "json", "--quiet"]))?;
        list.lines().filter_map(|line| Program::from_message(line).transpose()).collect()
    }

    fn rust(&mut self, program: &Program) -> Result<()> {
        let mut command = self.environment(self.place.command(&program.path));
        command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
        command.args(&self.options.filter);
        self.suite(&program.title, &mut command, |log| {
            counts_of_rust(&fs::read_to_string(log).unwrap_or_default())
        })
    }

    fn documentation(&mut self) -> Result<()> {
        let mut command = self.environment(native::cargo(self.place, "test"));
        command.args(["--doc", "--no-fail-fast"]);
        if let Some(filter) = &self.options.filter {
            command.arg("--").arg(filter);
        }
        self.suite("documentation", &mut command, |log| {
            counts_of_rust(&fs::read_to_string(log).unwrap_or_default())
        })
    }

    fn pytest(&mut self, folder: &str) -> Result<()> {
        let has_tests = fs::read_dir(self.place.root.join(folder)).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.starts_with("test_") && name.ends_with(".py")
            })
        });
        if !has_tests {
            return Ok(());
        }
        let report = self.place.logs.join("pytest.xml");
        let _ = fs::remove_file(&report);
        let mut command = self.environment(self.place.command(self.place.venv_program("python")));
        command.args(["-m", "pytest", folder, "--junitxml"]).arg(&report);
        if let Some(filter) = &self.options.filter {
            command.args(["-k", filter]);
        }
        self.suite(folder, &mut command, |_| counts_of_pytest(&fs::read_to_string(&report).ok()?))
    }

    /// Each example is one test: it ends well, and the server that took it stops well.
    fn examples(&mut self) -> Result<()> {
        let folders = fs::read_dir(self.place.root.join("examples")).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
        folders.retain(|folder| folder.join("main.py").is_file());
        folders.sort();
        for folder in folders {
            let title = format!("examples/{}", folder.file_name().unwrap_or_default().to_string_lossy());
            if self.options.filter.as_ref().is_some_and(|filter| !title.contains(filter.as_str())) {
                continue;
            }
            let data = self.place.target.join("xtask-example-data");
            let _ = fs::remove_dir_all(&data);
            let mut server = Server::start(
                self.place,
                "example-server",
                &data,
                &["--listen".into(), "127.0.0.1:0".into()],
            )?;
            let url = server.wait_until_ready(|| {
                thread::sleep(POLL);
                false
            })?;
            let mut command = self.environment(self.place.command(self.place.venv_program("neptune")));
            command.current_dir(&folder).args(["run", "main.py", "--config", "config.yaml"]);
            command.env("NEPTUNE_URL", url.unwrap_or_default());
            self.suite(&title, &mut command, |_| None)?;
            server.stop()?;
        }
        Ok(())
    }

    /// Runs one suite and adds its row; a suite that ends badly without a failed test counts as one.
    fn suite(
        &mut self,
        title: &str,
        command: &mut Command,
        counts: impl FnOnce(&Path) -> Option<Counts>,
    ) -> Result<()> {
        let limit = if self.options.long { LONG_LIMIT } else { QUICK_LIMIT };
        let outcome = step::observe(self.place, &format!("test {title}"), "", command, limit)?;
        // pytest's status for "no test has this name", which is no failure under a filter.
        let nothing_matched = self.options.filter.is_some() && outcome.status.code() == Some(5);
        let good = outcome.status.success() || nothing_matched;
        // A program without a test harness is one test.
        let mut counts =
            counts(&outcome.log).unwrap_or(Counts { passed: u64::from(good), failed: 0, skipped: 0 });
        if !good {
            step::print_tail(&outcome.log);
            counts.failed = counts.failed.max(1);
        }
        step::say(&format!(
            "  {} passed, {} failed in {}",
            counts.passed,
            counts.failed,
            step::seconds(outcome.took)
        ));
        if counts != Counts::default() {
            self.report.push(Row {
                name: title.to_owned(),
                passed: counts.passed,
                failed: counts.failed,
                skipped: counts.skipped,
                took: outcome.took,
            });
        }
        Ok(())
    }

    /// The environment of every test.
    fn environment(&self, mut command: Command) -> Command {
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("NEPTUNE_")) {
                command.env_remove(name);
            }
        }
        if self.options.long {
            command.env("NEPTUNE_TEST_LONG", "1");
        }
        if let Some(browser) = program("chromium") {
            command.env("NEPTUNE_TEST_CHROMIUM", browser);
        }
        // A shell starts what runs in the background deaf to Ctrl-C, and tests press it.
        // SAFETY: between fork and exec nothing but a system call is made.
        unsafe {
            command.pre_exec(|| signal(Signal::SIGINT, SigHandler::SigDfl).map(drop).map_err(Into::into))
        };
        in_venv(self.place, command)
    }
}

/// One test program that cargo made.
struct Program {
    title: String,
    path: PathBuf,
    /// The folder of its crate, where cargo would start it.
    folder: PathBuf,
}

impl Program {
    /// Reads one of cargo's messages; nothing if it is not about a test program.
    fn from_message(line: &str) -> Result<Option<Self>> {
        let message: serde_json::Value = serde_json::from_str(line).context("a message of cargo")?;
        let text = |pointer: &str| message.pointer(pointer).and_then(|value| value.as_str());
        let is_test = message.pointer("/profile/test").and_then(serde_json::Value::as_bool) == Some(true);
        let (Some(path), Some(manifest), Some(target), true) =
            (text("/executable"), text("/manifest_path"), text("/target/name"), is_test)
        else {
            return Ok(None);
        };
        let folder = Path::new(manifest).parent().context("a manifest lies in a folder")?;
        let room = folder.file_name().unwrap_or_default().to_string_lossy();
        // The crate's own tests under its room's name, those of its tests/ folder under both.
        let title = match text("/target/kind/0") {
            Some("test") => format!("{room}/{target}"),
            Some("bin") => format!("{room} (binary {target})"),
            _ => room.into_owned(),
        };
        Ok(Some(Self { title, path: path.into(), folder: folder.to_path_buf() }))
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Adds up the lines `test result: ok. 5 passed; 0 failed; 1 ignored; …`; nothing if there is none.
fn counts_of_rust(log: &str) -> Option<Counts> {
    let mut sum = None;
    for line in log.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let counts: &mut Counts = sum.get_or_insert_default();
        let (_, parts) = line.split_once(". ")?;
        for part in parts.split(';') {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) =
                (words.next().and_then(|it| it.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match word {
                "passed" => counts.passed += number,
                "failed" => counts.failed += number,
                "ignored" => counts.skipped += number,
                _ => {}
            }
        }
    }
    sum
}

/// Reads `<testsuite … tests="5" errors="0" failures="1" skipped="1" …>`.
fn counts_of_pytest(xml: &str) -> Option<Counts> {
    let suite = xml.split_once("<testsuite ")?.1.split_once('>')?.0;
    let number = |name: &str| -> Option<u64> {
        suite.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.parse().ok()
    };
    let failed = number("errors")? + number("failures")?;
    let skipped = number("skipped")?;
    Some(Counts { passed: number("tests")?.saturating_sub(failed + skipped), failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let log = "running 3 tests\n\
            test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n";
        assert_eq!(counts_of_rust(log), Some(Counts { passed: 7, failed: 1, skipped: 1 }));
        assert_eq!(counts_of_rust("thread main panicked"), None);
    }

    #[test]
    fn results_of_pytest_are_read() {
        let xml = r#"<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1"
            failures="2" skipped="3" tests="10" time="0.1"><testcase/></testsuite></testsuites>"#;
        assert_eq!(counts_of_pytest(xml), Some(Counts { passed: 4, failed: 3, skipped: 3 }));
        assert_eq!(counts_of_pytest(""), None);
    }

    #[test]
    fn a_message_about_a_test_program_is_told_from_others() {
        let message = |kind: &str, test: bool| {
            format!(
                r#"{{"executable":"/t/a-1","manifest_path":"/c/server/kv/Cargo.toml","profile":{{"test":{test}}},
                "target":{{"name":"laws","kind":["{kind}"]}}}}"#
            )
        };
        let title =
            |kind, test| Program::from_message(&message(kind, test)).unwrap().map(|program| program.title);
        assert_eq!(title("lib", true).as_deref(), Some("kv"));
        assert_eq!(title("test", true).as_deref(), Some("kv/laws"));
        assert_eq!(title("bin", true).as_deref(), Some("kv (binary laws)"));
        assert_eq!(title("bin", false), None);
    }
}
