//! Makes the gRPC types from rpc/proto, without protoc: the server, and a client for the tests.
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rpc/proto");
    let file = folder.join("copier.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&folder])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
