//! Saga definitions: YAML, type check against protobuf descriptors, field mapping.
