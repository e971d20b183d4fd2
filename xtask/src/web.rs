//! `cargo xtask web`: the web page as static files in `web-ui/dist/`, whose layout `web-ui/README.md` describes.
//!
//! ```text
//! cargo (profile web, wasm32) -> wasm-bindgen -> wasm-opt -> esbuild -> .br, .gz, manifest
//! ```
//!
//! Cargo decides for itself whether there is something to compile; what comes after it is skipped while the module, the
//! scripts and the npm lock file are the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::place::Place;
use crate::stamp::Fingerprint;
use crate::step;
use crate::wasm_toolchain::{TARGET, WasmToolchain};

const MODULE: &str = "neptune-web-ui";
/// The instructions beyond the first WebAssembly version that every browser of the last years runs and that Rust's
/// compiler emits unasked.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Builds the page with this compiler; npm's packages must be installed.
pub(crate) fn build(place: &Place, toolchain: &WasmToolchain) -> Result<()> {
    let module = compile(place, toolchain)?;

    let ui = place.root.join("web-ui");
    let stamp = ui.join("dist/.stamp");
    let mut fingerprint = Fingerprint::default().path(&module)?.path(&place.root.join("Cargo.lock"))?;
    for input in ["index.html", "bundle.mjs", "package-lock.json", "tsconfig.json", "js", "css", "static"] {
        fingerprint = fingerprint.path(&ui.join(input))?;
    }
    let (same, text) = fingerprint.compare(&stamp);
    if same {
        return Ok(());
    }

    let folder = place.target.join("web-ui");
    bind(&module, &folder)?;
    optimise(place, &folder)?;
    let mut bundle = place.command("node");
    bundle.arg(ui.join("bundle.mjs")).arg(&folder).arg(ui.join("dist"));
    step::run(place, "bundle the page", "esbuild, then each file compressed for the server", &mut bundle)?;
    fs::write(&stamp, text).with_context(|| format!("{}", stamp.display()))
}

/// Compiles the page's crate and answers where the module is.
fn compile(place: &Place, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let why = format!("Rust to WebAssembly with {}", toolchain.name());
    let mut cargo = toolchain.cargo("build", &place.target, |program| place.command(program));
    cargo.args(["--profile", "web", "--locked", "--package", "neptune-web-ui", "--bin", MODULE]);
    step::run(place, "compile the page", &why, &mut cargo)?;
    Ok(toolchain.target_dir(&place.target).join(TARGET).join("web").join(format!("{MODULE}.wasm")))
}

/// Writes the glue between the module and the browser.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).typescript(false).remove_name_section(true).remove_producers_section(true);
    // The bundle hands the module's address over, with the hash of its content in it.
    bindgen.web(true)?.omit_default_module_path(true);
    bindgen.generate(folder).context("wasm-bindgen")
}

/// Lets binaryen shrink the module in place.
fn optimise(place: &Place, folder: &Path) -> Result<()> {
    let module = folder.join(format!("{MODULE}_bg.wasm"));
    let smaller = folder.join("optimised.wasm");
    let mut wasm_opt = place.command("node");
    wasm_opt.arg(place.root.join("web-ui/node_modules/binaryen/bin/wasm-opt"));
    wasm_opt.arg("-Oz").args(FEATURES).arg(&module).arg("-o").arg(&smaller);
    step::run(place, "shrink the page", "wasm-opt of the npm package binaryen", &mut wasm_opt)?;
    fs::rename(&smaller, &module).with_context(|| format!("{}", module.display()))
}
