//! What is wrong with a request, in words for its sender.

use std::fmt;

use rpc::error::Reason;

/// A request that cannot become a message: nothing was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// `MALFORMED_BODY` for syntax, `PAYLOAD_TOO_LARGE` for a bound of this crate, `INVALID_ARGUMENT` for content.
    pub reason: Reason,
    /// What is wrong, a sentence in English without a full stop. At most about 300 characters of it are the sender's.
    pub message: String,
    /// Path of the field in JSON names, for example `inputData.images[2]`, if it is about a field.
    pub field: Option<String>,
    /// Where in the body it is, if it is about syntax.
    pub position: Option<Position>,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

impl BadRequest {
    pub(crate) fn content(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidArgument,
            message: message.into(),
            field: None,
            position: None,
        }
    }

    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::content(message)
        }
    }

    pub(crate) fn syntax(reason: Reason, message: impl Into<String>, position: Position) -> Self {
        Self {
            reason,
            message: message.into(),
            field: None,
            position: Some(position),
        }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)?;
        match self.position {
            Some(Position { line, column }) => write!(f, " at line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadRequest {}

/// Shows the sender's own text back: quoted, control characters escaped, at most 60 characters.
pub(crate) fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut cut: String = text.chars().take(MAX_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// The place below the request that is being read; a list on the stack, written out only in an error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// The request itself.
    Root,
    /// A field or key.
    Name(&'a At<'a>, &'a str),
    /// An element.
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    /// Makes the error that names this place.
    pub(crate) fn bad(&self, message: impl Into<String>) -> BadRequest {
        match self {
            At::Root => BadRequest::content(message),
            At::Name(..) | At::Index(..) => BadRequest::field(self.to_string(), message),
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Name(At::Root, name) => write!(f, "{}", Short(name)),
            At::Name(parent, name) => write!(f, "{parent}.{}", Short(name)),
            At::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A name that may be the sender's: control characters escaped, at most 60 characters.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(60).try_for_each(|c| {
            if c.is_control() {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_a_path() {
        let (task, images);
        task = At::Name(&At::Root, "inputData");
        images = At::Name(&task, "images");
        assert_eq!(At::Index(&images, 2).to_string(), "inputData.images[2]");
    }

    #[test]
    fn the_senders_text_is_cut_and_escaped() {
        assert_eq!(shown("a\n\"b"), r#""a\n\"b""#);
        assert!(shown(&"x".repeat(10_000)).chars().count() < 70);
        assert!(At::Name(&At::Root, &"x".repeat(10_000)).to_string().len() < 70);
    }
}
