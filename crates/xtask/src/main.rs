//! The `xtask` program: under construction.
fn main() {}
