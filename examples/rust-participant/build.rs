//! Generates the gRPC code. `../../proto` is there for the import of `evenkeel/saga/v1/step_options.proto`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["acme/shop/v1/shop.proto"], ["proto", "../../proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
