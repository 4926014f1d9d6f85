//! What is wrong with a definition, and where.

use std::fmt;

/// Most problems reported for one definition; later ones are dropped.
pub const MAX_PROBLEMS: usize = 200;

/// A place in the source text. Lines and columns count from 1; `0:0` means "not from a text" (the builder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

macro_rules! problem_kinds {
    ($($(#[$doc:meta])* $variant:ident = $reason:literal,)+) => {
        /// Names one kind of mistake. The reason strings are stable: programs may compare them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ProblemKind { $($(#[$doc])* $variant,)+ }

        impl ProblemKind {
            /// Lists every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the stable machine-readable name, for example `UNKNOWN_METHOD`.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)+ }
            }
        }
    };
}

problem_kinds! {
    /// The text is larger than [`MAX_SOURCE_BYTES`](crate::MAX_SOURCE_BYTES).
    SourceTooLarge = "SOURCE_TOO_LARGE",
    /// The text is not YAML.
    BadYaml = "BAD_YAML",
    /// Values are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep = "TOO_DEEP",
    /// Anchors and aliases are not part of the language.
    AnchorNotAllowed = "ANCHOR_NOT_ALLOWED",
    /// Tags are not part of the language.
    TagNotAllowed = "TAG_NOT_ALLOWED",
    /// The text holds more than one document.
    MultipleDocuments = "MULTIPLE_DOCUMENTS",
    /// The text holds no document.
    EmptySource = "EMPTY_SOURCE",
    /// A key is given twice.
    DuplicateKey = "DUPLICATE_KEY",
    /// A key is empty, or not a word.
    BadKey = "BAD_KEY",
    /// A mapping, a sequence or a scalar stands where another of the three belongs.
    WrongShape = "WRONG_SHAPE",
    /// A key the language does not have.
    UnknownKey = "UNKNOWN_KEY",
    /// A number that cannot be read.
    BadNumber = "BAD_NUMBER",
    /// A switch that is neither `true` nor `false`.
    BadBoolean = "BAD_BOOLEAN",
    /// A duration that cannot be read.
    BadDuration = "BAD_DURATION",
    /// A required key is absent.
    MissingKey = "MISSING_KEY",
    /// Two keys contradict each other.
    ConflictingKeys = "CONFLICTING_KEYS",
    /// A kind of saga that does not exist.
    BadKind = "BAD_KIND",
    /// A saga or step name breaks the pattern.
    BadName = "BAD_NAME",
    /// A step name that the engine uses itself.
    ReservedName = "RESERVED_NAME",
    /// A version outside 1..=1,000,000.
    BadVersion = "BAD_VERSION",
    /// Retry settings outside their ranges.
    BadRetry = "BAD_RETRY",
    /// A duration outside its range.
    DurationOutOfRange = "DURATION_OUT_OF_RANGE",
    /// An explanation that says nothing.
    EmptyReason = "EMPTY_REASON",
    /// A saga without steps.
    NoSteps = "NO_STEPS",
    /// More steps than [`MAX_STEPS`](crate::MAX_STEPS).
    TooManySteps = "TOO_MANY_STEPS",
    /// Two steps of one name.
    DuplicateStep = "DUPLICATE_STEP",
    /// A message type is not among the descriptors.
    UnknownMessage = "UNKNOWN_MESSAGE",
    /// A call that is not of the form `package.Service/Method`.
    BadMethod = "BAD_METHOD",
    /// A routing key that breaks the pattern, or belongs to the orchestrator.
    BadRoutingKey = "BAD_ROUTING_KEY",
    /// An `await` that does not fit what is called.
    BadAwait = "BAD_AWAIT",
    /// The service is not among the descriptors.
    UnknownService = "UNKNOWN_SERVICE",
    /// The service has no such method.
    UnknownMethod = "UNKNOWN_METHOD",
    /// The method streams; a step must be unary.
    StreamingMethod = "STREAMING_METHOD",
    /// The method does not say what makes it safe to repeat.
    MissingStepOption = "MISSING_STEP_OPTION",
    /// No configured participant answers for the service.
    UnknownParticipant = "UNKNOWN_PARTICIPANT",
    /// A path that cannot be read, or stands where it has no meaning.
    BadPath = "BAD_PATH",
    /// A path or `after` names a step that does not exist.
    UnknownStep = "UNKNOWN_STEP",
    /// The request message has no such field.
    UnknownField = "UNKNOWN_FIELD",
    /// The message a path reads has no such field.
    UnknownSourceField = "UNKNOWN_SOURCE_FIELD",
    /// `saga` has no such value.
    UnknownSagaValue = "UNKNOWN_SAGA_VALUE",
    /// A value of unwinding is used where the saga goes forward.
    SagaValueNotAvailable = "SAGA_VALUE_NOT_AVAILABLE",
    /// The step read from cannot have run by then.
    ReplyNotAvailable = "REPLY_NOT_AVAILABLE",
    /// The step read from may not have answered, and nothing says what happens then.
    ReplyMayBeAbsent = "REPLY_MAY_BE_ABSENT",
    /// The field read may be absent, and nothing says what happens then.
    NeedsAllowDefault = "NEEDS_ALLOW_DEFAULT",
    /// Source and target have different types.
    TypeMismatch = "TYPE_MISMATCH",
    /// One of source and target is single, the other repeated or a map.
    CardinalityMismatch = "CARDINALITY_MISMATCH",
    /// The target cannot hold every value of the source.
    Narrowing = "NARROWING",
    /// A literal that the target cannot hold.
    LiteralOutOfRange = "LITERAL_OUT_OF_RANGE",
    /// A literal that cannot be read as the target's type.
    BadLiteral = "BAD_LITERAL",
    /// The enum has no such value.
    UnknownEnumValue = "UNKNOWN_ENUM_VALUE",
    /// Two members of one oneof are set.
    OneofConflict = "ONEOF_CONFLICT",
    /// A step says nothing about how it is undone.
    MissingNoCompensation = "MISSING_NO_COMPENSATION",
    /// A compensation where nothing is ever undone.
    CompensationNotAllowed = "COMPENSATION_NOT_ALLOWED",
    /// More than one pivot.
    SecondPivot = "SECOND_PIVOT",
    /// A step of an earlier zone comes after one of a later zone, or two zones run beside each other.
    ZoneOrder = "ZONE_ORDER",
    /// `expires` where nothing could be undone when it passes.
    ExpiresNotAllowed = "EXPIRES_NOT_ALLOWED",
    /// `retries` on an operation that is repeated for ever.
    RetriesNotAllowed = "RETRIES_NOT_ALLOWED",
    /// A probe that may change something.
    ProbeNotNatural = "PROBE_NOT_NATURAL",
    /// Steps that wait for each other.
    Cycle = "CYCLE",
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Describes one mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of mistake it is.
    pub kind: ProblemKind,
    /// Line, from 1; 0 if the definition was not a text.
    pub line: u32,
    /// Column in characters, from 1; 0 if the definition was not a text.
    pub column: u32,
    /// The step concerned, where there is one.
    pub step: Option<String>,
    /// The key or field concerned, as a dotted path inside the step or the saga.
    pub field: Option<String>,
    /// What should stand there.
    pub expected: Option<String>,
    /// What stands there.
    pub found: Option<String>,
    /// The mistake in words, without the place.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, at: Position, message: impl Into<String>) -> Self {
        Self {
            kind,
            line: at.line,
            column: at.column,
            step: None,
            field: None,
            expected: None,
            found: None,
            message: message.into(),
        }
    }

    pub(crate) fn in_step(mut self, step: Option<&str>) -> Self {
        self.step = step.map(str::to_owned);
        self
    }

    pub(crate) fn on_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// Returns the problem as one line that starts with `file`:
    /// `file:line:col: step STEP, field F: message (expected X, found Y)`.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        if self.line == 0 {
            format!("{file}: {self}")
        } else {
            format!("{file}:{self}")
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        match (&self.step, &self.field) {
            (Some(step), Some(field)) => write!(f, "step {step}, field {field}: ")?,
            (Some(step), None) => write!(f, "step {step}: ")?,
            (None, Some(field)) => write!(f, "field {field}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, " (expected {expected}, found {found})"),
            (Some(expected), None) => write!(f, " (expected {expected})"),
            (None, Some(found)) => write!(f, " (found {found})"),
            (None, None) => Ok(()),
        }
    }
}

/// Collects problems up to [`MAX_PROBLEMS`].
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(problem);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn full(&self) -> bool {
        self.0.len() >= MAX_PROBLEMS
    }

    /// Returns the problems in the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by_key(|p| (p.line, p.column));
        // One text may stand for two steps: the `when` of a try is that of its confirm, too.
        self.0.dedup_by(|next, one| {
            let place = |p: &Problem| (p.line, p.column, p.kind);
            next.line > 0
                && place(next) == place(one)
                && next.message == one.message
                && next.field == one.field
        });
        self.0
    }
}
