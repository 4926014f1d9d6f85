//! Path templates, as in google/api/http.proto: `/v1/{name=shelves/*}/books/{id}:read`.

use std::fmt;

/// Longest template and most segments; ours are far below.
const MAX_BYTES: usize = 1_000;
const MAX_SEGMENTS: usize = 32;

/// One place of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// This text.
    Literal(String),
    /// Any text without a slash: `*`.
    One,
    /// The rest, which may be empty: `**`. The last one only.
    Rest,
}

/// A field that takes a part of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Field path, `a.b` as `["a", "b"]`.
    pub(crate) field: Vec<String>,
    /// First segment that it takes, and the one after its last.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// A path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

/// A text is no template; says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) &'static str);

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > MAX_BYTES {
            return Err(Wrong("is too long"));
        }
        let path = text
            .strip_prefix('/')
            .ok_or(Wrong("does not begin with a slash"))?;
        // A colon inside braces is not allowed, so the verb begins after the last one.
        let (path, verb) = match path.rsplit_once(':') {
            Some((_, verb)) if !is_literal(verb) => return Err(Wrong("has a verb that is no word")),
            Some((path, verb)) => (path, Some(verb.to_owned())),
            None => (path, None),
        };
        let mut this = Self {
            segments: Vec::new(),
            variables: Vec::new(),
            verb,
        };
        for part in parts(path)? {
            this.push(part)?;
        }
        if this.segments.len() > MAX_SEGMENTS {
            return Err(Wrong("has too many segments"));
        }
        let last = this.segments.len() - 1;
        if this.segments[..last].contains(&Segment::Rest) {
            return Err(Wrong("has ** before its end"));
        }
        let mut fields: Vec<_> = this.variables.iter().map(|variable| &variable.field).collect();
        fields.sort();
        if fields.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Wrong("names a field twice"));
        }
        Ok(this)
    }

    fn push(&mut self, part: &str) -> Result<(), Wrong> {
        let Some(inner) = part.strip_prefix('{') else {
            self.segments.push(segment(part)?);
            return Ok(());
        };
        let inner = inner.strip_suffix('}').ok_or(Wrong("has an open brace"))?;
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let field: Vec<String> = field.split('.').map(str::to_owned).collect();
        if !field.iter().all(|name| is_name(name)) {
            return Err(Wrong("has a variable that is no field"));
        }
        let from = self.segments.len();
        for part in pattern.split('/') {
            self.segments.push(segment(part)?);
        }
        self.variables.push(Variable {
            field,
            from,
            to: self.segments.len(),
        });
        Ok(())
    }

    /// Compares a path with the template: `None`, or what each variable has taken, still encoded.
    pub(crate) fn matches<'p>(&self, path: &[&'p str], verb: Option<&str>) -> Option<Vec<Vec<&'p str>>> {
        if self.verb.as_deref() != verb {
            return None;
        }
        let open = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(open);
        if path.len() < fixed || (!open && path.len() > fixed) {
            return None;
        }
        let same = self
            .segments
            .iter()
            .zip(path)
            .all(|(segment, part)| match segment {
                Segment::Literal(text) => text == part,
                Segment::One => !part.is_empty(),
                Segment::Rest => true,
            });
        same.then(|| {
            self.variables
                .iter()
                .map(|variable| {
                    let to = if open && variable.to == self.segments.len() {
                        path.len()
                    } else {
                        variable.to
                    };
                    path[variable.from..to].to_vec()
                })
                .collect()
        })
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Splits at the slashes outside of braces.
fn parts(path: &str) -> Result<Vec<&str>, Wrong> {
    let mut parts = Vec::new();
    let (mut begin, mut inside) = (0, false);
    for (at, c) in path.char_indices() {
        match c {
            '{' if inside => return Err(Wrong("has a brace in braces")),
            '{' => inside = true,
            '}' if !inside => return Err(Wrong("has a closing brace alone")),
            '}' => inside = false,
            '/' if !inside => {
                parts.push(&path[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(Wrong("has an open brace"));
    }
    parts.push(&path[begin..]);
    Ok(parts)
}

fn segment(text: &str) -> Result<Segment, Wrong> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Rest),
        text if is_literal(text) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(Wrong("has a segment that is no word")),
    }
}

/// Unreserved characters of a path, as everybody writes them without encoding (RFC 3986, 2.3).
fn is_literal(text: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !text.is_empty() && text.bytes().all(unreserved)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken<'p>(template: &str, path: &'p str) -> Option<Vec<Vec<&'p str>>> {
        let path: Vec<&str> = path.split('/').collect();
        Template::parse(template).unwrap().matches(&path, None)
    }

    #[test]
    fn variables_take_their_segments() {
        assert_eq!(
            taken("/v1/tasks/{task_id}", "v1/tasks/t1"),
            Some(vec![vec!["t1"]])
        );
        assert_eq!(taken("/v1/tasks/{task_id}", "v1/tasks/"), None);
        assert_eq!(taken("/v1/tasks/{task_id}", "v1/tasks/t1/x"), None);
        assert_eq!(
            taken("/v1/{name=shelves/*}/books/{book.id}", "v1/shelves/a/books/b"),
            Some(vec![vec!["shelves", "a"], vec!["b"]])
        );
        assert_eq!(
            taken("/v1/{file=files/**}", "v1/files/a/b"),
            Some(vec![vec!["files", "a", "b"]])
        );
        assert_eq!(
            taken("/v1/{file=files/**}", "v1/files"),
            Some(vec![vec!["files"]])
        );
    }

    #[test]
    fn a_verb_is_told_from_the_path() {
        let template = Template::parse("/v1/{name=shelves/*}:read").unwrap();
        assert_eq!(template.verb.as_deref(), Some("read"));
        assert!(template.matches(&["v1", "shelves", "a"], Some("read")).is_some());
        assert!(template.matches(&["v1", "shelves", "a"], None).is_none());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in [
            "",
            "v1",
            "/",
            "/a//b",
            "/{",
            "/{}",
            "/{a",
            "/a}",
            "/{a{b}}",
            "/{A}",
            "/{a=**}/b",
            "/**/b",
            "/{a}/{a}",
            "/a:",
            "/a b",
            "/{a.}",
            "/{a=}",
            "/a/",
            "/ä",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "/?[a-z{}=*/:._ä]{0,24}", path in "[a-z/]{0,20}") {
            if let Ok(template) = Template::parse(&text) {
                let path: Vec<&str> = path.split('/').collect();
                if let Some(taken) = template.matches(&path, None) {
                    prop_assert_eq!(taken.len(), template.variables.len());
                }
            }
        }
    }
}
