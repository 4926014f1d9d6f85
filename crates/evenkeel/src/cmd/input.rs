//! Reading what people hand over: inline, from a file, from standard input.

use std::io::Read;
use std::path::Path;

use prost_reflect::DescriptorPool;

use crate::exit::{Code, Failure};

/// Largest text that is read, in bytes: above every limit of the services, small enough to hold in memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Returns the JSON given inline, as `@FILE`, or as `@-` for standard input. Only its form is checked.
///
/// # Errors
/// If it cannot be read or is not JSON.
pub(crate) fn json_text(argument: &str) -> Result<String, Failure> {
    let text = text(argument)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(Code::Usage, "the input is not JSON").because(&error)),
    }
}

/// Returns what is given inline, as `@FILE`, or as `@-` for standard input.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn text(argument: &str) -> Result<String, Failure> {
    match argument.strip_prefix('@') {
        None => Ok(argument.to_owned()),
        Some("-") => read("standard input", std::io::stdin().lock()),
        Some(path) => file_text(Path::new(path)),
    }
}

/// Returns the content of a text file.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or is larger than 16 MiB.
pub(crate) fn file_text(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path)
        .map_err(|e| Failure::new(Code::Usage, format!("cannot read {name}")).because(&e))?;
    read(&name, file)
}

/// Adds the packages of an encoded `FileDescriptorSet`.
///
/// # Errors
/// If it cannot be read, or is none with its imports.
pub(crate) fn add_descriptors(pool: &mut DescriptorPool, file: &Path) -> Result<(), Failure> {
    let name = file.display();
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::new(Code::Usage, format!("cannot read {name}")).because(&error))?;
    pool.decode_file_descriptor_set(bytes.as_slice())
        .map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("{name} is not a FileDescriptorSet with its imports"),
            )
            .because(&error)
            .next("make one with `buf build -o FILE` or `protoc --include_imports --descriptor_set_out=FILE`")
        })
}

fn read(name: &str, source: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(MAX_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > MAX_BYTES => Err(Failure::new(
            Code::Usage,
            format!("{name} is larger than {MAX_BYTES} bytes"),
        )),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(Code::Usage, format!("cannot read {name}")).because(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_is_not_json_is_refused_before_any_call() {
        assert_eq!(json_text(r#"{"a": 1}"#).unwrap(), r#"{"a": 1}"#);
        for wrong in ["{", "{'a': 1}", ""] {
            assert_eq!(json_text(wrong).unwrap_err().code(), Code::Usage);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = json_text("@/nonexistent/input.json").unwrap_err();
        assert!(
            failure.to_string().contains("/nonexistent/input.json"),
            "{failure}"
        );
    }
}
