//! Pure types and decisions.

mod account;
mod configuration;
mod keys;
mod page;
mod profile;
mod refresh_token;
mod session;

pub(crate) use account::{Account, Role, State};
pub(crate) use configuration::{Entry, Key, MAX_ENTRIES, Value};
pub(crate) use keys::{KeyState, Step, Stored, Times, plan};
pub(crate) use page::{Filter, Page, page_token};
pub(crate) use profile::{Gender, Profile, Reason};
pub(crate) use refresh_token::{MAC_BYTES, Presented, RefreshToken};
pub(crate) use session::{Device, EndReason, Method, Session, SessionId};
