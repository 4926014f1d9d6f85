//! The types a definition depends on, as a descriptor set of their own.
//!
//! Whole files are not kept: an unrelated message beside a used one would make a new revision of every saga.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_reflect::{EnumDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, MessageOptions, MethodDescriptorProto, OneofDescriptorProto,
};

use crate::call::{Barrier, Target};
use crate::definition::Definition;

/// Every message and enum reachable from some roots, by full name.
#[derive(Debug, Default)]
pub(crate) struct Types {
    pub(crate) messages: BTreeMap<String, MessageDescriptor>,
    pub(crate) enums: BTreeMap<String, EnumDescriptor>,
}

impl Types {
    /// Follows fields from the input, requests and replies of a definition, published ones included.
    pub(crate) fn of(definition: &Definition) -> Self {
        let mut types = Self::default();
        let mut open = vec![definition.input.clone()];
        open.extend(
            definition
                .calls()
                .flat_map(|call| [call.request_type().clone(), call.reply_type().clone()]),
        );
        while let Some(message) = open.pop() {
            if types.messages.contains_key(message.full_name()) {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(inner) => open.push(inner),
                    Kind::Enum(of) => drop(types.enums.insert(of.full_name().to_owned(), of)),
                    Kind::Double
                    | Kind::Float
                    | Kind::Int32
                    | Kind::Int64
                    | Kind::Uint32
                    | Kind::Uint64
                    | Kind::Sint32
                    | Kind::Sint64
                    | Kind::Fixed32
                    | Kind::Fixed64
                    | Kind::Sfixed32
                    | Kind::Sfixed64
                    | Kind::Bool
                    | Kind::String
                    | Kind::Bytes => {}
                }
            }
            types.messages.insert(message.full_name().to_owned(), message);
        }
        types
    }

    fn uses(&self, message: &MessageDescriptor) -> bool {
        self.messages.contains_key(message.full_name())
    }
}

/// Wire form of the parts that carry the step option, which the plain descriptor types would drop.
mod wire {
    use prost_types::FileDescriptorProto;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Set {
        #[prost(bytes = "vec", repeated, tag = "1")]
        pub(super) file: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Services {
        #[prost(message, repeated, tag = "6")]
        pub(super) service: Vec<Service>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Service {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(super) method: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MethodOptions {
        #[prost(message, optional, tag = "4")]
        pub(super) options: Option<Options>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Options {
        #[prost(message, optional, tag = "50901")]
        pub(super) step: Option<Step>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Step {
        #[prost(int32, tag = "1")]
        pub(super) barrier: i32,
    }

    /// Two encodings of one message behind each other are their merge.
    pub(super) fn encode(file: &FileDescriptorProto, services: &Services) -> Vec<u8> {
        use prost::Message as _;
        let mut bytes = file.encode_to_vec();
        bytes.extend(services.encode_to_vec());
        bytes
    }
}

#[derive(Default)]
struct Services(BTreeMap<String, BTreeMap<String, (MethodDescriptor, Barrier)>>);

/// Encodes the closure of a definition.
pub(crate) fn encode(definition: &Definition) -> Vec<u8> {
    let types = Types::of(definition);
    let mut services: BTreeMap<String, Services> = BTreeMap::new();
    let mut files: BTreeMap<String, FileDescriptor> = BTreeMap::new();
    for message in types.messages.values() {
        files.insert(message.parent_file().name().to_owned(), message.parent_file());
    }
    for of in types.enums.values() {
        files.insert(of.parent_file().name().to_owned(), of.parent_file());
    }
    for call in definition.calls() {
        let Target::Method { method, barrier, .. } = call.target() else {
            continue;
        };
        let file = method.parent_file();
        let by_name = services.entry(file.name().to_owned()).or_default();
        let methods = by_name
            .0
            .entry(method.parent_service().name().to_owned())
            .or_default();
        // Two calls of one method differ at most in their acknowledgement, which means "no option" for both.
        methods.insert(method.name().to_owned(), (method.clone(), *barrier));
        files.insert(file.name().to_owned(), file);
    }
    let nothing = Services::default();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut set = wire::Set::default();
    // A file stands behind those it imports; proto files cannot import each other in a circle.
    while done.len() < files.len() {
        let before = done.len();
        for (name, file) in &files {
            let services = services.get(name).unwrap_or(&nothing);
            let imports = imports(&types, file, services);
            if done.contains(name.as_str()) || !imports.iter().all(|import| done.contains(import.as_str())) {
                continue;
            }
            set.file.push(encode_file(&types, file, imports, services));
            done.insert(name);
        }
        if done.len() == before {
            break;
        }
    }
    set.encode_to_vec()
}

/// Names the other files that what is kept of this file needs.
fn imports(types: &Types, file: &FileDescriptor, services: &Services) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for message in types
        .messages
        .values()
        .filter(|message| message.parent_file() == *file)
    {
        for field in message.fields() {
            if let Some(inner) = field.kind().as_message() {
                imports.insert(inner.parent_file().name().to_owned());
            }
            if let Some(of) = field.kind().as_enum() {
                imports.insert(of.parent_file().name().to_owned());
            }
        }
    }
    for (method, _) in services.0.values().flat_map(BTreeMap::values) {
        imports.insert(method.input().parent_file().name().to_owned());
        imports.insert(method.output().parent_file().name().to_owned());
    }
    imports.remove(file.name());
    imports
}

fn encode_file(
    types: &Types,
    file: &FileDescriptor,
    imports: BTreeSet<String>,
    services: &Services,
) -> Vec<u8> {
    let written = file.file_descriptor_proto();
    let kept = FileDescriptorProto {
        name: written.name.clone(),
        package: written.package.clone(),
        syntax: written.syntax.clone(),
        dependency: imports.into_iter().collect(),
        message_type: sorted(
            file.messages()
                .filter_map(|message| keep_message(types, &message)),
        ),
        enum_type: keep_enums(types, file.enums()),
        ..FileDescriptorProto::default()
    };
    let service = services.0.iter().map(|(name, methods)| wire::Service {
        name: name.clone(),
        method: methods
            .values()
            .map(|(method, barrier)| encode_method(method, *barrier))
            .collect(),
    });
    wire::encode(
        &kept,
        &wire::Services {
            service: service.collect(),
        },
    )
}

fn encode_method(method: &MethodDescriptor, barrier: Barrier) -> Vec<u8> {
    let kept = MethodDescriptorProto {
        name: Some(method.name().to_owned()),
        input_type: Some(format!(".{}", method.input().full_name())),
        output_type: Some(format!(".{}", method.output().full_name())),
        ..MethodDescriptorProto::default()
    };
    let number = match barrier {
        Barrier::Transactional => Some(1),
        Barrier::External => Some(2),
        Barrier::Natural => Some(3),
        Barrier::Acknowledged => None,
    };
    let options = number.map(|barrier| wire::Options {
        step: Some(wire::Step { barrier }),
    });
    let mut bytes = kept.encode_to_vec();
    bytes.extend(wire::MethodOptions { options }.encode_to_vec());
    bytes
}

/// Keeps a used message whole, and of an unused one the shell around used ones.
fn keep_message(types: &Types, message: &MessageDescriptor) -> Option<DescriptorProto> {
    let nested_type = sorted(
        message
            .child_messages()
            .filter_map(|child| keep_message(types, &child)),
    );
    let enum_type = keep_enums(types, message.child_enums());
    let used = types.uses(message);
    if !used && nested_type.is_empty() && enum_type.is_empty() {
        return None;
    }
    let mut kept = DescriptorProto {
        name: Some(message.name().to_owned()),
        nested_type,
        enum_type,
        ..DescriptorProto::default()
    };
    if used {
        let written = message.descriptor_proto();
        kept.field = written
            .field
            .iter()
            .map(|field| keep_field(message, field))
            .collect();
        kept.field.sort_by_key(FieldDescriptorProto::number);
        let oneof = |written: &OneofDescriptorProto| OneofDescriptorProto {
            name: written.name.clone(),
            options: None,
        };
        kept.oneof_decl = written.oneof_decl.iter().map(oneof).collect();
        kept.options = message.is_map_entry().then(|| MessageOptions {
            map_entry: Some(true),
            ..MessageOptions::default()
        });
    }
    Some(kept)
}

fn keep_field(message: &MessageDescriptor, written: &FieldDescriptorProto) -> FieldDescriptorProto {
    let kind = u32::try_from(written.number())
        .ok()
        .and_then(|number| message.get_field(number))
        .map(|f| f.kind());
    let type_name = kind.and_then(|kind| match &kind {
        Kind::Message(inner) => Some(format!(".{}", inner.full_name())),
        Kind::Enum(of) => Some(format!(".{}", of.full_name())),
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Bool
        | Kind::String
        | Kind::Bytes => None,
    });
    let packed = written.options.as_ref().and_then(|options| options.packed);
    FieldDescriptorProto {
        type_name,
        options: packed.map(|packed| FieldOptions {
            packed: Some(packed),
            ..FieldOptions::default()
        }),
        ..written.clone()
    }
}

fn keep_enums(types: &Types, enums: impl Iterator<Item = EnumDescriptor>) -> Vec<EnumDescriptorProto> {
    let mut kept: Vec<EnumDescriptorProto> = enums
        .filter(|of| types.enums.contains_key(of.full_name()))
        .map(|of| {
            let written = of.enum_descriptor_proto();
            let value = |written: &EnumValueDescriptorProto| EnumValueDescriptorProto {
                name: written.name.clone(),
                number: written.number,
                options: None,
            };
            let alias = written.options.as_ref().and_then(|options| options.allow_alias);
            EnumDescriptorProto {
                name: written.name.clone(),
                // The first value is the default, so the order stays.
                value: written.value.iter().map(value).collect(),
                options: alias.map(|alias| EnumOptions {
                    allow_alias: Some(alias),
                    ..EnumOptions::default()
                }),
                ..EnumDescriptorProto::default()
            }
        })
        .collect();
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

fn sorted(messages: impl Iterator<Item = DescriptorProto>) -> Vec<DescriptorProto> {
    let mut messages: Vec<DescriptorProto> = messages.collect();
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    messages
}
