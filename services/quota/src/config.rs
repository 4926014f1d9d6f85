//! Settings of the service.

use serde::Deserialize;

/// Settings of the quota service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A reserve that leaves less than this, where there was not less before, is told as `quota.low`; 0 or less tells
    /// nobody.
    pub low_below: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { low_below: 10 }
    }
}
