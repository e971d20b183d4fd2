//! `cargo xtask setup`: everything that serving and testing need, each thing only if it is missing.
//!
//! ```text
//! building    Debian packages, ccache links, npm packages, the compiler for WebAssembly, .venv
//! serving     building, then: web page -> server (embeds it) and command line -> Python module, programs into .venv
//! testing     building, then: a browser, Python packages
//! ```
//!
//! What is done is skipped; all of it together, with nothing to do, takes less than two seconds.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::place::{Place, program};
use crate::stamp::Fingerprint;
use crate::wasm_toolchain::{self, Kind, WasmToolchain};
use crate::{debian, native, python, step, web};

/// What RocksDB is compiled with: its C++ by g++, the bindings to it through libclang; ccache keeps the result.
const BUILD_PACKAGES: [&str; 4] = ["g++", "clang", "libclang-dev", "ccache"];
/// The browser of the tests, and letters for it to draw.
const TEST_PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Installs what every build needs.
pub(crate) fn building(place: &Place) -> Result<WasmToolchain> {
    debian::install(place, "the builds need it", &build_packages(place))?;
    ccache(place)?;
    npm(place)?;
    let wasm = wasm(place)?;
    python::environment(place)?;
    Ok(wasm)
}

/// Builds and installs what a person runs.
pub(crate) fn serving(place: &Place) -> Result<()> {
    let wasm = building(place)?;
    web::build(place, &wasm)?;
    native::build(place)?;
    python::module(place)?;
    python::programs(place)
}

/// Installs what every build, test and check needs.
pub(crate) fn testing(place: &Place) -> Result<WasmToolchain> {
    // All in one, so that a person without root is told one command and not one after the other.
    let packages = [build_packages(place), TEST_PACKAGES.into()].concat();
    debian::install(
        place,
        "the builds, and the tests that look at the page with a real browser, need it",
        &packages,
    )?;
    let wasm = building(place)?;
    python::install(
        place,
        "tests/requirements.txt",
        "test runner, linters, and what the examples compute with",
    )?;
    Ok(wasm)
}

fn build_packages(place: &Place) -> Vec<&'static str> {
    let mut packages = Vec::from(BUILD_PACKAGES);
    // Debian's Python comes without what makes environments; other Pythons have it.
    if !place.venv().is_dir()
        && step::read(place.command("python3").args(["-c", "import ensurepip"])).is_err()
    {
        packages.push("python3-venv");
    }
    packages
}

/// Finds a compiler for WebAssembly, installing one if there is none: rustup's target first, then Debian's packages.
fn wasm(place: &Place) -> Result<WasmToolchain> {
    // Where rustup could not add the target once, it is not asked each time again.
    let choice = place.target.join("wasm-toolchain");
    let forced = Kind::forced()?;
    let tries = match forced {
        Some(kind) => vec![kind],
        None if fs::read_to_string(&choice).is_ok_and(|text| text.trim() == "debian") => {
            vec![Kind::Debian, Kind::Rustup]
        }
        None => vec![Kind::Rustup, Kind::Debian],
    };
    if forced.is_none()
        && let Some(found) = WasmToolchain::find(Kind::Rustup)
    {
        return Ok(found);
    }
    let mut refused = None;
    for kind in tries {
        if let Some(found) = WasmToolchain::find(kind) {
            return Ok(found);
        }
        match install_wasm(place, kind) {
            Ok(()) => {}
            Err(error) => {
                step::say(&format!("  {error:#}; looking for another compiler for WebAssembly"));
                refused = Some(error);
                continue;
            }
        }
        if let Some(found) = WasmToolchain::find(kind) {
            if forced.is_none() && kind == Kind::Debian {
                fs::write(&choice, "debian\n").with_context(|| format!("{}", choice.display()))?;
            }
            return Ok(found);
        }
    }
    let error = refused.unwrap_or_else(|| anyhow::anyhow!("it was installed, yet it is not found"));
    Err(error.context("no compiler for WebAssembly"))
}

fn install_wasm(place: &Place, kind: Kind) -> Result<()> {
    match kind {
        Kind::Rustup => {
            let mut rustup = place.command(program("rustup").context("there is no rustup on this machine")?);
            rustup.args(["target", "add", wasm_toolchain::TARGET]);
            step::run(
                place,
                "add the WebAssembly target",
                "the web page is Rust compiled to it",
                &mut rustup,
            )?;
        }
        Kind::Debian => {
            let why = "a compiler for WebAssembly, as rustup could not add the target";
            debian::install(place, why, &wasm_toolchain::DEBIAN_PACKAGES)?;
            if WasmToolchain::find(kind).is_none() {
                debian::install(place, "its linker", &[wasm_toolchain::DEBIAN_LINKER_PACKAGE])?;
            }
        }
    }
    Ok(())
}

/// Installs the web page's npm packages by its lock file.
fn npm(place: &Place) -> Result<()> {
    let ui = place.root.join("web-ui");
    let stamp = ui.join("node_modules/.stamp");
    let (same, text) = Fingerprint::default().path(&ui.join("package-lock.json"))?.compare(&stamp);
    if same {
        return Ok(());
    }
    let npm = program("npm").context("npm is not on this machine; Node.js 18 or newer brings it")?;
    let mut command = place.command(npm);
    // None of our packages needs its install script; not running any is one worry less.
    command.current_dir(&ui).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    step::run(place, "npm ci", "esbuild, binaryen and uPlot, by web-ui/package-lock.json", &mut command)?;
    fs::write(&stamp, text).with_context(|| format!("{}", stamp.display()))
}

/// Lets the compilers be found through ccache where it is installed, so that C++ is compiled once per machine.
fn ccache(place: &Place) -> Result<()> {
    let folder = place.ccache_folder();
    let ccache: Option<PathBuf> = program("ccache");
    let Some(ccache) = ccache else {
        // Left over from when there was one: a link into nothing would end every C++ compile.
        return if folder.exists() { fs::remove_dir_all(&folder).map_err(Into::into) } else { Ok(()) };
    };
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    for name in ["cc", "c++", "gcc", "g++"] {
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == ccache) {
            continue;
        }
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&ccache, &link).with_context(|| format!("{}", link.display()))?;
    }
    Ok(())
}
