//! Time as a parameter.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time that requests are signed with. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Makes the clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Utc::now)
    }

    /// Makes a clock that asks `now`.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
