//! `cargo xtask bench …`: builds the server and `neptune-bench`, and runs the latter with these arguments.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::place::Place;
use crate::serve::in_venv;
use crate::{native, setup, step};

/// Builds, then becomes the benchmark; what it prints is the result.
pub(crate) fn run(place: &Place, arguments: impl Iterator<Item = OsString>) -> Result<()> {
    // A row looks at the page with the browser of the tests.
    setup::testing(place)?;
    setup::serving(place)?;
    let mut cargo = native::cargo(place, "build");
    step::run(place, "build the benchmark", "release profile", cargo.args(["--bin", "neptune-bench"]))?;
    let error = in_venv(place, place.command(place.built("neptune-bench"))).args(arguments).exec();
    Err(error).context("cannot start neptune-bench")
}
