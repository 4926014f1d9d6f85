//! Strict JSON (RFC 8259) as it stands in the text.
//!
//! Not serde_json, because a number must stay as written (9007199254740993 and 1e400 are decided by the field they are
//! for), and because a key that is there twice must be an error with its place.

use std::borrow::Cow;
use std::collections::HashSet;

use rpc::error::Reason;

use crate::bad_request::{BadRequest, Position, shown};

/// Deepest nesting of arrays and objects that is read.
pub const MAX_JSON_DEPTH: usize = 64;
/// Most values, keys aside, that are read from one body. A value takes some 100 bytes of memory, whatever its text takes.
pub const MAX_JSON_VALUES: usize = 100_000;

/// A JSON value. Numbers are kept as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Keys are distinct.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one value and nothing behind it.
    ///
    /// # Errors
    /// `MALFORMED_BODY` for bytes that are not UTF-8, a byte order mark, bad syntax, nesting above [`MAX_JSON_DEPTH`], a
    /// key that is twice in its object; `PAYLOAD_TOO_LARGE` above [`MAX_JSON_VALUES`].
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BadRequest> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let at = position(bytes, error.valid_up_to());
            BadRequest::syntax(Reason::MalformedBody, "the body is not UTF-8", at)
        })?;
        let mut reader = Reader {
            text,
            at: 0,
            values: 0,
        };
        reader.space();
        let value = reader.value(0)?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.malformed("there is something behind the value"));
        }
        Ok(value)
    }

    /// Says what it is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// True if `text` is a number as JSON writes them.
pub(crate) fn is_number(text: &str) -> bool {
    let mut reader = Reader {
        text,
        at: 0,
        values: 0,
    };
    reader.number().is_ok() && reader.at == text.len()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Json<'a>, BadRequest> {
        self.values += 1;
        if self.values > MAX_JSON_VALUES {
            let message = format!("the body has more than {MAX_JSON_VALUES} values");
            return Err(BadRequest::syntax(
                Reason::PayloadTooLarge,
                message,
                self.position(),
            ));
        }
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_JSON_DEPTH => Err(self.malformed(&format!(
                "arrays and objects are nested deeper than {MAX_JSON_DEPTH}"
            ))),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.malformed("a value is expected")),
            None => Err(self.malformed("the body ends where a value is expected")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, BadRequest> {
        self.at += 1;
        let mut entries = Vec::new();
        let mut keys = HashSet::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(entries));
        }
        loop {
            self.space();
            let before = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.malformed("a key in quotes is expected"));
            }
            let key = self.string()?;
            if !keys.insert(key.clone()) {
                self.at = before;
                return Err(self.malformed(&format!("the key {} is there twice", shown(&key))));
            }
            self.space();
            if !self.take(b':') {
                return Err(self.malformed("a colon is expected"));
            }
            self.space();
            entries.push((key, self.value(depth)?));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(entries));
            }
            if !self.take(b',') {
                return Err(self.malformed("a comma or a closing brace is expected"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, BadRequest> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            self.space();
            elements.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::Array(elements));
            }
            if !self.take(b',') {
                return Err(self.malformed("a comma or a closing bracket is expected"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, BadRequest> {
        self.at += 1;
        let mut unescaped = String::new();
        let mut plain = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let tail = &self.text[plain..self.at];
                    self.at += 1;
                    return Ok(if unescaped.is_empty() {
                        Cow::Borrowed(tail)
                    } else {
                        Cow::Owned(unescaped + tail)
                    });
                }
                Some(b'\\') => {
                    unescaped.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    unescaped.push(self.escape()?);
                    plain = self.at;
                }
                Some(0..=0x1f) => {
                    return Err(self.malformed("a control character in a string must be escaped"));
                }
                Some(_) => self.at += 1,
                None => return Err(self.malformed("the body ends inside a string")),
            }
        }
    }

    /// Reads what stands behind a backslash.
    fn escape(&mut self) -> Result<char, BadRequest> {
        let escape = self.peek();
        if escape == Some(b'u') {
            self.at += 1;
            return self.unicode_escape();
        }
        let unescaped = match escape {
            Some(literal @ (b'"' | b'\\' | b'/')) => char::from(literal),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.malformed("there is no such escape")),
        };
        self.at += 1;
        Ok(unescaped)
    }

    fn unicode_escape(&mut self) -> Result<char, BadRequest> {
        let first = self.four_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.malformed("half of a surrogate pair stands alone"));
                }
                let second = self.four_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.malformed("half of a surrogate pair stands alone"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.malformed("half of a surrogate pair stands alone"))
    }

    fn four_digits(&mut self) -> Result<u32, BadRequest> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, digit| {
                Some(code << 4 | char::from(*digit).to_digit(16)?)
            })
        });
        let Some(code) = code else {
            return Err(self.malformed("four hexadecimal digits are expected"));
        };
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<&'a str, BadRequest> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.malformed("a number does not begin with zeros"));
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), BadRequest> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err(self.malformed("a digit is expected"))
        } else {
            Ok(())
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, BadRequest> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn position(&self) -> Position {
        position(self.text.as_bytes(), self.at)
    }

    fn malformed(&self, message: &str) -> BadRequest {
        BadRequest::syntax(Reason::MalformedBody, message, self.position())
    }
}

fn position(bytes: &[u8], at: usize) -> Position {
    let before = &bytes[..at];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    Position {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + at - line_start,
    }
}

#[cfg(test)]
mod tests;
