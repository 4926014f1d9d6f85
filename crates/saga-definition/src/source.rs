//! A definition as written, before its names and types are looked up.

use crate::problem::Position;
use crate::scalar::Literal;
use crate::yaml::Spanned;

/// Holds a definition as written: its shape is right, its names and types are unchecked.
///
/// Made by [`parse`](crate::parse) from YAML or by [`Builder`](crate::builder::Builder) from code;
/// [`check`](crate::check) turns either into a [`Definition`](crate::Definition).
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) at: Position,
    pub(crate) name: Slot<String>,
    pub(crate) version: Slot<i128>,
    pub(crate) input: Slot<String>,
    pub(crate) business_id: Option<Spanned<String>>,
    pub(crate) deadline: Slot<Time>,
    pub(crate) retry: RetryPatch,
    pub(crate) timeout: Option<Spanned<u64>>,
    pub(crate) steps: Slot<Vec<StepSource>>,
    pub(crate) on_compensated: Option<CallSource>,
}

/// A required key. `Invalid` was reported by the parser already, so that the check does not call it missing.
#[derive(Clone, Debug, Default)]
pub(crate) enum Slot<T> {
    #[default]
    Absent,
    Invalid,
    Given(Spanned<T>),
}

impl<T> Slot<T> {
    pub(crate) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// A duration: a literal in milliseconds, or a path to a `google.protobuf.Duration`.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    Ms(u64),
    Path(String),
}

/// Retry settings that differ from those around them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryPatch {
    pub(crate) at: Position,
    pub(crate) retries: Option<Spanned<i128>>,
    pub(crate) initial: Option<Spanned<u64>>,
    pub(crate) factor: Option<Spanned<f64>>,
    pub(crate) max: Option<Spanned<u64>>,
}

#[derive(Clone, Debug)]
pub(crate) struct StepSource {
    pub(crate) at: Position,
    pub(crate) name: Slot<String>,
    pub(crate) call: CallSource,
    pub(crate) compensate: Option<CallSource>,
    pub(crate) no_compensation: Option<Spanned<String>>,
    pub(crate) pivot: Option<Spanned<bool>>,
    pub(crate) retriable: Option<Spanned<bool>>,
    pub(crate) expires: Option<Spanned<Time>>,
    pub(crate) after: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) when: Option<Expr>,
    pub(crate) probe: Option<CallSource>,
    /// `compensate` or `no_compensation` stands in the text but could not be read.
    pub(crate) undo_invalid: bool,
}

impl StepSource {
    /// A step that only makes this call.
    pub(crate) fn new(at: Position, call: CallSource) -> Self {
        Self {
            at,
            name: Slot::Invalid,
            call,
            compensate: None,
            no_compensation: None,
            pivot: None,
            retriable: None,
            expires: None,
            after: None,
            when: None,
            probe: None,
            undo_invalid: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct CallSource {
    pub(crate) at: Position,
    /// Put before field names in problems: `compensate.`, `probe.` and so on, or nothing.
    pub(crate) prefix: &'static str,
    pub(crate) method: Slot<String>,
    /// Routing key, instead of a method.
    pub(crate) publish: Slot<String>,
    /// Type of what is published.
    pub(crate) message: Slot<String>,
    pub(crate) awaits: Slot<AwaitSource>,
    pub(crate) with: Vec<(Spanned<String>, Expr)>,
    pub(crate) retry: RetryPatch,
    pub(crate) timeout: Option<Spanned<u64>>,
    pub(crate) unsafe_ack: Option<Spanned<String>>,
}

/// How the final answer may come earlier than it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum AwaitSource {
    Token,
    Reply {
        reply: Slot<String>,
        message: Slot<String>,
        failed: Option<Spanned<String>>,
        ask_again: Option<Spanned<u64>>,
    },
}

/// Holds the value of a request field: a path, a literal, a nested message or map, or a list.
#[derive(Clone, Debug)]
pub struct Expr {
    pub(crate) at: Position,
    pub(crate) node: ExprNode,
}

#[derive(Clone, Debug)]
pub(crate) enum ExprNode {
    Path {
        text: String,
        allow_default: bool,
    },
    Literal(Literal),
    /// A nested message, or the entries of a map: the target decides.
    Fields(Vec<(Spanned<String>, Expr)>),
    List(Vec<Expr>),
}
