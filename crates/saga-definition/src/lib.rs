//! Saga definitions: YAML, type check against protobuf descriptors, field mapping.
//!
//! A definition says which gRPC methods a saga calls in which order, how each is undone, and how each request is
//! filled from the saga's input and from earlier replies. [`parse`] reads the text, [`check`] compares every name and
//! type with the descriptors, and the [`Definition`] that comes out builds requests ([`Mapping::build`]) without any
//! further lookup by name. [`compile`] does both steps and reports the mistakes of both.
//!
//! What it is not: it does no I/O, keeps no clock and knows nothing of running sagas.
//!
//! # The language
//! ```yaml
//! saga: TASK_RUN                 # ^[A-Z][A-Z0-9_]{0,63}$
//! version: 1                     # 1 to 1,000,000
//! input: evenkeel.task.v1.TaskRunInput
//! business_id: input.task_id     # optional: a string in the input
//! deadline: input.deadline       # 1s to 30d, or a path to a google.protobuf.Duration in the input
//! retry: { retries: 3, initial: 200ms, factor: 2, max: 10s }   # these are the defaults
//! timeout: 10s                   # of one attempt; 1ms to 10m; this is the default
//! steps:                         # 1 to 100
//!   - name: RESERVE_QUOTA
//!     call: evenkeel.quota.v1.QuotaSteps/Reserve
//!     with: { user_id: input.user_id, amount: 5 }
//!     compensate: { call: evenkeel.quota.v1.QuotaSteps/Cancel, with: { task_id: input.task_id } }
//! ```
//! A step has `compensate`, or `no_compensation: "<why>"`, or `pivot: true`, or `retriable: true` (implied behind the
//! pivot). Compensatable steps come first, then at most one pivot, then retriable steps. A compensatable step may have
//! `expires`, the bound of its wait for a person. `retry` and `timeout` may stand at every call; `retries` only on
//! compensatable actions, since everything else is repeated for ever. `on_compensated` is a call made after the last
//! compensation. `unsafe_ack: "<why>"` allows a method without the option `(evenkeel.saga.v1.step)`.
//!
//! ## Try, confirm, cancel
//! ```yaml
//! kind: tcc                      # the default is `saga`
//! tries:                         # instead of `steps`
//!   - name: FREEZE               # at most 56 letters
//!     try: { call: acme.wallet.v1.WalletSteps/Freeze, with: { id: input.id } }
//!     confirm: { call: acme.wallet.v1.WalletSteps/Deduct, with: { id: input.id } }
//!     cancel: { call: acme.wallet.v1.WalletSteps/Unfreeze, with: { id: input.id } }
//! decide: { name: TRANSFER, call: acme.bank.v1.BankSteps/Transfer, with: { id: input.id } }   # optional
//! ```
//! This is a way of writing steps, and the canonical text has these: a try is compensatable, its cancel is the
//! compensation; the decision is the pivot behind all tries; a confirm is a retriable step `<TRY>_CONFIRM` behind the
//! decision, or behind all tries where there is none. Confirms run beside each other and, as cancels, are repeated until
//! they succeed. A try may have `when` (which then holds for its confirm too), `after`, `probe` and `expires`, the
//! decision `when` and `probe`. A confirm may read its try's reply; a cancel only with `allow_default`.
//!
//! ## Publishing
//! Instead of `call`, anything but a probe may say `publish: <routing key>` and `message: <type>`: an event whose data is
//! that message, filled by `with`. It needs no participant, only its type among the descriptors. Without `await` it is
//! done once it is stored durably for publication, and has no reply that could be read.
//!
//! ```yaml
//! publish: device.allocate.requested   # lower-case words and dots; `saga.` is the orchestrator's own
//! message: acme.device.v1.AllocateRequested
//! with: { order_id: input.order_id }
//! await:
//!   reply: device.allocated            # routing key of the answer
//!   message: acme.device.v1.Allocated  # type of its data: the step's reply
//!   failed: device.allocate.failed     # optional: routing key of "no"
//!   ask_again: 30s                     # 1s to 1h; the request is published again until it is answered
//! ```
//! `await: token` at a `call` gives it a completion token, with which its answer may come before it is asked for again.
//!
//! ## Order
//! A step starts when the one before it in the text has succeeded; `after: [A, B]` names others instead, `after: []`
//! none. The order must have no cycle and the zones hold along every way through it: each step comes before the pivot
//! or after it, and a retriable step comes after everything that may be refused or undone. A step reads the replies only
//! of steps it comes after. Steps are numbered in the order in which they can run, otherwise as written.
//!
//! `when: PATH` names a bool, in the input or in an earlier reply; false leaves the step out. A step that was left out
//! counts as done for those after it, has no reply and is not undone. Reading its reply therefore needs
//! `allow_default`, except in a step with the same `when`.
//!
//! `probe` is a call that finds out what became of an action whose outcome is unknown, instead of calling the action
//! again. It has the action's reply type and answers as the action would; it only looks (`BARRIER_NATURAL`, or
//! `unsafe_ack`). It takes the place of an attempt, with the action's retries and timeout.
//!
//! ## Values
//! - An unquoted scalar that is `input` or begins with `input.`, `steps.` or `saga.` is a path. `saga` has `id`,
//!   `business_id` and, while the saga unwinds, `reason`, `failed_step` and `error`, all strings.
//! - Every other scalar is a literal of the target's type; quoted scalars are text, or enum values by name. Durations
//!   and timestamps are text (`30s`, `"2026-01-01T00:00:00Z"`). Bytes have no literal.
//! - A mapping is a nested message or a map, a sequence a repeated field. Elements may be literals or paths.
//! - `{ from: PATH, allow_default: true }` is a path whose absence is accepted: the target field then stays unset, and
//!   a list element or map entry takes its type's default. A mapping is read so if `from` is a scalar and there is no
//!   other key but `allow_default`; a message whose only given field is called `from` is written
//!   `{ from: { from: PATH } }`.
//!
//! ## When `allow_default` is required
//! The rule behind it: an absent source must not silently become a default. A source counts as possibly absent when
//! its path goes through, or ends at, a field with presence (a message field, an `optional` field, a member of a
//! oneof), or when it reads a reply that may not exist (a compensation reading its own step, `on_compensated` reading
//! any, anything reading a step that may be left out). The input itself and the replies of steps that must have succeeded are always there, and a proto3 field
//! without presence always has a value.
//!
//! The paths of `deadline`, `business_id` and `expires` need no such word: their absence is a [`MapError`] when they are
//! read, never a default.
//!
//! ## Types
//! Whole messages are copied when their types are equal, repeated fields and maps when their element types are equal.
//! Widening happens where it loses nothing: int32 to int64, uint32 to int64 or uint64, float to double.
//!
//! # Invariants
//! - Nothing here panics on any text, definition or message; sizes, depth and counts are bounded by the constants
//!   below, and no recursion goes deeper than they say.
//! - A [`Definition`] exists only if no problem was found, so whoever holds one need not look again.
//! - [`Definition::canonical`], [`Definition::closure`] and [`Definition::hash`] depend on nothing but the definition
//!   and its types: not on comments, layout, order of keys, or what else the descriptor pool holds.
//! - A stored definition is its source, its closure and its [`Definition::participants`]; it checks again with these
//!   whatever has become of the configuration.

pub mod builder;
mod call;
mod canonical;
mod check;
mod closure;
mod compat;
mod condition;
mod definition;
mod json;
mod mapping;
mod parse;
mod problem;
mod scalar;
mod source;
mod suggest;
mod tcc;
mod yaml;

use prost_reflect::DescriptorPool;

pub use crate::call::{Await, Barrier, Call, Retry, Target};
pub use crate::check::declared_barrier;
pub use crate::compat::wire_compatible;
pub use crate::condition::Condition;
pub use crate::definition::{
    Deadline, Definition, MAX_DEADLINE_MS, MIN_DEADLINE_MS, Participants, Step, Zone,
};
pub use crate::json::{JsonError, decode_json, digest, encode_json};
pub use crate::mapping::{Context, MapError, Mapping, Path, SagaContext};
pub use crate::problem::{MAX_PROBLEMS, Position, Problem, ProblemKind};
pub use crate::source::{Expr, Source};

use crate::problem::Problems;

/// Largest definition text, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;
/// Deepest nesting of values in a definition.
pub const MAX_DEPTH: usize = 32;
/// Most steps of one saga.
pub const MAX_STEPS: usize = 100;
/// Highest version of a definition.
pub const MAX_VERSION: u32 = 1_000_000;

/// Full name of the method option that says what makes a step method safe to repeat.
pub const STEP_OPTION_NAME: &str = "evenkeel.saga.v1.step";
/// Field number of that option in `google.protobuf.MethodOptions`.
pub const STEP_OPTION_NUMBER: u32 = 50_901;

/// Reads a definition from YAML: right keys, right shapes. Names and types are left to [`check`].
///
/// # Errors
/// Every problem of the text, in its order; a single one if it is not YAML.
pub fn parse(text: &str) -> Result<Source, Vec<Problem>> {
    let mut problems = Problems::default();
    let source = parse::read(text, &mut problems);
    match source {
        Some(source) if problems.is_empty() => Ok(source),
        Some(_) | None => Err(problems.into_sorted()),
    }
}

/// Checks a definition against the descriptors and the participants that may be called.
///
/// # Errors
/// Every problem found, in the order of the text.
pub fn check(
    source: &Source,
    pool: &DescriptorPool,
    participants: &Participants,
) -> Result<Definition, Vec<Problem>> {
    let mut problems = Problems::default();
    let definition = check::run(source, pool, participants, &mut problems);
    definition.ok_or_else(|| problems.into_sorted())
}

/// Reads and checks a definition. Unlike [`parse`] followed by [`check`] it reports the problems of both at once.
///
/// # Errors
/// Every problem found, in the order of the text.
pub fn compile(
    text: &str,
    pool: &DescriptorPool,
    participants: &Participants,
) -> Result<Definition, Vec<Problem>> {
    let mut problems = Problems::default();
    let definition = parse::read(text, &mut problems)
        .and_then(|source| check::run(&source, pool, participants, &mut problems));
    definition.ok_or_else(|| problems.into_sorted())
}
