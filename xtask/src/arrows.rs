//! The arrows between our crates: what README's table allows, and what the manifests do.
//!
//! The table has a row for each crate: `` | `crate` | `may name`, `may name` | ``. `xtask` and the crates below
//! `tests/` have none: they may name anything, and only dev-dependencies may name them. To add a crate: write it, add
//! its row, run `cargo test -p xtask`.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{House, Package};

/// Libraries so heavy that one crate alone names each, so that everything else builds without it.
const HEAVY: [(&str, &str); 7] = [
    ("axum", "neptune-http"),
    ("hyper", "neptune-http"),
    ("pyo3", "neptune-python"),
    ("rocksdb", "neptune-kv-rocksdb"),
    ("wasmtime", "neptune-plugin-runtime"),
    ("yew", "neptune-web-ui"),
    ("wasm-bindgen-cli-support", "xtask"),
];

/// The rows of the table: each crate with those it may name.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Compares README's table with the workspace; answers one sentence per fault.
pub(crate) fn faults(readme: &str, house: &House) -> Vec<String> {
    let table = read_table(readme);
    let free: BTreeSet<&str> =
        house.ours().filter(|package| is_free(package)).map(|p| p.name.as_str()).collect();
    let ours: BTreeSet<&str> = house.ours().map(|package| package.name.as_str()).collect();
    let mut faults = Vec::new();

    for row in table.iter().flat_map(|(name, may_name)| std::iter::once(name).chain(may_name)) {
        if !ours.contains(row.as_str()) {
            faults.push(format!("README's table names {row}, which is no crate of the workspace"));
        }
    }
    for package in house.ours() {
        faults.extend(heavy_faults(package));
        if free.contains(package.name.as_str()) {
            continue;
        }
        let Some(may_name) = table.get(&package.name) else {
            faults.push(format!("{} has no row in README's table", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(d.name.as_str())) {
            let allowed = may_name.contains(&dependency.name)
                || (dependency.kind.as_deref() == Some("dev") && free.contains(dependency.name.as_str()));
            if !allowed {
                faults.push(format!("{} -> {} is not in README's table", package.name, dependency.name));
            }
        }
    }
    faults
}

fn heavy_faults(package: &Package) -> impl Iterator<Item = String> {
    HEAVY.iter().filter_map(|(library, owner)| {
        let named = package.dependencies.iter().any(|dependency| dependency.name == *library);
        (named && package.name != *owner)
            .then(|| format!("{} names {library}; only {owner} may", package.name))
    })
}

/// Whether a crate may name anything: `xtask` and what lies below `tests/`.
fn is_free(package: &Package) -> bool {
    let folders: Vec<&str> = package.manifest_path.rsplit('/').skip(1).take(2).collect();
    package.name == "xtask" || folders.get(1) == Some(&"tests")
}

/// Reads the rows whose cells hold only names in backquotes.
fn read_table(readme: &str) -> Table {
    readme
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> =
                line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
            let [name, may_name] = cells[..] else { return None };
            let name = names(name)?.pop_first()?;
            Some((name, names(may_name)?))
        })
        .collect()
}

/// The names in a cell; nothing if it holds anything else.
fn names(cell: &str) -> Option<BTreeSet<String>> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Some(BTreeSet::new());
    }
    cell.split(',').map(|name| Some(name.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    const TABLE: &str = "\
        | crate | may name |\n|---|---|\n\
        | `wire` | |\n\
        | `store` | `wire`, `kv` |\n\
        | `kv` | |\n";

    /// A made-up workspace: each crate as `folder: dependency, dev:dependency`.
    fn house(crates: &[&str]) -> House {
        let packages: Vec<serde_json::Value> = crates
            .iter()
            .map(|line| {
                let (folder, dependencies) = line.split_once(':').unwrap();
                let dependencies: Vec<serde_json::Value> = dependencies
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(|name| match name.strip_prefix("dev ") {
                        Some(name) => serde_json::json!({ "name": name, "kind": "dev", "rename": null }),
                        None => serde_json::json!({ "name": name, "kind": null, "rename": null }),
                    })
                    .collect();
                let name = folder.rsplit('/').next().unwrap();
                serde_json::json!({
                    "id": name, "name": name, "version": "0.1.0", "license": null, "source": null,
                    "manifest_path": format!("/house/{folder}/Cargo.toml"), "dependencies": dependencies,
                })
            })
            .collect();
        let members: Vec<_> = packages.iter().map(|package| package["id"].clone()).collect();
        serde_json::from_value(serde_json::json!({ "packages": packages, "workspace_members": members }))
            .unwrap()
    }

    fn check(crates: &[&str], expected: &[&str]) {
        assert_eq!(faults(TABLE, &house(crates)), expected);
    }

    #[test]
    fn arrows_of_the_table_are_allowed() {
        check(
            &[
                "sdk/wire:",
                "server/kv:",
                "server/store: wire, kv, dev laws",
                "tests/laws: store, kv",
                "xtask: kv",
            ],
            &[],
        );
    }

    #[test]
    fn an_arrow_that_is_not_there_fails() {
        check(
            &["sdk/wire: kv", "server/kv: dev wire", "server/store: wire"],
            &["wire -> kv is not in README's table", "kv -> wire is not in README's table"],
        );
    }

    #[test]
    fn only_dev_dependencies_may_name_tests() {
        check(
            &["sdk/wire:", "server/kv: laws, dev laws", "server/store:", "tests/laws:"],
            &["kv -> laws is not in README's table"],
        );
    }

    #[test]
    fn table_and_workspace_name_the_same_crates() {
        check(
            &["sdk/wire:", "server/store:", "sdk/cli:"],
            &[
                "README's table names kv, which is no crate of the workspace",
                "README's table names kv, which is no crate of the workspace",
                "cli has no row in README's table",
            ],
        );
    }

    #[test]
    fn a_heavy_library_has_one_home() {
        check(
            &["sdk/wire:", "server/kv: rocksdb", "server/store:", "tests/laws: dev yew"],
            &["kv names rocksdb; only neptune-kv-rocksdb may", "laws names yew; only neptune-web-ui may"],
        );
    }

    #[test]
    fn the_house_is_as_the_readme_says() {
        let place = Place::of_this_source();
        let readme = std::fs::read_to_string(place.root.join("README.md")).unwrap();
        assert!(read_table(&readme).len() > 5, "README's table was not found");
        let found = faults(&readme, &House::read(&place).unwrap());
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
