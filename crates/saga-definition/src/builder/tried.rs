//! Tries.

use super::{Call, NOWHERE, names, spanned};
use crate::source::{Expr, Slot, Time};
use crate::tcc::TrySource;

/// Builds a try with its confirm and its cancel.
#[derive(Clone, Debug)]
pub struct Try(pub(super) TrySource);

impl Try {
    /// Starts a try; its name has at most 56 letters.
    #[must_use]
    pub fn new(name: &str, call: Call, confirm: Call, cancel: Call) -> Self {
        Self(TrySource {
            at: NOWHERE,
            name: Slot::Given(spanned(name.to_owned())),
            call: call.behind("try."),
            confirm: Some(confirm.behind("confirm.")),
            cancel: Some(cancel.behind("cancel.")),
            when: None,
            after: None,
            probe: None,
            expires: None,
        })
    }

    /// Names the tries that must have succeeded before this one starts; without it, the one before.
    #[must_use]
    pub fn after<'a>(mut self, tries: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.after = Some(names(tries));
        self
    }

    /// Sets the path to a bool; the try and its confirm are left out when it is false.
    #[must_use]
    pub fn when(mut self, condition: Expr) -> Self {
        self.0.when = Some(condition);
        self
    }

    /// Sets the call that finds out what became of the try.
    #[must_use]
    pub fn probe(mut self, call: Call) -> Self {
        self.0.probe = Some(call.behind("probe."));
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
}
