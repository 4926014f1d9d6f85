//! Finds the binding of a path: a tree of segments, in which a literal beats `*` and `*` beats `**`.

use std::collections::{BTreeMap, HashMap};

use http::Method;

use crate::template::{Segment, Template};

/// Tree of templates. Every node is looked at once at most for a path, so a lookup is bounded by the size of the tree.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    root: Node,
}

/// What ends at a place of the tree, by method.
pub(crate) type End = BTreeMap<&'static str, usize>;

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    /// Templates that end here, by verb.
    ends: HashMap<Option<String>, End>,
    /// Templates whose `**` stands here, by verb.
    rests: HashMap<Option<String>, End>,
}

impl Matcher {
    /// Adds a template.
    ///
    /// # Errors
    /// The binding that has this method and a template of the same shape.
    pub(crate) fn insert(
        &mut self,
        template: &Template,
        method: &Method,
        binding: usize,
    ) -> Result<(), usize> {
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::One => node = node.one.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        let ends = if rest { &mut node.rests } else { &mut node.ends };
        let end = ends.entry(template.verb.clone()).or_default();
        match end.get(name(method)) {
            Some(other) => Err(*other),
            None => {
                end.insert(name(method), binding);
                Ok(())
            }
        }
    }

    /// Finds the most specific templates for decoded segments. `verb` splits the last segment: its text before and
    /// after the last colon, if it has one; a template with this verb beats one that takes the colon as data.
    pub(crate) fn find(&self, segments: &[&str], verb: Option<(&str, &str)>) -> Option<&End> {
        if let (Some((before, verb)), Some((_, leading))) = (verb, segments.split_last())
            && !before.is_empty()
        {
            let mut split = leading.to_vec();
            split.push(before);
            let found = self.root.find(&split, &Some(verb.to_owned()));
            if found.is_some() {
                return found;
            }
        }
        self.root.find(segments, &None)
    }
}

impl Node {
    fn find(&self, segments: &[&str], verb: &Option<String>) -> Option<&End> {
        let Some((first, behind)) = segments.split_first() else {
            return self.ends.get(verb).or_else(|| self.rests.get(verb));
        };
        self.literals
            .get(*first)
            .and_then(|node| node.find(behind, verb))
            .or_else(|| self.one.as_ref().and_then(|node| node.find(behind, verb)))
            .or_else(|| self.rests.get(verb))
    }
}

/// Returns the name of one of the methods that `google.api.HttpRule` has; others cannot be bound.
pub(crate) fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TEMPLATES: [&str; 9] = [
        "/tasks",
        "/tasks/{id}",
        "/tasks/watch",
        "/tasks/{id}/cancel",
        "/tasks/{id}:cancel",
        "/files/{path=**}",
        "/files/{path=**}:sign",
        "/a/{x}/c",
        "/a/b/{y}",
    ];

    fn matcher() -> Matcher {
        let mut matcher = Matcher::default();
        for (index, template) in TEMPLATES.iter().enumerate() {
            matcher
                .insert(&Template::parse(template).unwrap(), &Method::GET, index)
                .unwrap();
        }
        matcher
    }

    fn find(path: &str) -> Option<&'static str> {
        let segments: Vec<_> = path[1..].split('/').collect();
        let verb = segments.last().and_then(|last| last.rsplit_once(':'));
        let matcher = matcher();
        matcher.find(&segments, verb).map(|end| TEMPLATES[end["GET"]])
    }

    #[rstest]
    #[case("/tasks", Some("/tasks"))]
    #[case("/tasks/7", Some("/tasks/{id}"))]
    #[case("/tasks/watch", Some("/tasks/watch"))]
    #[case("/tasks/watch/cancel", Some("/tasks/{id}/cancel"))]
    #[case("/tasks/7:cancel", Some("/tasks/{id}:cancel"))]
    #[case("/tasks/watch:cancel", Some("/tasks/{id}:cancel"))]
    #[case("/tasks/7:other", Some("/tasks/{id}"))]
    #[case("/files", Some("/files/{path=**}"))]
    #[case("/files/a/b/c", Some("/files/{path=**}"))]
    #[case("/files/a/b:sign", Some("/files/{path=**}:sign"))]
    #[case("/a/b/c", Some("/a/b/{y}"))]
    #[case("/a/z/c", Some("/a/{x}/c"))]
    #[case("/a/z/d", None)]
    #[case("/other", None)]
    #[case("/tasks/7/8", None)]
    fn the_most_specific_template_wins(#[case] path: &str, #[case] template: Option<&str>) {
        assert_eq!(find(path), template);
    }

    #[rstest]
    #[case("/tasks/{other}")]
    #[case("/tasks/*")]
    #[case("/files/**:sign")]
    #[case("/{x=a/b/*}")]
    fn the_same_shape_cannot_be_bound_twice(#[case] template: &str) {
        let template = Template::parse(template).unwrap();
        let mut matcher = matcher();
        assert!(matcher.insert(&template, &Method::GET, 99).is_err());
        assert_eq!(matcher.insert(&template, &Method::POST, 99), Ok(()));
    }

    proptest! {
        #[test]
        fn a_template_is_found_by_a_path_made_from_it(ids in prop::collection::vec("[a-z]{6,9}", 4)) {
            for (index, template) in TEMPLATES.iter().enumerate() {
                let template = Template::parse(template).unwrap();
                let mut words = ids.iter();
                let segments: Vec<&str> = template.segments.iter().map(|segment| match segment {
                    Segment::Literal(text) => text.as_str(),
                    Segment::One | Segment::Rest => words.next().unwrap(),
                }).collect();
                let last = segments.last().unwrap();
                let joined = template.verb.as_ref().map(|verb| format!("{last}:{verb}"));
                let whole: Vec<&str> = match &joined {
                    Some(joined) => [&segments[..segments.len() - 1], &[joined.as_str()]].concat(),
                    None => segments.clone(),
                };
                let matcher = matcher();
                let verb = whole.last().unwrap().rsplit_once(':');
                prop_assert_eq!(matcher.find(&whole, verb).unwrap()["GET"], index);
            }
        }
    }
}
