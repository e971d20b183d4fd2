//! Compiles `src/preload.c` into the shared library that the crate carries.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a build script stops by panicking")]

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src/preload.c");
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("preload.so");
    let compiler = cc::Build::new().warnings(true).warnings_into_errors(true).opt_level(2).get_compiler();
    let mut command = compiler.to_command();
    command.args(["-std=gnu11", "-Wextra", "-fvisibility=hidden", "-shared", "-fPIC", "-pthread"]);
    command.args(["src/preload.c", "-o"]).arg(&library);
    let status = command.status().expect("a C compiler can be started");
    assert!(status.success(), "{command:?}: {status}");
}
