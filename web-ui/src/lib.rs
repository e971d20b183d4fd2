//! The web page: jobs, live charts, logs, images.
//!
//! `state` and `chart` are plain Rust, tested natively; `net` reaches the server, `pages` fetch and hold, `components`
//! only draw. Compiled to WebAssembly by `cargo xtask web`. Does not know: anything but the contract in `neptune-wire`.

pub mod chart;
pub mod state;

#[cfg(target_arch = "wasm32")]
pub mod app;
#[cfg(target_arch = "wasm32")]
pub mod components;
#[cfg(target_arch = "wasm32")]
pub mod net;
#[cfg(target_arch = "wasm32")]
pub mod pages;
#[cfg(target_arch = "wasm32")]
pub mod route;
