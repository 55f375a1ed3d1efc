//! The `ingestor` program: under construction.
fn main() {}
