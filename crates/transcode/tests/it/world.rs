//! A library, and shorthands for asking it.

use std::sync::OnceLock;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value as Json;
use transcode::{BadRequest, Transcoder};

pub(crate) const LIBRARY: &str = "library.v1.LibraryService";

/// Compiles `text` as a file beside the protos of the workspace.
pub(crate) fn compile(text: &str) -> DescriptorPool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test.proto"), text).unwrap();
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let mut compiler = protox::Compiler::new([dir.path(), protos.as_ref()]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("test.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

pub(crate) fn pool() -> DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| compile(include_str!("library.proto")))
        .clone()
}

pub(crate) fn library() -> &'static Transcoder {
    static LIBRARY_SERVICE: OnceLock<Transcoder> = OnceLock::new();
    LIBRARY_SERVICE.get_or_init(|| Transcoder::new(&pool(), &[LIBRARY]).unwrap())
}

/// Builds the request of `PATCH /v1/books/7` from a body.
pub(crate) fn edit(body: impl AsRef<[u8]>) -> Result<DynamicMessage, BadRequest> {
    request(Method::PATCH, "/v1/books/7", None, Some(body.as_ref()))
}

/// Builds the request of `GET /v1/books` from a query.
pub(crate) fn list(query: &str) -> Result<DynamicMessage, BadRequest> {
    request(Method::GET, "/v1/books", Some(query), None)
}

pub(crate) fn request(
    method: Method,
    path: &str,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<DynamicMessage, BadRequest> {
    library().route(&method, path).unwrap().request(query, body)
}

/// Shows the fields of a message that are set, as canonical proto-JSON with the names of the proto.
pub(crate) fn set_fields(message: &DynamicMessage) -> Json {
    let options = prost_reflect::SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap()
}
