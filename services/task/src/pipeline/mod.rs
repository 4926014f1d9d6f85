//! Pipelines: what a feature does, as data, carried out step by step and durably.
//!
//! * [`spec`]: a pipeline as configured, and the check at start.
//! * [`template`]: values filled into a step by path.
//! * [`kinds`]: what steps can do; a new kind is one file there, and one variant of [`kinds::Kind`].
//! * [`attempts`]: what comes next in a run, and what becomes of an attempt; pure.
//! * [`worker`]: the background job that claims runs and carries them out.
//!
//! Invariants:
//! * An attempt is recorded before its call goes out, and its outcome before the next step begins. A worker that dies
//!   between the two leaves an open attempt; the next worker makes the same call again, with the same request id.
//! * A run has one worker at a time: each claim makes a new lease token, and every record of a worker names it. A
//!   worker that lost its lease, or whose run was stopped, records nothing more.
//! * A run keeps the pipeline it began with; a change of the configuration is for later runs.

pub mod attempts;
pub mod kinds;
pub mod spec;
pub mod template;
pub mod worker;
