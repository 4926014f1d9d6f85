//! Definitions written in Rust instead of YAML. The result goes through the same [`check`](crate::check).
//!
//! ```
//! use saga_definition::builder::{Builder, Call, Step};
//! use saga_definition::Expr;
//!
//! let source = Builder::new("GREET", 1, "evenkeel.bench.v1.BenchInput")
//!     .deadline_ms(60_000)
//!     .step(
//!         Step::new("WORK", Call::new("evenkeel.bench.v1.BenchSteps/Work").with("payload", Expr::path("input.payload")))
//!             .no_compensation("has no effect"),
//!     )
//!     .build();
//! # let pool = proto::descriptor_pool();
//! # let participants = saga_definition::Participants::new(["evenkeel"]);
//! assert!(saga_definition::check(&source, &pool, &participants).is_ok());
//! ```

mod call;
mod tried;

pub use self::call::{Call, Reply, Retry};
pub use self::tried::Try;
use crate::problem::Position;
use crate::scalar::Literal;
use crate::source::{Expr, ExprNode, RetryPatch, Slot, Source, StepSource, Time};
use crate::tcc;
use crate::yaml::Spanned;

const NOWHERE: Position = Position { line: 0, column: 0 };

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { at: NOWHERE, value }
}

/// Builds a [`Source`].
#[derive(Clone, Debug)]
pub struct Builder {
    source: Source,
    steps: Vec<StepSource>,
}

impl Builder {
    /// Starts a definition of this name, version and input type (a full message name).
    #[must_use]
    pub fn new(name: &str, version: u32, input: &str) -> Self {
        let source = Source {
            at: NOWHERE,
            name: Slot::Given(spanned(name.to_owned())),
            version: Slot::Given(spanned(i128::from(version))),
            input: Slot::Given(spanned(input.to_owned())),
            business_id: None,
            deadline: Slot::Absent,
            retry: RetryPatch::default(),
            timeout: None,
            steps: Slot::Absent,
            on_compensated: None,
        };
        Self {
            source,
            steps: Vec::new(),
        }
    }

    /// Sets the string path into the input that is the business id.
    #[must_use]
    pub fn business_id(mut self, path: &str) -> Self {
        self.source.business_id = Some(spanned(path.to_owned()));
        self
    }

    /// Sets the deadline, in milliseconds.
    #[must_use]
    pub fn deadline_ms(mut self, ms: u64) -> Self {
        self.source.deadline = Slot::Given(spanned(Time::Ms(ms)));
        self
    }

    /// Sets the path into the input that holds the deadline, a `google.protobuf.Duration`.
    #[must_use]
    pub fn deadline_path(mut self, path: &str) -> Self {
        self.source.deadline = Slot::Given(spanned(Time::Path(path.to_owned())));
        self
    }

    /// Sets the retry settings of every call that has none of its own.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.source.retry = retry.0;
        self
    }

    /// Sets the bound of one attempt of every call that has none of its own, in milliseconds.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.source.timeout = Some(spanned(ms));
        self
    }

    /// Adds a step after those added before.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step.0);
        self
    }

    /// Adds tries after the steps added before: each a step whose compensation is its cancel, then the decision as the
    /// pivot, then the confirms.
    #[must_use]
    pub fn tcc(mut self, tries: impl IntoIterator<Item = Try>, decide: Option<Step>) -> Self {
        let tries = tries.into_iter().map(|tried| tried.0).collect();
        self.steps.extend(tcc::steps(tries, decide.map(|step| step.0)));
        self
    }

    /// Sets the call made after the last compensation.
    #[must_use]
    pub fn on_compensated(mut self, call: Call) -> Self {
        self.source.on_compensated = Some(call.behind("on_compensated."));
        self
    }

    /// Returns the finished definition, unchecked.
    #[must_use]
    pub fn build(mut self) -> Source {
        self.source.steps = Slot::Given(spanned(self.steps));
        self.source
    }
}

/// Builds one step.
#[derive(Clone, Debug)]
pub struct Step(StepSource);

impl Step {
    /// Starts a step that makes this call.
    #[must_use]
    pub fn new(name: &str, call: Call) -> Self {
        Self(StepSource {
            name: Slot::Given(spanned(name.to_owned())),
            ..StepSource::new(NOWHERE, call.0)
        })
    }

    /// Sets the call that undoes the step.
    #[must_use]
    pub fn compensate(mut self, call: Call) -> Self {
        self.0.compensate = Some(call.behind("compensate."));
        self
    }

    /// Says why the step needs no compensation.
    #[must_use]
    pub fn no_compensation(mut self, why: &str) -> Self {
        self.0.no_compensation = Some(spanned(why.to_owned()));
        self
    }

    /// Makes the step the pivot: its success commits the saga.
    #[must_use]
    pub fn pivot(mut self) -> Self {
        self.0.pivot = Some(spanned(true));
        self
    }

    /// Makes the step retriable: it is repeated until it succeeds.
    #[must_use]
    pub fn retriable(mut self) -> Self {
        self.0.retriable = Some(spanned(true));
        self
    }

    /// Bounds the wait for a person, in milliseconds.
    #[must_use]
    pub fn expires_ms(mut self, ms: u64) -> Self {
        self.0.expires = Some(spanned(Time::Ms(ms)));
        self
    }

    /// Bounds the wait for a person by a `google.protobuf.Duration` found at this path.
    #[must_use]
    pub fn expires_path(mut self, path: &str) -> Self {
        self.0.expires = Some(spanned(Time::Path(path.to_owned())));
        self
    }

    /// Names the steps that must have succeeded before this one starts.
    #[must_use]
    pub fn after<'a>(mut self, steps: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.after = Some(names(steps));
        self
    }

    /// Sets the path to a bool; the step is left out when it is false.
    #[must_use]
    pub fn when(mut self, condition: Expr) -> Self {
        self.0.when = Some(condition);
        self
    }

    /// Sets the call that finds out what became of the action; it has the action's reply type and changes nothing.
    #[must_use]
    pub fn probe(mut self, call: Call) -> Self {
        self.0.probe = Some(call.behind("probe."));
        self
    }
}

fn names<'a>(steps: impl IntoIterator<Item = &'a str>) -> Spanned<Vec<Spanned<String>>> {
    spanned(steps.into_iter().map(|name| spanned(name.to_owned())).collect())
}

impl Expr {
    fn at_nowhere(node: ExprNode) -> Self {
        Self { at: NOWHERE, node }
    }

    /// Reads a field, for example `input.task_id` or `steps.PAY.receipt`.
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self::at_nowhere(ExprNode::Path {
            text: path.to_owned(),
            allow_default: false,
        })
    }

    /// Reads a field that may be absent; the target then keeps its default.
    #[must_use]
    pub fn path_or_default(path: &str) -> Self {
        Self::at_nowhere(ExprNode::Path {
            text: path.to_owned(),
            allow_default: true,
        })
    }

    /// A string, an enum value by name, or a Duration or Timestamp in its text form.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::at_nowhere(ExprNode::Literal(Literal::Text(text.to_owned())))
    }

    /// An integer.
    #[must_use]
    pub fn int(value: i128) -> Self {
        Self::at_nowhere(ExprNode::Literal(Literal::Int(value)))
    }

    /// A number with a fraction.
    #[must_use]
    pub fn float(value: f64) -> Self {
        Self::at_nowhere(ExprNode::Literal(Literal::Float(value)))
    }

    /// A truth value.
    #[must_use]
    pub fn boolean(value: bool) -> Self {
        Self::at_nowhere(ExprNode::Literal(Literal::Bool(value)))
    }

    /// A nested message by its fields, or a map by its entries.
    #[must_use]
    pub fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, Expr)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (spanned(name.to_owned()), value))
            .collect();
        Self::at_nowhere(ExprNode::Fields(fields))
    }

    /// The elements of a repeated field.
    #[must_use]
    pub fn list(elements: impl IntoIterator<Item = Expr>) -> Self {
        Self::at_nowhere(ExprNode::List(elements.into_iter().collect()))
    }
}
