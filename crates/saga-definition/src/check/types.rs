//! Which protobuf type may feed which.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::mapping::Convert;
use crate::problem::ProblemKind;

/// A kind by what its values are; encodings that differ only on the wire fall together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Class {
    Bool,
    I32,
    I64,
    U32,
    U64,
    F32,
    F64,
    Text,
    Bytes,
    Enum(EnumDescriptor),
    Message(MessageDescriptor),
}

/// Whether a field holds one value, several, or a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Single(Kind),
    List(Kind),
    Map(Kind, Kind),
}

impl Class {
    pub(crate) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Double => Self::F64,
            Kind::Float => Self::F32,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Self::I32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Self::I64,
            Kind::Uint32 | Kind::Fixed32 => Self::U32,
            Kind::Uint64 | Kind::Fixed64 => Self::U64,
            Kind::Bool => Self::Bool,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Message(message) => Self::Message(message.clone()),
            Kind::Enum(of) => Self::Enum(of.clone()),
        }
    }

    fn is_integer(&self) -> bool {
        matches!(self, Self::I32 | Self::I64 | Self::U32 | Self::U64)
    }
}

impl Shape {
    pub(crate) fn of(field: &FieldDescriptor) -> Self {
        let kind = field.kind();
        if let (true, Kind::Message(entry)) = (field.is_map(), &kind) {
            return Self::Map(
                entry.map_entry_key_field().kind(),
                entry.map_entry_value_field().kind(),
            );
        }
        if field.is_list() {
            Self::List(kind)
        } else {
            Self::Single(kind)
        }
    }

    /// Names the type as a proto file would.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Single(kind) => kind_name(kind),
            Self::List(kind) => format!("repeated {}", kind_name(kind)),
            Self::Map(key, value) => format!("map<{}, {}>", kind_name(key), kind_name(value)),
        }
    }
}

/// Names a kind as a proto file would.
pub(crate) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Message(message) => return message.full_name().to_owned(),
        Kind::Enum(of) => return format!("enum {}", of.full_name()),
    }
    .to_owned()
}

/// Finds the conversion that loses nothing.
pub(crate) fn single(from: &Kind, to: &Kind) -> Result<Convert, ProblemKind> {
    let (from, to) = (Class::of(from), Class::of(to));
    if from == to {
        return Ok(Convert::Keep);
    }
    match (&from, &to) {
        (Class::I32, Class::I64) => Ok(Convert::I32ToI64),
        (Class::U32, Class::I64) => Ok(Convert::U32ToI64),
        (Class::U32, Class::U64) => Ok(Convert::U32ToU64),
        (Class::F32, Class::F64) => Ok(Convert::F32ToF64),
        (Class::F64, Class::F32) => Err(ProblemKind::Narrowing),
        _ if from.is_integer() && to.is_integer() => Err(ProblemKind::Narrowing),
        _ => Err(ProblemKind::TypeMismatch),
    }
}

/// Finds how a whole value of one shape feeds another.
pub(crate) fn whole(from: &Shape, to: &Shape) -> Result<Convert, ProblemKind> {
    let same = |a: &Kind, b: &Kind| Class::of(a) == Class::of(b);
    match (from, to) {
        (Shape::Single(from), Shape::Single(to)) => single(from, to),
        // Elements are copied as they stand, so their types must be equal.
        (Shape::List(from), Shape::List(to)) if same(from, to) => Ok(Convert::Keep),
        (Shape::Map(key, value), Shape::Map(to_key, to_value))
            if same(key, to_key) && same(value, to_value) =>
        {
            Ok(Convert::Keep)
        }
        (Shape::List(_), Shape::List(_)) | (Shape::Map(..), Shape::Map(..)) => Err(ProblemKind::TypeMismatch),
        (Shape::Single(_) | Shape::List(_) | Shape::Map(..), _) => Err(ProblemKind::CardinalityMismatch),
    }
}
