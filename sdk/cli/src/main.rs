//! The command line `neptune`: one file per verb.

fn main() {}
