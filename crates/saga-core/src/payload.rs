//! Payloads: opaque to the state machine.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A request or reply, as the JSON text that the journal keeps.
///
/// A decoded form may ride along so that nobody parses the text again within one process; it is never compared,
/// never stored, and absent after a restart.
#[derive(Clone)]
pub struct Payload {
    json: Arc<str>,
    decoded: Option<Arc<dyn Any + Send + Sync>>,
}

impl Payload {
    /// Wraps JSON text.
    #[must_use]
    pub fn new(json: impl Into<Arc<str>>) -> Self {
        Self {
            json: json.into(),
            decoded: None,
        }
    }

    /// Wraps JSON text together with what it was made from.
    #[must_use]
    pub fn with_decoded(json: impl Into<Arc<str>>, decoded: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            json: json.into(),
            decoded: Some(decoded),
        }
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Lets the decoded form go; the text is what counts.
    pub fn forget_decoded(&mut self) {
        self.decoded = None;
    }

    /// Returns the decoded form, if it rides along and is a `T`.
    #[must_use]
    pub fn decoded<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.decoded.clone()?.downcast().ok()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}
impl Eq for Payload {}

impl Hash for Payload {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.json.hash(state);
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoded_form_rides_along_and_is_not_compared() {
        let bare = Payload::new("7");
        let decoded = Payload::with_decoded("7", Arc::new(7_u32));
        assert_eq!(bare, decoded);
        assert_eq!(decoded.decoded::<u32>().as_deref(), Some(&7));
        assert_eq!(decoded.decoded::<u64>(), None);
        assert_eq!(bare.decoded::<u32>(), None);
        assert_ne!(bare, Payload::new("8"));
        assert_eq!(format!("{bare:?}"), "7");
    }
}
