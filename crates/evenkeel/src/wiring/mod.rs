//! Builds services: settings, databases, listeners, and what joins them. The only place that names a service crate.

pub(crate) mod accounts;
mod addresses;
pub(crate) mod admin;
pub(crate) mod database;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod identity;
mod name;
pub(crate) mod payers;
pub(crate) mod providers;
pub(crate) mod ready;
pub(crate) mod sealed_file;
pub(crate) mod sealing;
pub(crate) mod services;
pub(crate) mod settings;
