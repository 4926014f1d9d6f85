//! JSON over HTTP to gRPC and back, and the OpenAPI document, from descriptors.
