//! Compiles `proto/` into Rust at build time; needs no installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    let files = ["sitian/v1/delivery.proto", "sitian/v1/manifest.proto", "sitian/v1/control.proto"];
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(files, [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
