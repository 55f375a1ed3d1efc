//! The `gateway` program: under construction.
fn main() {}
