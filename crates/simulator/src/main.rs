//! The `simulator` program: under construction.
fn main() {}
