//! Set-up, builds, serve, test, bench, verify: one command each.

fn main() {}
