//! `evenkeel proto`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::exit::{Code, Failure};
use crate::output;

/// Compiles .proto files of participants
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(Compile),
}

/// Compiles .proto files to the descriptor file that `descriptors` of a participant names
///
/// Needs no protoc. The imports google/protobuf/*.proto and evenkeel/** are built in; others are looked for in the
/// --include directories. Imports are part of the file, so that it stands alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel proto compile proto/acme/shop/v1/shop.proto --out shop.binpb
  evenkeel proto compile proto/acme/*/v1/*.proto --include proto --out acme.binpb")]
struct Compile {
    /// Files to compile
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where imports are found, and what the names of files are relative to [default: the directory above the folders
    /// of the file's package]
    #[arg(long, short = 'I', value_name = "DIR")]
    include: Vec<PathBuf>,
    /// Where the descriptors go: an encoded FileDescriptorSet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<Code, Failure> {
    match args.command {
        Command::Compile(args) => compile(&args),
    }
}

fn compile(args: &Compile) -> Result<Code, Failure> {
    let bytes = compiled(&args.files, &args.include)?;
    let size = bytes.len();
    std::fs::write(&args.out, bytes).map_err(|error| {
        Failure::new(Code::Failed, format!("cannot write {}", args.out.display())).because(&error)
    })?;
    output::remark(&format!("{}: {size} bytes", args.out.display()));
    Ok(Code::Ok)
}

/// Compiles files with their imports.
fn compiled(files: &[PathBuf], includes: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let includes = if includes.is_empty() {
        files.iter().map(|file| root_of(file)).collect()
    } else {
        includes.to_vec()
    };
    let mut resolver = ChainFileResolver::new();
    for include in includes {
        resolver.add(IncludeFileResolver::new(include));
    }
    resolver.add(GoogleFileResolver::new());
    let ours = DescriptorSetFileResolver::decode(proto::DESCRIPTOR_SET).map_err(|error| {
        Failure::new(Code::Failed, "the built-in descriptors are damaged").because(&error)
    })?;
    resolver.add(ours);
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in files {
        compiler.open_file(file).map_err(|error| {
            Failure::new(Code::Failed, format!("{} does not compile", file.display())).because(&error)
        })?;
    }
    let bytes = compiler.encode_file_descriptor_set();
    // What the orchestrator does with it when it starts.
    DescriptorPool::decode(bytes.as_slice())
        .map_err(|error| Failure::new(Code::Failed, "the descriptors are not complete").because(&error))?;
    Ok(bytes)
}

/// Directory above the folders of the file's package: `proto` for `proto/acme/shop/v1/shop.proto` with the package
/// `acme.shop.v1`. The file's own directory where the folders have other names.
///
/// The name of a file must be its own among all participants, which a bare `shop.proto` may not be.
fn root_of(file: &Path) -> PathBuf {
    let own = file.parent().unwrap_or(Path::new(""));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let package = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("package ")?.split(';').next());
    let mut root = own;
    for folder in package.unwrap_or_default().rsplit('.') {
        match root.parent() {
            Some(above) if root.ends_with(folder.trim()) => root = above,
            Some(_) | None => return here(own),
        }
    }
    here(root)
}

/// The empty path is this directory, which the resolver wants to hear.
fn here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = r#"syntax = "proto3";
package acme.shop.v1;
import "evenkeel/saga/v1/step_options.proto";
import "google/protobuf/duration.proto";
message Request { google.protobuf.Duration wait = 1; }
message Response {}
service ShopSteps {
  rpc Reserve(Request) returns (Response) {
    option (evenkeel.saga.v1.step) = { barrier: BARRIER_TRANSACTIONAL };
  }
}
"#;

    fn scratch() -> test_support::Scratch {
        test_support::Scratch::new().unwrap()
    }

    #[test]
    fn a_file_with_our_imports_compiles_and_stands_alone() {
        let scratch = scratch();
        let folder = scratch.path().join("acme/shop/v1");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("shop.proto");
        std::fs::write(&file, SHOP).unwrap();

        let bytes = compiled(&[file], &[]).unwrap();
        let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
        let service = pool.get_service_by_name("acme.shop.v1.ShopSteps").unwrap();
        assert_eq!(service.parent_file().name(), "acme/shop/v1/shop.proto");
        let mut known = proto::descriptor_pool();
        known.decode_file_descriptor_set(bytes.as_slice()).unwrap();
        let method = known.get_service_by_name("acme.shop.v1.ShopSteps").unwrap();
        let options = method.methods().next().unwrap().options();
        assert_eq!(options.extensions().count(), 1, "the step option is kept");
    }

    #[test]
    fn a_file_beside_the_path_of_its_package_compiles_too() {
        let scratch = scratch();
        let file = scratch.path().join("shop.proto");
        std::fs::write(&file, SHOP).unwrap();
        assert!(compiled(&[file], &[]).is_ok());
    }

    #[test]
    fn a_mistake_is_named_with_its_file() {
        let scratch = scratch();
        let file = scratch.path().join("shop.proto");
        std::fs::write(&file, SHOP.replace("(Request)", "(Reqest)")).unwrap();
        let failure = compiled(&[file], &[]).unwrap_err().to_string();
        assert!(
            failure.contains("Reqest") && failure.contains("shop.proto"),
            "{failure}"
        );
    }
}
