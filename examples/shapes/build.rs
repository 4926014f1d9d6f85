//! Compiles the example's proto; the options of steps come from Evenkeel's own.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let own = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let roots = [own.join("proto"), own.join("../../proto")];
    for root in &roots {
        println!("cargo::rerun-if-changed={}", root.display());
    }
    let mut compiler = protox::Compiler::new(&roots)?;
    compiler.include_imports(true);
    compiler.open_files(["example/shapes/v1/shapes.proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Keeps custom options, which the decoded set drops.
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .extern_path(".evenkeel.saga.v1", "::proto::saga::v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
