//! JSON templates: values filled in by path, and nothing more.
//!
//! A string that is exactly `{{path}}` becomes the value at that path, of whatever type. Inside a longer string
//! `{{path}}` becomes text: a string as it is, anything else as JSON. Paths are `input.a.b`, `task.id` and
//! `steps.NAME.output.a.0`; a number picks an element of a list. There are no expressions, no defaults, no loops, and
//! no way to write a literal `{{`. Keys of objects are taken as they stand.

use std::fmt;

use serde_json::{Map, Value};

/// Largest rendered value, in bytes of JSON.
pub const MAX_RENDERED_BYTES: usize = 64 * 1024;
/// Deepest nesting of a template, an input, or a value that is kept. Protobuf readers stop at 100 messages, and one
/// level of a `google.protobuf.Struct` takes three.
pub const MAX_DEPTH: usize = 24;
/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 256;

/// What paths are looked up in.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    root: Value,
}

impl Context {
    /// Starts a context from a task's id and input.
    #[must_use]
    pub fn new(task_id: &str, input: Value) -> Self {
        let mut task = Map::new();
        task.insert("id".to_owned(), Value::String(task_id.to_owned()));
        let mut root = Map::new();
        root.insert("task".to_owned(), Value::Object(task));
        root.insert("input".to_owned(), input);
        root.insert("steps".to_owned(), Value::Object(Map::new()));
        Self {
            root: Value::Object(root),
        }
    }

    /// Adds the output of a finished step.
    pub fn add_output(&mut self, step: &str, output: Value) {
        if let Some(steps) = self.root.get_mut("steps").and_then(Value::as_object_mut) {
            let mut entry = Map::new();
            entry.insert("output".to_owned(), output);
            steps.insert(step.to_owned(), Value::Object(entry));
        }
    }

    fn get(&self, path: &Path) -> Option<&Value> {
        path.segments.iter().try_fold(&self.root, |at, segment| match at {
            Value::Object(fields) => fields.get(segment),
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// Where a value is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    segments: Vec<String>,
}

impl Path {
    /// Reads a path such as `steps.ASK.output.text`.
    ///
    /// # Errors
    /// If it is empty, too long, has an empty segment or a character other than letters, digits, `_` and `-`, or does
    /// not start at `input`, `task.id` or `steps.NAME.output`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = |what: &'static str| TemplateError::BadPath {
            path: cut(text),
            what,
        };
        if text.len() > MAX_PATH_BYTES {
            return Err(wrong("is longer than 256 bytes"));
        }
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        let plain =
            |s: &String| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if !segments.iter().all(plain) {
            return Err(wrong("must be names joined by dots"));
        }
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["input", ..] | ["task", "id"] | ["steps", _, "output", ..] => Ok(Self { segments }),
            _ => Err(wrong("must start with input, steps.NAME.output, or be task.id")),
        }
    }

    /// Returns the step whose output the path reads, if it reads one.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        match self.segments.first().map(String::as_str) {
            Some("steps") => self.segments.get(1).map(String::as_str),
            Some(_) | None => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// A template cannot be read or filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("{text:?} has {{{{ without }}}}")]
    Unclosed {
        /// The string, cut to 64 characters.
        text: String,
    },
    /// Something between `{{` and `}}` is not a path.
    #[error("path {path:?} {what}")]
    BadPath {
        /// What was found, cut to 64 characters.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nothing is at the path.
    #[error("nothing at {path}")]
    Missing {
        /// The path.
        path: String,
    },
    /// The rendered value would be larger than [`MAX_RENDERED_BYTES`].
    #[error("the rendered value is larger than {MAX_RENDERED_BYTES} bytes")]
    TooLarge,
    /// The template or the rendered value is nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Collects the paths that a template reads.
///
/// # Errors
/// If the template is malformed or too deep.
pub fn paths(template: &Value) -> Result<Vec<Path>, TemplateError> {
    let mut found = Vec::new();
    collect(template, MAX_DEPTH, &mut found)?;
    Ok(found)
}

fn collect(template: &Value, depth: usize, found: &mut Vec<Path>) -> Result<(), TemplateError> {
    match template {
        Value::String(text) => {
            for part in parts(text)? {
                if let Part::Path(path) = part {
                    found.push(path);
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let depth = depth.checked_sub(1).ok_or(TemplateError::TooDeep)?;
            items.iter().try_for_each(|item| collect(item, depth, found))
        }
        Value::Object(fields) => {
            let depth = depth.checked_sub(1).ok_or(TemplateError::TooDeep)?;
            fields.values().try_for_each(|item| collect(item, depth, found))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Fills a template in.
///
/// # Errors
/// [`TemplateError::Missing`] naming the first path that leads nowhere; or the template is malformed, or the outcome
/// is above a bound.
pub fn render(template: &Value, context: &Context) -> Result<Value, TemplateError> {
    let mut budget = MAX_RENDERED_BYTES;
    let rendered = fill(template, context, &mut budget)?;
    if exceeds_depth(&rendered, MAX_DEPTH) {
        return Err(TemplateError::TooDeep);
    }
    Ok(rendered)
}

/// Tells whether a value has more levels of lists and objects than `levels`.
#[must_use]
pub fn exceeds_depth(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|v| exceeds_depth(v, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|v| exceeds_depth(v, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Takes `bytes` from what may still be rendered. Called before a value is copied, so that a short template that
/// repeats a large value cannot fill the memory.
fn spend(budget: &mut usize, bytes: usize) -> Result<(), TemplateError> {
    *budget = budget.checked_sub(bytes).ok_or(TemplateError::TooLarge)?;
    Ok(())
}

fn fill(template: &Value, context: &Context, budget: &mut usize) -> Result<Value, TemplateError> {
    match template {
        Value::String(text) => fill_text(text, context, budget),
        Value::Array(items) => {
            spend(budget, 2 + items.len())?;
            let filled: Result<_, _> = items.iter().map(|item| fill(item, context, budget)).collect();
            Ok(Value::Array(filled?))
        }
        Value::Object(fields) => {
            spend(budget, 2)?;
            let mut filled = Map::new();
            for (key, item) in fields {
                spend(budget, key.len() + 4)?;
                filled.insert(key.clone(), fill(item, context, budget)?);
            }
            Ok(Value::Object(filled))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            spend(budget, size(template))?;
            Ok(template.clone())
        }
    }
}

fn fill_text(text: &str, context: &Context, budget: &mut usize) -> Result<Value, TemplateError> {
    let parts = parts(text)?;
    let look_up = |path: &Path| {
        context.get(path).ok_or_else(|| TemplateError::Missing {
            path: path.to_string(),
        })
    };
    if let [Part::Path(path)] = parts.as_slice() {
        let value = look_up(path)?;
        spend(budget, size(value))?;
        return Ok(value.clone());
    }
    let mut filled = String::new();
    for part in &parts {
        let piece = match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Path(path) => match look_up(path)? {
                Value::String(text) => text.clone(),
                other @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_)) => other.to_string(),
            },
        };
        spend(budget, piece.len())?;
        filled.push_str(&piece);
    }
    // Quotes and escapes of the whole; escapes can make a text up to six times as long.
    let filled = Value::String(filled);
    if size(&filled) > MAX_RENDERED_BYTES {
        return Err(TemplateError::TooLarge);
    }
    Ok(filled)
}

/// Returns the size of a value in bytes of compact JSON.
#[must_use]
pub fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Path(Path),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("{{") {
        let (path, after) = tail
            .split_once("}}")
            .ok_or_else(|| TemplateError::Unclosed { text: cut(text) })?;
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Path(Path::parse(path.trim())?));
        rest = after;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn context() -> Context {
        let mut context = Context::new(
            "task_1",
            json!({ "text": "hello", "n": 3, "list": ["a", { "b": true }] }),
        );
        context.add_output("ASK", json!({ "output": "hi" }));
        context
    }

    #[test]
    fn a_lone_path_keeps_its_type() {
        let template = json!({ "n": "{{input.n}}", "all": "{{ input.list }}", "b": "{{input.list.1.b}}" });
        let rendered = render(&template, &context()).unwrap();
        assert_eq!(
            rendered,
            json!({ "n": 3, "all": ["a", { "b": true }], "b": true })
        );
    }

    #[test]
    fn a_path_in_a_text_becomes_text() {
        let template =
            json!("{{task.id}}: {{input.text}} x{{input.n}} {{input.list}}/{{steps.ASK.output.output}}");
        let rendered = render(&template, &context()).unwrap();
        assert_eq!(rendered, json!(r#"task_1: hello x3 ["a",{"b":true}]/hi"#));
    }

    #[test]
    fn what_is_not_a_template_stays_as_it_is() {
        let plain = json!([null, true, 1.5, "", "} }", "{ {", { "{{key}}": "x" }]);
        assert_eq!(render(&plain, &context()).unwrap(), plain);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        for path in [
            "input.nope",
            "input.text.deeper",
            "input.list.7",
            "input.list.x",
            "steps.LATER.output",
        ] {
            let error = render(&json!(format!("see {{{{{path}}}}}")), &context()).unwrap_err();
            assert_eq!(error.to_string(), format!("nothing at {path}"));
        }
    }

    #[test]
    fn malformed_templates_say_what_is_wrong() {
        let message = |template: &str| paths(&json!({ "a": [template] })).unwrap_err().to_string();
        assert_eq!(message("see {{input.x"), r#""see {{input.x" has {{ without }}"#);
        assert_eq!(message("{{}}"), r#"path "" must be names joined by dots"#);
        assert_eq!(
            message("{{input..x}}"),
            r#"path "input..x" must be names joined by dots"#
        );
        assert!(message("{{secrets.key}}").contains("must start with input"));
        assert!(message("{{steps.ASK}}").contains("must start with input"));
        assert!(message(&format!("{{{{input.{}}}}}", "x".repeat(300))).contains("256 bytes"));
    }

    #[test]
    fn a_template_tells_which_steps_it_reads() {
        let found = paths(&json!(["{{steps.ASK.output.a}}", "{{input.b}}"])).unwrap();
        let steps: Vec<Option<&str>> = found.iter().map(Path::step).collect();
        assert_eq!(steps, [Some("ASK"), None]);
    }

    #[test]
    fn a_short_template_cannot_make_a_huge_value() {
        let context = Context::new(
            "t",
            json!({ "big": "x".repeat(40_000), "tricky": "\u{1}".repeat(12_000) }),
        );
        for template in [
            json!(["{{input.big}}", "{{input.big}}"]),
            json!("{{input.big}}{{input.big}}"),
            json!("{{input.tricky}}"),
            json!("a {{input.tricky}}"),
        ] {
            assert_eq!(render(&template, &context), Err(TemplateError::TooLarge));
        }
        assert!(render(&json!("{{input.big}}"), &context).is_ok());
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn depth_is_bounded() {
        assert!(render(&nested(MAX_DEPTH), &context()).is_ok());
        assert_eq!(paths(&nested(MAX_DEPTH + 1)), Err(TemplateError::TooDeep));
        assert_eq!(
            render(&nested(MAX_DEPTH + 1), &context()),
            Err(TemplateError::TooDeep)
        );
        let deep = Context::new("t", nested(MAX_DEPTH));
        assert_eq!(render(&json!(["{{input}}"]), &deep), Err(TemplateError::TooDeep));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "(\\{\\{(input|steps|task)?[.a-z0]{0,8}\\}{0,2}| ){0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,3}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_template_makes_the_renderer_panic(template in any_json(), input in any_json()) {
            let context = Context::new("task_1", input);
            let _ = paths(&template);
            if let Ok(rendered) = render(&template, &context) {
                prop_assert!(!exceeds_depth(&rendered, MAX_DEPTH));
            }
        }

        #[test]
        fn no_path_makes_the_parser_panic(text in ".{0,300}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
