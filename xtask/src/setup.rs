//! `cargo xtask setup`: everything that serving and testing need, each thing only if it is missing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::debian;
use crate::place::{Place, program};
use crate::stamp::Fingerprint;
use crate::step;
use crate::wasm_toolchain::{self, Kind, WasmToolchain};

/// Finds a compiler for WebAssembly, installing one if there is none: rustup's target first, then Debian's packages.
pub(crate) fn wasm(place: &Place) -> Result<WasmToolchain> {
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
                step::say(&format!("  {error:#}"));
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
pub(crate) fn npm(place: &Place) -> Result<()> {
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
pub(crate) fn ccache(place: &Place) -> Result<()> {
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
