//! Path templates of `google/api/http.proto`.
//!
//! ```text
//! Template = "/" Segments [ ":" LITERAL ]
//! Segments = Segment { "/" Segment }
//! Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//! ```
//! `**` is the last segment. Variables do not nest. A literal is made of letters, digits and `-_.~`, so that it has one
//! spelling only.

use std::fmt;
use std::ops::Range;

/// Longest template, in bytes.
const MAX_BYTES: usize = 1024;

/// A parsed template: its segments one after the other, and which of them fill which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

/// What one segment of a path must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `*`: any one segment.
    One,
    /// `**`: all that remain, none included.
    Rest,
}

/// A field that is filled from the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Names from the request message down, as in the proto.
    pub(crate) field_path: Vec<String>,
    /// Segments it covers; a [`Segment::Rest`] among them covers the remaining ones.
    pub(crate) covers: Range<usize>,
    /// True if it may cover several segments, so that slashes are part of its value.
    pub(crate) several: bool,
}

/// Says what is wrong with a template, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct TemplateError {
    problem: &'static str,
    at: usize,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Anything outside of the grammar above, and templates above 1,024 bytes.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser {
            text,
            at: 0,
            template: Self {
                segments: Vec::new(),
                variables: Vec::new(),
                verb: None,
            },
        };
        if text.len() > MAX_BYTES {
            return Err(parser.error("the template is longer than 1,024 bytes"));
        }
        parser.template()?;
        Ok(parser.template)
    }
}

/// Writes the template in its shortest form.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        while at < self.segments.len() {
            f.write_str("/")?;
            match self.variables.iter().find(|variable| variable.covers.start == at) {
                Some(variable) => {
                    write!(f, "{{{}", variable.field_path.join("."))?;
                    let covered = &self.segments[variable.covers.clone()];
                    if covered != [Segment::One] {
                        f.write_str("=")?;
                        for (index, segment) in covered.iter().enumerate() {
                            write!(f, "{}{segment}", if index == 0 { "" } else { "/" })?;
                        }
                    }
                    f.write_str("}")?;
                    at = variable.covers.end;
                }
                None => {
                    write!(f, "{}", self.segments[at])?;
                    at += 1;
                }
            }
        }
        self.verb.as_ref().map_or(Ok(()), |verb| write!(f, ":{verb}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal(text) => text,
            Self::One => "*",
            Self::Rest => "**",
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    template: Template,
}

impl<'a> Parser<'a> {
    fn template(&mut self) -> Result<(), TemplateError> {
        self.expect("/", "a template begins with a slash")?;
        self.segments(true)?;
        if self.take(":") {
            self.template.verb = Some(self.literal("a verb is a literal")?.to_owned());
        }
        if self.at < self.text.len() {
            return Err(self.error("a slash, a verb or the end is expected"));
        }
        Ok(())
    }

    fn segments(&mut self, variables: bool) -> Result<(), TemplateError> {
        loop {
            if self.template.segments.last() == Some(&Segment::Rest) {
                return Err(self.error("nothing but a verb may follow `**`"));
            }
            if self.take("**") {
                self.template.segments.push(Segment::Rest);
            } else if self.take("*") {
                self.template.segments.push(Segment::One);
            } else if self.take("{") {
                if !variables {
                    return Err(self.error("variables do not nest"));
                }
                self.variable()?;
            } else {
                let literal = self.literal("a segment is expected")?;
                if matches!(literal, "." | "..") {
                    return Err(self.error("clients resolve `.` and `..` themselves"));
                }
                self.template.segments.push(Segment::Literal(literal.to_owned()));
            }
            if !self.take("/") {
                return Ok(());
            }
        }
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        let mut field_path = Vec::new();
        loop {
            field_path.push(self.identifier()?.to_owned());
            if !self.take(".") {
                break;
            }
        }
        if self
            .template
            .variables
            .iter()
            .any(|other| other.field_path == field_path)
        {
            return Err(self.error("the variable is there twice"));
        }
        let start = self.template.segments.len();
        if self.take("=") {
            self.segments(false)?;
        } else {
            self.template.segments.push(Segment::One);
        }
        self.expect("}", "a closing brace is expected")?;
        let covers = start..self.template.segments.len();
        let several = self.template.segments[covers.clone()] != [Segment::One];
        self.template.variables.push(Variable {
            field_path,
            covers,
            several,
        });
        Ok(())
    }

    fn literal(&mut self, problem: &'static str) -> Result<&'a str, TemplateError> {
        self.word(problem, |byte| {
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
        })
    }

    fn identifier(&mut self) -> Result<&'a str, TemplateError> {
        const PROBLEM: &str = "a field name is expected";
        let name = self.word(PROBLEM, |byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(self.error(PROBLEM));
        }
        Ok(name)
    }

    fn word(&mut self, problem: &'static str, allowed: fn(u8) -> bool) -> Result<&'a str, TemplateError> {
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(|byte| !allowed(byte)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error(problem));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str, problem: &'static str) -> Result<(), TemplateError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    fn error(&self, problem: &'static str) -> TemplateError {
        TemplateError { problem, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/api/v1/tasks")]
    #[case("/.well-known/jwks.json")]
    #[case("/api/v1/tasks/{task_id}/cancel")]
    #[case("/v1/{message.name=messages/*}")]
    #[case("/v1/{a=x/*/y/**}:verb")]
    #[case("/*/{b}/**")]
    fn the_grammar_is_read_and_written(#[case] text: &str) {
        assert_eq!(Template::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn a_variable_covers_its_segments() {
        let template = Template::parse("/v1/{a.b=x/*/**}:go").unwrap();
        assert_eq!(
            template.segments,
            [
                Segment::Literal("v1".into()),
                Segment::Literal("x".into()),
                Segment::One,
                Segment::Rest
            ]
        );
        let variable = &template.variables[0];
        assert_eq!((variable.covers.clone(), variable.several), (1..4, true));
        assert_eq!(variable.field_path, ["a", "b"]);
        assert_eq!(template.verb.as_deref(), Some("go"));
    }

    #[test]
    fn a_variable_of_one_star_is_short_for_itself() {
        assert_eq!(
            Template::parse("/{a=*}").unwrap(),
            Template::parse("/{a}").unwrap()
        );
    }

    #[rstest]
    #[case("", "slash")]
    #[case("v1", "slash")]
    #[case("/", "segment")]
    #[case("/a/", "segment")]
    #[case("/a//b", "segment")]
    #[case("/a/../b", "resolve")]
    #[case("/**/a", "follow")]
    #[case("/{a=**}/b", "follow")]
    #[case("/{a={b}}", "nest")]
    #[case("/{a", "closing")]
    #[case("/{a=}", "segment")]
    #[case("/{1a}", "field name")]
    #[case("/{a.}", "field name")]
    #[case("/{a}/{a}", "twice")]
    #[case("/{a}b", "expected")]
    #[case("/a:", "verb")]
    #[case("/a:b/c", "expected")]
    #[case("/a%20b", "expected")]
    #[case("/a b", "expected")]
    fn what_the_grammar_does_not_have_is_refused(#[case] text: &str, #[case] problem: &str) {
        let error = Template::parse(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }

    prop_compose! {
        fn some_segment()(kind in 0..5, word in "[a-z][a-z0-9_]{0,5}", inner in "([a-z]{1,3}|\\*)(/([a-z]{1,3}|\\*)){0,2}") -> String {
            match kind {
                0 => "*".to_owned(),
                1 => format!("{{{word}}}"),
                2 => format!("{{{word}.x={inner}}}"),
                _ => word,
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".*") {
            drop(Template::parse(&text));
        }

        #[test]
        fn nothing_panics_near_the_grammar(text in "/[a-z*{}=./:]*") {
            drop(Template::parse(&text));
        }

        #[test]
        fn what_is_written_reads_the_same(segments in prop::collection::vec(some_segment(), 1..6)) {
            if let Ok(template) = Template::parse(&format!("/{}", segments.join("/"))) {
                prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
            }
        }
    }
}
