//! What cargo knows of the workspace and everything it is built from, as far as our checks ask.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::place::Place;
use crate::step;

/// The answer of `cargo metadata`.
#[derive(Debug, Deserialize)]
pub(crate) struct House {
    /// Every package of the lock file, for every platform.
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// One package: ours or a library.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// The registry it comes from; nothing for a folder.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) metadata: serde_json::Value,
}

/// One line of a package's dependencies.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for a normal one.
    pub(crate) kind: Option<String>,
    /// The name the code uses, where the manifest gives another one.
    pub(crate) rename: Option<String>,
}

impl House {
    /// Asks cargo.
    pub(crate) fn read(place: &Place) -> Result<Self> {
        let text =
            step::read(place.cargo("metadata").args(["--format-version", "1", "--locked", "--quiet"]))?;
        serde_json::from_str(&text).context("the answer of cargo metadata")
    }

    /// Our own crates.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}
