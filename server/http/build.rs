//! Embeds the built page: `web-ui/dist/` (or the folder that NEPTUNE_WEB_DIST names) becomes a table in the binary.
//!
//! Without a built page the table is empty and the server says how to build one; the rest of the server needs no Node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[derive(serde::Deserialize)]
struct Manifest {
    files: Vec<File>,
}

#[derive(serde::Deserialize)]
struct File {
    path: String,
    content_type: String,
    etag: String,
    encodings: Vec<String>,
    immutable: bool,
}

fn main() {
    println!("cargo::rerun-if-env-changed=NEPTUNE_WEB_DIST");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let dist = match env::var_os("NEPTUNE_WEB_DIST") {
        Some(folder) => PathBuf::from(folder),
        None => root.join("../../web-ui/dist"),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("page.rs");
    fs::write(&out, table(&dist)).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// The Rust expression of all files; an empty slice without a manifest.
fn table(dist: &Path) -> String {
    let manifest = dist.join("manifest.json");
    watch(dist, &manifest);
    let Ok(text) = fs::read_to_string(&manifest) else { return "&[]".into() };
    let manifest: Manifest = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask web` again", manifest.display()));
    let dist = fs::canonicalize(dist).expect("the manifest was read from it");
    let mut table = String::from("&[\n");
    for file in manifest.files {
        let place = |suffix: &str| dist.join(format!("{}{suffix}", file.path));
        let packed = |encoding: &str, suffix: &str| match file.encodings.iter().any(|own| own == encoding) {
            true => format!("Some(include_bytes!({:?}))", place(suffix)),
            false => "None".into(),
        };
        let _ = writeln!(
            table,
            "PageFile {{ path: {:?}, content_type: {:?}, etag: {:?}, immutable: {}, plain: include_bytes!({:?}), \
             br: {}, gzip: {} }},",
            file.path,
            file.content_type,
            file.etag,
            file.immutable,
            place(""),
            packed("br", ".br"),
            packed("gzip", ".gz"),
        );
    }
    table.push(']');
    table
}

/// Cargo runs this again when a page is built where there was none: it watches the nearest folder that exists.
fn watch(dist: &Path, manifest: &Path) {
    let places = [manifest, dist, dist.parent().unwrap_or(dist)];
    let watched = places.iter().find(|place| place.exists()).unwrap_or(&manifest);
    println!("cargo::rerun-if-changed={}", watched.display());
}
