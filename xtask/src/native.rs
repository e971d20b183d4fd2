//! The server and the command line, built in the release profile.
//!
//! Every cargo call that builds or checks them takes the same [`SELECTION`]: features are unified over the selected
//! packages, so another selection would compile the libraries once more, RocksDB's C++ among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::place::Place;
use crate::step;

/// The packages of every native build. `neptune-python` is built by maturin, `xtask` by cargo's alias.
pub(crate) const SELECTION: [&str; 5] = ["--workspace", "--exclude", "neptune-python", "--exclude", "xtask"];

/// The programs a person runs.
pub(crate) const PROGRAMS: [&str; 2] = ["neptune", "neptune-server"];

/// How many C++ files RocksDB 11 has; only shown as progress.
pub(crate) const ROCKSDB_FILES: usize = 343;

/// Builds the server (which embeds `web-ui/dist`) and the command line.
pub(crate) fn build(place: &Place) -> Result<()> {
    let mut cargo = cargo(place, "build");
    for program in PROGRAMS {
        cargo.args(["--bin", program]);
    }
    announce_rocksdb(place);
    step::run(place, "build the server and the command line", "release profile", &mut cargo)?;
    Ok(())
}

/// A cargo command over the selection, release profile, lock file as it is.
pub(crate) fn cargo(place: &Place, verb: &str) -> Command {
    let mut cargo = place.cargo(verb);
    cargo.args(["--release", "--locked"]).args(SELECTION);
    cargo
}

/// Libraries that building and testing would compile with different features, so twice, one sentence each.
///
/// # Errors
///
/// If cargo cannot answer.
pub(crate) fn feature_faults(place: &Place) -> Result<Vec<String>> {
    let features = |edges: &str| -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut cargo = place.cargo("tree");
        cargo.args([
            "--locked",
            "--quiet",
            "--no-dedupe",
            "--prefix",
            "none",
            "--format",
            "{p}|{f}",
            "--edges",
            edges,
        ]);
        let text = step::read(cargo.args(SELECTION))?;
        let mut sets = BTreeMap::<String, BTreeSet<String>>::new();
        // The mark of a circle, as dev-dependencies make them, is no feature.
        let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
        for (package, features) in lines.filter_map(|line| line.split_once('|')) {
            sets.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
        Ok(sets)
    };
    let (built, tested) = (features("normal,build")?, features("normal,build,dev")?);
    Ok(differences(&built, &tested))
}

fn differences(
    built: &BTreeMap<String, BTreeSet<String>>,
    tested: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let both = built.iter().filter_map(|(package, features)| Some((package, features, tested.get(package)?)));
    both.filter(|(_, built, tested)| built != tested)
        .map(|(package, built, tested)| {
            let split = |sets: &BTreeSet<String>| -> BTreeSet<String> {
                sets.iter().flat_map(|set| set.split(',')).map(str::to_owned).collect()
            };
            let added: Vec<String> = split(tested).difference(&split(built)).cloned().collect();
            format!(
                "{package} is compiled twice, as dev-dependencies add {} to its features; \
                 name them in tests/end-to-end/Cargo.toml, which every build selects",
                added.join(", ")
            )
        })
        .collect()
}

/// Says what takes so long before it does, if RocksDB was never built in this target folder.
pub(crate) fn announce_rocksdb(place: &Place) {
    if rocksdb_folders(place).any(|folder| folder.join("librocksdb.a").is_file()) {
        return;
    }
    let once = if place.ccache_folder().is_dir() {
        "ccache keeps it for every clone"
    } else {
        "once per target folder"
    };
    step::say(&format!(
        "  RocksDB is compiled first: 11 to 24 minutes on two cores ({once}); everything else takes a few minutes"
    ));
}

/// How many of RocksDB's files are compiled so far.
pub(crate) fn rocksdb_objects(place: &Place) -> usize {
    let is_object = |entry: &DirEntry| entry.path().extension().is_some_and(|extension| extension == "o");
    rocksdb_folders(place)
        .flat_map(fs::read_dir)
        .map(|entries| entries.flatten().filter(is_object).count())
        .max()
        .unwrap_or(0)
}

/// Where its build script works; another version of it, or of us, may have left a folder of its own.
fn rocksdb_folders(place: &Place) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(place.target.join("release/build")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("librocksdb-sys-"))
        .map(|entry| entry.path().join("out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_only_tests_turn_on_is_found() {
        let sets = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(package, set)| ((*package).to_owned(), BTreeSet::from([(*set).to_owned()])))
                .collect()
        };
        let built = sets(&[("tokio v1", "net,time"), ("nix v0", "fs")]);
        assert!(
            differences(&built, &sets(&[("tokio v1", "net,time"), ("nix v0", "fs"), ("pem v4", "")]))
                .is_empty()
        );
        let found = differences(&built, &sets(&[("tokio v1", "net,test-util,time"), ("nix v0", "fs")]));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("tokio v1 is compiled twice, as dev-dependencies add test-util"),
            "{found:?}"
        );
    }
}
