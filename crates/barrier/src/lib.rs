//! What makes a step safe to call twice, late, or never.
