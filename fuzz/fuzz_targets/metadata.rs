//! Any headers of a step call: they are read or refused, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rpc::step::{self, StepCall};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

// Lines of "name: value".
fuzz_target!(|bytes: &[u8]| {
    let mut metadata = MetadataMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let name = AsciiMetadataKey::from_bytes(name);
        // Values as they come from the wire: any visible octets.
        let value = AsciiMetadataValue::try_from(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            metadata.append(name, value);
        }
    }
    if let Ok(call) = StepCall::read(&metadata, "fuzz.evenkeel") {
        let mut written = MetadataMap::new();
        call.write(&mut written);
        let again = StepCall::read(&written, "fuzz.evenkeel").expect("what was written can be read");
        assert_eq!(call, again);
    }
    let _ = step::pending(&metadata);
    let _ = step::is_stored(&metadata);
    assert!(step::actor(&metadata).chars().count() <= 128);
    let details = metadata.get("grpc-status-details-bin").map(|value| value.as_bytes().to_vec());
    let code = Code::from_i32(i32::from(bytes.first().copied().unwrap_or(0) % 17));
    let status = Status::with_details(code, "fuzz", details.unwrap_or_else(|| bytes.to_vec()).into());
    let _ = rpc::outcome::classify(&status, "fuzz.evenkeel");
    let _ = rpc::error::info(&status);
});
