//! Settings of the service.

use serde::Deserialize;

/// Settings of the quota service. There are none yet; an unknown one is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}
