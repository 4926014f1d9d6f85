//! One module a command, named like the command.

pub(crate) mod billing;
pub(crate) mod completions;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod doubles;
pub(crate) mod events;
pub(crate) mod input;
pub(crate) mod keys;
pub(crate) mod kms;
pub(crate) mod migrate;
pub(crate) mod participant;
pub(crate) mod proto;
pub(crate) mod quota;
pub(crate) mod saga;
pub(crate) mod serve;
pub(crate) mod task;
pub(crate) mod user;
