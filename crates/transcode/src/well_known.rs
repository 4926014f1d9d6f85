//! Types of `google/protobuf/` that JSON writes in a form of their own.

use prost_reflect::MessageDescriptor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WellKnown {
    Timestamp,
    Duration,
    FieldMask,
    /// `Int64Value` and the like: the value alone.
    Wrapper,
    Any,
    Value,
    List,
    Struct,
}

impl WellKnown {
    /// Returns the form of a message, if it has one. `Empty` has none: it is an object like any other.
    pub(crate) fn of(descriptor: &MessageDescriptor) -> Option<Self> {
        let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
        Some(match name {
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "BoolValue" | "StringValue" | "BytesValue" | "FloatValue" | "DoubleValue" | "Int32Value"
            | "Int64Value" | "UInt32Value" | "UInt64Value" => Self::Wrapper,
            "Any" => Self::Any,
            "Value" => Self::Value,
            "ListValue" => Self::List,
            "Struct" => Self::Struct,
            _ => return None,
        })
    }

    /// True if it is one string, number or boolean, so that a path or query can hold it.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Timestamp | Self::Duration | Self::FieldMask | Self::Wrapper
        )
    }
}
