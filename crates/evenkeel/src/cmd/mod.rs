//! One module a command, named like the command.

pub(crate) mod input;
pub(crate) mod quota;
pub(crate) mod saga;
pub(crate) mod task;
