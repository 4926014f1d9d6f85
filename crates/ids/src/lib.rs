//! Typed ids: UUIDs with a prefixed text form.
