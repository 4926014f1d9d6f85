//! Any HTTP request of users and operators: it becomes a message of the method it names, or a bad request.
#![no_main]

use std::sync::LazyLock;

use http::Method;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use transcode::Transcoder;

static TRANSCODER: LazyLock<Transcoder> = LazyLock::new(|| {
    let pool = proto::descriptor_pool();
    let services: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    Transcoder::new(&pool, &services).expect("the gateway serves them")
});

// The first line is "METHOD path?query"; the rest is the body.
fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (line, body) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let Ok(route) = TRANSCODER.route(&method, path) else {
        return;
    };
    if let Ok(message) = route.request(query, body) {
        let bytes = message.encode_to_vec();
        let again = DynamicMessage::decode(message.descriptor(), bytes.as_slice()).expect("a request can be read");
        assert_eq!(bytes.len(), again.encoded_len());
    }
});
