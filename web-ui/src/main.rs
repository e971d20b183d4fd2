//! Where the page starts: in a browser it mounts [`neptune_web_ui::app`], elsewhere there is nothing to run.

#[cfg(target_arch = "wasm32")]
fn main() {
    neptune_web_ui::app::mount();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
