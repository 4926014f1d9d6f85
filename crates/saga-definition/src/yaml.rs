//! The part of YAML the language uses: mappings, sequences and scalars with their places.
//!
//! Built from the parser's event stream with an explicit stack, so that nesting costs no native stack and anchors,
//! aliases, tags, duplicate keys and further documents are seen instead of being resolved.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::problem::{Position, Problem, ProblemKind, Problems};
use crate::{MAX_DEPTH, MAX_SOURCE_BYTES};

/// A value with the place it stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) at: Position,
    pub(crate) value: T,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: NodeValue,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeValue {
    Scalar { text: String, plain: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl NodeValue {
    /// Names the shape for messages.
    pub(crate) fn shape(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "a scalar",
            Self::Sequence(_) => "a sequence",
            Self::Mapping(_) => "a mapping",
        }
    }
}

enum Frame {
    Sequence {
        at: Position,
        items: Vec<Node>,
    },
    Mapping {
        at: Position,
        entries: Vec<(Spanned<String>, Node)>,
        seen: HashSet<String>,
        key: Key,
    },
}

enum Key {
    Awaited,
    Read(Spanned<String>),
    /// The key was refused; its value is read and dropped.
    Refused,
}

/// Reads one document. `None` if there is none to go on with; then at least one problem was reported.
pub(crate) fn load(source: &str, problems: &mut Problems) -> Option<Node> {
    if source.len() > MAX_SOURCE_BYTES {
        problems.push(
            Problem::new(
                ProblemKind::SourceTooLarge,
                Position { line: 1, column: 1 },
                "the definition is too large",
            )
            .expected(format!("at most {MAX_SOURCE_BYTES} bytes"))
            .found(format!("{} bytes", source.len())),
        );
        return None;
    }
    let mut parser = Parser::new_from_str(source);
    let mut stack: Vec<Frame> = Vec::new();
    let mut root = None;
    let mut documents = 0_u32;
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                let at = position(error.marker());
                problems.push(Problem::new(
                    ProblemKind::BadYaml,
                    at,
                    format!("not YAML: {}", error.info()),
                ));
                return None;
            }
        };
        let at = position(&span.start);
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::SequenceEnd
            | Event::MappingEnd => (0, false),
        };
        if anchor != 0 {
            problems.push(Problem::new(
                ProblemKind::AnchorNotAllowed,
                at,
                "anchors are not allowed; repeat the value",
            ));
        }
        if tagged {
            problems.push(Problem::new(
                ProblemKind::TagNotAllowed,
                at,
                "tags are not allowed; types come from the fields",
            ));
        }
        let node = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second document begins here; one file holds one saga";
                    problems.push(Problem::new(ProblemKind::MultipleDocuments, at, message));
                    return None;
                }
                continue;
            }
            Event::Alias(_) => {
                problems.push(Problem::new(
                    ProblemKind::AnchorNotAllowed,
                    at,
                    "aliases are not allowed; repeat the value",
                ));
                return None;
            }
            Event::SequenceStart(..) => {
                stack.push(Frame::Sequence {
                    at,
                    items: Vec::new(),
                });
                None
            }
            Event::MappingStart(..) => {
                stack.push(Frame::Mapping {
                    at,
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: Key::Awaited,
                });
                None
            }
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                Some(Node {
                    at,
                    value: NodeValue::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                })
            }
            Event::SequenceEnd | Event::MappingEnd => stack.pop().map(Frame::close),
        };
        if stack.len() > MAX_DEPTH {
            let message = format!("values are nested too deep; at most {MAX_DEPTH} levels are read");
            problems.push(Problem::new(ProblemKind::TooDeep, at, message));
            return None;
        }
        if let Some(node) = node {
            match stack.last_mut() {
                Some(frame) => frame.add(node, problems),
                None => root = Some(node),
            }
        }
    }
    let empty =
        |node: &Node| matches!(&node.value, NodeValue::Scalar { text, plain: true } if text.is_empty());
    match root {
        Some(node) if !empty(&node) => Some(node),
        Some(_) | None => {
            let at = Position { line: 1, column: 1 };
            problems.push(Problem::new(
                ProblemKind::EmptySource,
                at,
                "there is no definition here",
            ));
            None
        }
    }
}

impl Frame {
    fn close(self) -> Node {
        match self {
            Self::Sequence { at, items } => Node {
                at,
                value: NodeValue::Sequence(items),
            },
            Self::Mapping { at, entries, .. } => Node {
                at,
                value: NodeValue::Mapping(entries),
            },
        }
    }

    fn add(&mut self, node: Node, problems: &mut Problems) {
        match self {
            Self::Sequence { items, .. } => items.push(node),
            Self::Mapping {
                entries, seen, key, ..
            } => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => *key = read_key(node, seen, problems),
                Key::Read(name) => entries.push((name, node)),
                Key::Refused => {}
            },
        }
    }
}

fn read_key(node: Node, seen: &mut HashSet<String>, problems: &mut Problems) -> Key {
    let text = match node.value {
        NodeValue::Scalar { text, .. } if !text.is_empty() => text,
        NodeValue::Scalar { .. } | NodeValue::Sequence(_) | NodeValue::Mapping(_) => {
            problems.push(Problem::new(ProblemKind::BadKey, node.at, "a key must be a word"));
            return Key::Refused;
        }
    };
    if !seen.insert(text.clone()) {
        problems.push(
            Problem::new(
                ProblemKind::DuplicateKey,
                node.at,
                format!("`{}` is given twice", shorten(&text)),
            )
            .on_field(shorten(&text)),
        );
        return Key::Refused;
    }
    Key::Read(Spanned {
        at: node.at,
        value: text,
    })
}

/// Cuts a text from the source so that messages stay readable.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn position(marker: &Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(marker.line()),
        column: number(marker.col().saturating_add(1)),
    }
}
