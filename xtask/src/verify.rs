//! `cargo xtask verify`: everything that can be judged without running a test.
//!
//! Each check runs whatever came of the others; the table at the end says which failed. Warnings are errors. What is
//! checked of dependencies, and what is not, stands in `dependencies.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::house::House;
use crate::place::Place;
use crate::report::{Report, Row};
use crate::wasm_toolchain::WasmToolchain;
use crate::{arrows, dependencies, native, setup, stamp, step};

/// Where our Python is; folders that are not there yet are left out.
const PYTHON: [&str; 3] = ["sdk/python", "examples", "tests"];

/// Runs every check, prints the table; answers whether all passed.
pub(crate) fn run(place: &Place) -> bool {
    let mut report = Report::default();
    let started = Instant::now();
    match setup::testing(place) {
        Ok(wasm) => Checks { place, report: &mut report }.all(&wasm),
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            report.push(Row::failed("set-up", started.elapsed()));
        }
    }
    report.print("check")
}

struct Checks<'a> {
    place: &'a Place,
    report: &'a mut Report,
}

impl Checks<'_> {
    /// The quick ones first.
    fn all(mut self, wasm: &WasmToolchain) {
        let place = self.place;
        self.command("format", place.command("cargo").args(["fmt", "--all", "--check"]));
        self.sentences("headers", || headerless(place));
        self.sentences("arrows", || {
            Ok(arrows::faults(&fs::read_to_string(place.root.join("README.md"))?, &House::read(place)?))
        });
        self.sentences("dependencies", || dependencies::faults(place, &House::read(place)?));
        step::say(
            "  not checked: security advisories (their database is a download of its own; see `cargo audit`)",
        );
        self.sentences("features", || native::feature_faults(place));
        self.python();
        let tsc = "web-ui/node_modules/typescript/bin/tsc";
        self.command("typescript", place.command("node").args([tsc, "--project", "web-ui"]));
        self.web_page(wasm);
        native::announce_rocksdb(place);
        self.clippy("clippy", &mut native::cargo(place, "clippy"));
        self.clippy(
            "clippy xtask",
            place.cargo("clippy").args(["--release", "--locked", "--package", "xtask"]),
        );
        let mut module = place.cargo("clippy");
        self.clippy(
            "clippy python module",
            module.args(["--release", "--locked", "--package", "neptune-python"]),
        );
        self.rustdoc("rustdoc", &mut native::cargo(place, "doc"));
        self.rustdoc(
            "rustdoc xtask",
            place.cargo("doc").args(["--release", "--locked", "--package", "xtask"]),
        );
    }

    fn clippy(&mut self, name: &str, cargo: &mut Command) {
        self.command(name, cargo.args(["--all-targets", "--", "--deny", "warnings"]));
    }

    /// For our own readers: private items are in it, and public ones may point to them.
    fn rustdoc(&mut self, name: &str, cargo: &mut Command) {
        let flags = "--deny warnings --allow rustdoc::private_intra_doc_links";
        self.command(name, cargo.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", flags));
    }

    /// The page's crate as the browser gets it; natively it is among the others.
    fn web_page(&mut self, wasm: &WasmToolchain) {
        let verb = if wasm.has_clippy() { "clippy" } else { "check" };
        let mut cargo = wasm.cargo(verb, &self.place.target, |program| self.place.command(program));
        cargo.args(["--profile", "web", "--locked", "--package", "neptune-web-ui"]);
        if wasm.has_clippy() {
            cargo.args(["--", "--deny", "warnings"]);
            self.command("clippy web page", &mut cargo);
        } else {
            step::say(
                "  Debian has no clippy for its rustc-web: the web page is checked for the compiler's warnings only",
            );
            cargo.args(["-Z", "warnings", "--config", "build.warnings = 'deny'"]);
            self.command("compiler warnings, web page", &mut cargo);
        }
    }

    fn python(&mut self) {
        let place = self.place;
        let folders: Vec<&str> =
            PYTHON.into_iter().filter(|folder| has_python(&place.root.join(folder))).collect();
        let tool = |name: &str| place.command(place.venv_program(name));
        self.command("ruff", tool("ruff").arg("check").args(&folders));
        self.command("python format", tool("ruff").args(["format", "--check"]).args(&folders));
        // Programs are not modules: several are called main.py, so each example is judged by itself.
        let examples = fs::read_dir(place.root.join("examples")).into_iter().flatten().flatten();
        let mut units: Vec<String> = ["sdk/python", "tests"].map(str::to_owned).into();
        units.extend(examples.map(|entry| format!("examples/{}", entry.file_name().to_string_lossy())));
        units.sort();
        for unit in units.iter().filter(|unit| has_python(&place.root.join(unit))) {
            self.command(&format!("mypy {unit}"), tool("mypy").args(["--config-file", "mypy.ini"]).arg(unit));
        }
    }

    /// A check that is a command.
    fn command(&mut self, name: &str, command: &mut Command) {
        let started = Instant::now();
        let row = match step::run(self.place, name, "", command) {
            Ok(took) => Row::passed(name, took),
            Err(error) => {
                step::say(&format!("error: {error:#}"));
                Row::failed(name, started.elapsed())
            }
        };
        self.report.push(row);
    }

    /// A check of our own, which answers one sentence per fault.
    fn sentences(&mut self, name: &str, check: impl FnOnce() -> Result<Vec<String>>) {
        step::say(&format!("- {name}"));
        let started = Instant::now();
        let faults = check().unwrap_or_else(|error| vec![format!("{error:#}")]);
        for fault in &faults {
            step::say(&format!("  {fault}"));
        }
        self.report.push(match faults.is_empty() {
            true => Row::passed(name, started.elapsed()),
            false => Row::failed(name, started.elapsed()),
        });
    }
}

fn has_python(folder: &Path) -> bool {
    stamp::files(folder)
        .is_ok_and(|files| files.iter().any(|file| file.extension().is_some_and(|it| it == "py")))
}

/// Rust files that do not open with `//!`.
fn headerless(place: &Place) -> Result<Vec<String>> {
    let files = stamp::files(&place.root)?;
    let rust = files.iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
    let mut faults = Vec::new();
    let mut seen = 0;
    for file in rust {
        seen += 1;
        if !fs::read_to_string(file)?.starts_with("//!") {
            faults.push(format!("{} does not open with a //! header", file.display()));
        }
    }
    if seen == 0 {
        bail!("no Rust file found in {}", place.root.display());
    }
    Ok(faults)
}
