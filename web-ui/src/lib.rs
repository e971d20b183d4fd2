//! The web page: jobs, live charts, logs, images.
//!
//! Compiled to WebAssembly by `cargo xtask web`. Does not know: anything but the contract in `neptune-wire`.

#[cfg(target_arch = "wasm32")]
pub mod app;
