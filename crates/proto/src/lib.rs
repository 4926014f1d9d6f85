//! Generated protobuf types and gRPC stubs of every Evenkeel service, and their descriptor set.
//!
//! What it is not: a place for behaviour. Conversions and validation live with the service that owns the package.

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;

/// Encoded `FileDescriptorSet` of all packages below, imports included, custom options kept.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Returns the descriptors of all packages below. Decoded once; cheap to clone.
///
/// # Panics
/// If the descriptor set in the binary is damaged, which the build prevents.
#[must_use]
pub fn descriptor_pool() -> DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(DESCRIPTOR_SET).expect("the descriptor set was written by build.rs")
    })
    .clone()
}

macro_rules! package {
    ($($outer:ident :: $inner:ident = $name:literal),+ $(,)?) => {
        $(pub mod $outer {
            pub mod $inner {
                tonic::include_proto!($name);
            }
        })+
    };
}

package! {
    access::v1 = "evenkeel.access.v1",
    auth::v1 = "evenkeel.auth.v1",
    saga::v1 = "evenkeel.saga.v1",
    quota::v1 = "evenkeel.quota.v1",
    task::v1 = "evenkeel.task.v1",
    bench::v1 = "evenkeel.bench.v1",
    billing::v1 = "evenkeel.billing.v1",
}
