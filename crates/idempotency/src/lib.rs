//! Requests that are repeated under one key have one effect and one answer.
