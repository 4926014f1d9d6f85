//! Who may call a method, as its proto says.

use prost_reflect::MethodDescriptor;
use proto::access::v1::Access;

/// Reads the option `(evenkeel.access.v1.access)`; without it, or with a value of newer protos, it is `Unspecified`, which
/// nobody satisfies.
pub(crate) fn of(method: &MethodDescriptor) -> Access {
    let extension = method
        .parent_pool()
        .get_extension_by_name("evenkeel.access.v1.access");
    extension
        .and_then(|extension| method.options().get_extension(&extension).as_enum_number())
        .and_then(|number| Access::try_from(number).ok())
        .unwrap_or(Access::Unspecified)
}
