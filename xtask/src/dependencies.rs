//! What the workspace is built from: licences, sources, versions that must be single, and dependencies nobody uses.
//!
//! Read from `cargo metadata` and the npm lock file; nothing is downloaded. Not checked: security advisories (their
//! database is a download of its own; `cargo audit` and `npm audit` do that) and the licences of Python packages, which
//! we install for building and testing and do not ship.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::house::{House, Package};
use crate::place::Place;
use crate::stamp;

/// Licences that let us ship under Apache-2.0 without asking anyone.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// The only registry a library may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Libraries whose types cross the borders of crates, or that hold a state of the whole process: two versions of one
/// would not fit together, or would be two states.
const SINGLE: [&str; 13] = [
    "axum",
    "bytes",
    "hyper",
    "pyo3",
    "rocksdb",
    "rustls",
    "serde",
    "tokio",
    "tracing",
    "tracing-core",
    "utoipa",
    "wasm-bindgen",
    "yew",
];

/// Checks everything this file is for; answers one sentence per fault.
///
/// # Errors
///
/// If a manifest, a source file or a lock file cannot be read.
pub(crate) fn faults(place: &Place, house: &House) -> Result<Vec<String>> {
    let mut faults: Vec<String> = house.packages.iter().filter_map(licence_fault).collect();
    faults.extend(house.packages.iter().filter_map(source_fault));
    faults.extend(version_faults(&house.packages));
    for package in house.ours() {
        faults.extend(unused_faults(package)?);
    }
    let lock = place.root.join("web-ui/package-lock.json");
    let lock = fs::read_to_string(&lock).with_context(|| format!("{}", lock.display()))?;
    faults.extend(npm_faults(&serde_json::from_str(&lock).context("web-ui/package-lock.json")?));
    Ok(faults)
}

fn licence_fault(package: &Package) -> Option<String> {
    let Package { name, version, license, .. } = package;
    match license {
        Some(expression) if is_allowed(expression) => None,
        Some(expression) => Some(format!("{name} {version} is under {expression}, which is not in our list")),
        None => Some(format!("{name} {version} names no licence")),
    }
}

/// Whether an SPDX expression can be fulfilled with [`LICENCES`]; `/` is the old spelling of OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) == Some(true) && rest.is_empty()
}

/// `a OR b …`; nothing if the text is no expression.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = both(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        allowed |= both(words)?;
    }
    Some(allowed)
}

/// `a AND b …`.
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        allowed &= one(words)?;
    }
    Some(allowed)
}

/// One licence, or an expression in parentheses.
fn one(words: &mut &[&str]) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = either(words)?;
            *words = words.strip_prefix(&[")"])?;
            Some(allowed)
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(LICENCES.contains(&format!("{licence} WITH {exception}").as_str()))
        }
        [licence, rest @ ..] => {
            *words = rest;
            Some(LICENCES.contains(licence))
        }
        [] => None,
    }
}

fn source_fault(package: &Package) -> Option<String> {
    let source = package.source.as_deref()?;
    (source != REGISTRY)
        .then(|| format!("{} {} comes from {source}, not from crates.io", package.name, package.version))
}

fn version_faults(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    SINGLE
        .iter()
        .filter_map(|name| {
            let found = versions.get(name).filter(|found| found.len() > 1)?;
            let found: Vec<&str> = found.iter().copied().collect();
            Some(format!("{name} is there in several versions, {}; it must be one", found.join(" and ")))
        })
        .collect()
}

/// A dependency is used if a source file of its crate holds its name as a word. One that is there for its features
/// alone is listed in the manifest: `[package.metadata.unnamed]`, `NAME = "why"`.
fn unused_faults(package: &Package) -> Result<Vec<String>> {
    let folder = Path::new(&package.manifest_path).parent().context("a manifest lies in a folder")?;
    let mut words = BTreeSet::new();
    for file in stamp::files(folder)?.iter().filter(|file| file.extension().is_some_and(|it| it == "rs")) {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        words.extend(
            text.lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
                .map(str::to_owned),
        );
    }
    let unnamed = |name: &str| package.metadata.pointer("/unnamed").and_then(|it| it.get(name)).is_some();
    let mut faults = Vec::new();
    for dependency in &package.dependencies {
        let word = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
        match (words.contains(&word), unnamed(&dependency.name)) {
            (false, false) => {
                faults.push(format!("{} depends on {} and never uses it", package.name, dependency.name));
            }
            (true, true) => faults.push(format!(
                "{} lists {} as unnamed, but its code names it",
                package.name, dependency.name
            )),
            _ => {}
        }
    }
    Ok(faults)
}

/// The page ships npm packages too: the same licences, a hash for each, and no address of somebody's mirror.
fn npm_faults(lock: &serde_json::Value) -> Vec<String> {
    let mut faults = Vec::new();
    let packages = lock.get("packages").and_then(|packages| packages.as_object());
    for (path, package) in packages.into_iter().flatten().filter(|(path, _)| !path.is_empty()) {
        let text = |key: &str| package.get(key).and_then(|value| value.as_str());
        match text("license") {
            Some(expression) if is_allowed(expression) => {}
            Some(expression) => {
                faults.push(format!("npm: {path} is under {expression}, which is not in our list"))
            }
            None => faults.push(format!("npm: {path} names no licence")),
        }
        if text("integrity").is_none() {
            faults.push(format!("npm: {path} has no integrity hash"));
        }
        if text("resolved").is_some_and(|address| !address.starts_with("https://registry.npmjs.org/")) {
            faults.push(format!("npm: {path} is locked to another registry than npm's own"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: Option<&str>, source: Option<&str>) -> Package {
        serde_json::from_value(serde_json::json!({
            "id": format!("{name} {version}"), "name": name, "version": version, "license": license, "source": source,
            "manifest_path": "", "dependencies": [],
        }))
        .unwrap()
    }

    #[test]
    fn licence_expressions_are_read_as_spdx_says() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
        for expression in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "GPL-3.0 WITH Classpath-exception-2.0",
            "",
            "MIT ISC",
        ] {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn a_foreign_licence_source_or_second_version_is_a_fault() {
        let good = package("tokio", "1.0.0", Some("MIT"), Some(REGISTRY));
        assert_eq!((licence_fault(&good), source_fault(&good)), (None, None));
        let bad = package("tokio", "2.0.0", None, Some("git+https://example.org/tokio"));
        assert_eq!(licence_fault(&bad).unwrap(), "tokio 2.0.0 names no licence");
        assert_eq!(
            source_fault(&bad).unwrap(),
            "tokio 2.0.0 comes from git+https://example.org/tokio, not from crates.io"
        );
        assert_eq!(
            version_faults(&[good, bad]),
            ["tokio is there in several versions, 1.0.0 and 2.0.0; it must be one"]
        );
    }

    #[test]
    fn a_dependency_nobody_names_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "//! not_this\nuse used_one::It;\n// nor not_that\n")
            .unwrap();
        let mut package = package("ours", "0.1.0", Some("MIT"), None);
        package.manifest_path = folder.path().join("Cargo.toml").to_str().unwrap().to_owned();
        package.dependencies = ["used-one", "not-this", "not-that", "for-features"]
            .map(|name| serde_json::from_value(serde_json::json!({ "name": name })).unwrap())
            .into();
        package.metadata =
            serde_json::json!({ "unnamed": { "for-features": "turns one on", "used-one": "wrong" } });
        assert_eq!(
            unused_faults(&package).unwrap(),
            [
                "ours lists used-one as unnamed, but its code names it",
                "ours depends on not-this and never uses it",
                "ours depends on not-that and never uses it",
            ]
        );
    }

    #[test]
    fn the_npm_lock_file_is_held_to_the_same_rules() {
        let lock = serde_json::json!({ "packages": {
            "": { "name": "ours" },
            "good": { "license": "MIT", "integrity": "sha512-x" },
            "bad": { "license": "GPL-3.0", "resolved": "https://mirror.example.org/bad.tgz" },
        }});
        assert_eq!(
            npm_faults(&lock),
            [
                "npm: bad is under GPL-3.0, which is not in our list",
                "npm: bad has no integrity hash",
                "npm: bad is locked to another registry than npm's own",
            ]
        );
    }
}
