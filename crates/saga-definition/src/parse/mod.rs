//! From YAML nodes to a [`Source`]: the right keys with values of the right shape.

mod expression;

use self::expression::expression;
use crate::problem::{Position, Problem, ProblemKind, Problems};
use crate::scalar::{Literal, is_path, parse_duration};
use crate::source::{CallSource, Expr, RetryPatch, Slot, Source, StepSource, Time};
use crate::suggest::did_you_mean;
use crate::yaml::{self, Node, NodeValue, Spanned, shorten};

const SAGA_KEYS: &[&str] = &[
    "saga",
    "version",
    "input",
    "business_id",
    "deadline",
    "retry",
    "timeout",
    "steps",
    "on_compensated",
];
const CALL_KEYS: &[&str] = &["call", "with", "retry", "timeout", "unsafe_ack"];
const STEP_KEYS: &[&str] = &[
    "name",
    "compensate",
    "no_compensation",
    "pivot",
    "retriable",
    "expires",
    "after",
    "call",
    "with",
    "retry",
    "timeout",
    "unsafe_ack",
];
const RETRY_KEYS: &[&str] = &["retries", "initial", "factor", "max"];
/// Keys that a later version of the language gives a meaning.
const LATER_KEYS: &[&str] = &["when", "probe", "kind", "publish", "await"];

/// Reads what can be read. The problems are complete as far as shape goes; `None` if nothing could be read at all.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Source> {
    let root = yaml::load(text, problems)?;
    let mut reader = Reader { problems, step: None };
    let mut keys = reader.mapping(root, "", SAGA_KEYS, &[])?;
    let source = Source {
        at: keys.at,
        name: reader.required_text(keys.take("saga"), "saga"),
        version: reader.version(keys.take("version")),
        input: reader.required_text(keys.take("input"), "input"),
        business_id: reader.optional_text(keys.take("business_id"), "business_id"),
        deadline: match keys.take("deadline") {
            None => Slot::Absent,
            Some(node) => reader.time(node, "deadline").map_or(Slot::Invalid, Slot::Given),
        },
        retry: reader.retry(keys.take("retry"), "retry"),
        timeout: reader.optional_duration(keys.take("timeout"), "timeout"),
        steps: match keys.take("steps") {
            None => Slot::Absent,
            Some(node) => reader.steps(node),
        },
        on_compensated: keys
            .take("on_compensated")
            .and_then(|node| reader.nested_call(node, "on_compensated")),
    };
    Some(source)
}

/// The entries of one mapping whose keys are known to be allowed.
struct Keys {
    at: Position,
    entries: Vec<(Spanned<String>, Node)>,
}

impl Keys {
    fn take(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(name, _)| name.value == key)?;
        Some(self.entries.swap_remove(index).1)
    }
}

struct Reader<'a> {
    problems: &'a mut Problems,
    step: Option<String>,
}

impl Reader<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem.in_step(self.step.as_deref()));
    }

    fn wrong_shape(&mut self, node: &Node, field: &str, expected: &str) {
        let mut problem = Problem::new(ProblemKind::WrongShape, node.at, "this value has the wrong shape")
            .expected(expected)
            .found(node.value.shape());
        if !field.is_empty() {
            problem = problem.on_field(field);
        }
        self.report(problem);
    }

    fn mapping(&mut self, node: Node, field: &str, allowed: &[&str], later: &[&str]) -> Option<Keys> {
        let NodeValue::Mapping(entries) = node.value else {
            self.wrong_shape(&node, field, "a mapping");
            return None;
        };
        let mut known = Vec::with_capacity(entries.len().min(allowed.len()));
        for (key, value) in entries {
            if allowed.contains(&key.value.as_str()) {
                known.push((key, value));
                continue;
            }
            let place = if field.is_empty() {
                shorten(&key.value)
            } else {
                format!("{field}.{}", shorten(&key.value))
            };
            let problem = if later.contains(&key.value.as_str()) {
                let message = format!("`{}` is not supported by this version", key.value);
                Problem::new(ProblemKind::NotSupportedYet, key.at, message)
            } else {
                let hint = did_you_mean(&key.value, allowed.iter().copied());
                let message = format!("there is no key `{}` here{hint}", shorten(&key.value));
                Problem::new(ProblemKind::UnknownKey, key.at, message)
            };
            self.report(problem.on_field(place));
        }
        Some(Keys {
            at: node.at,
            entries: known,
        })
    }

    fn text(&mut self, node: Node, field: &str) -> Option<Spanned<String>> {
        match node.value {
            NodeValue::Scalar { text, .. } => Some(Spanned {
                at: node.at,
                value: text,
            }),
            NodeValue::Sequence(_) | NodeValue::Mapping(_) => {
                self.wrong_shape(&node, field, "a scalar");
                None
            }
        }
    }

    fn required_text(&mut self, node: Option<Node>, field: &str) -> Slot<String> {
        match node {
            None => Slot::Absent,
            Some(node) => self.text(node, field).map_or(Slot::Invalid, Slot::Given),
        }
    }

    fn optional_text(&mut self, node: Option<Node>, field: &str) -> Option<Spanned<String>> {
        node.and_then(|node| self.text(node, field))
    }

    fn number(&mut self, node: Node, field: &str) -> Option<Spanned<Literal>> {
        let text = self.text(node, field)?;
        match Literal::plain(&text.value) {
            value @ (Literal::Int(_) | Literal::Float(_)) => Some(Spanned { at: text.at, value }),
            Literal::Text(_) | Literal::Bool(_) | Literal::Null => {
                self.bad_number(&text, field, "a number");
                None
            }
        }
    }

    fn bad_number(&mut self, text: &Spanned<String>, field: &str, expected: &str) {
        self.report(
            Problem::new(
                ProblemKind::BadNumber,
                text.at,
                "this is not a number of the right form",
            )
            .on_field(field)
            .expected(expected)
            .found(format!("`{}`", shorten(&text.value))),
        );
    }

    fn integer(&mut self, node: Node, field: &str) -> Option<Spanned<i128>> {
        let number = self.number(node, field)?;
        if let Literal::Int(value) = number.value {
            return Some(Spanned { at: number.at, value });
        }
        let text = Spanned {
            at: number.at,
            value: number.value.describe(),
        };
        self.bad_number(&text, field, "an integer");
        None
    }

    fn version(&mut self, node: Option<Node>) -> Slot<i128> {
        match node {
            None => Slot::Absent,
            Some(node) => self.integer(node, "version").map_or(Slot::Invalid, Slot::Given),
        }
    }

    fn boolean(&mut self, node: Option<Node>, field: &str) -> Option<Spanned<bool>> {
        let text = self.text(node?, field)?;
        if let Literal::Bool(value) = Literal::plain(&text.value) {
            return Some(Spanned { at: text.at, value });
        }
        self.report(
            Problem::new(ProblemKind::BadBoolean, text.at, "this must be `true` or `false`")
                .on_field(field)
                .found(format!("`{}`", shorten(&text.value))),
        );
        None
    }

    fn duration(&mut self, text: &Spanned<String>, field: &str, or_path: &str) -> Option<u64> {
        let ms = parse_duration(&text.value);
        if ms.is_none() {
            self.report(
                Problem::new(ProblemKind::BadDuration, text.at, "this is not a duration")
                    .on_field(field)
                    .expected(format!("a duration such as 250ms, 10s, 5m, 2h, 1d{or_path}"))
                    .found(format!("`{}`", shorten(&text.value))),
            );
        }
        ms
    }

    fn optional_duration(&mut self, node: Option<Node>, field: &str) -> Option<Spanned<u64>> {
        let text = self.text(node?, field)?;
        let value = self.duration(&text, field, "")?;
        Some(Spanned { at: text.at, value })
    }

    fn time(&mut self, node: Node, field: &str) -> Option<Spanned<Time>> {
        let text = self.text(node, field)?;
        let value = if is_path(&text.value) {
            Time::Path(text.value)
        } else {
            Time::Ms(self.duration(&text, field, ", or a path")?)
        };
        Some(Spanned { at: text.at, value })
    }

    fn retry(&mut self, node: Option<Node>, field: &str) -> RetryPatch {
        let Some(mut keys) = node.and_then(|node| self.mapping(node, field, RETRY_KEYS, &[])) else {
            return RetryPatch::default();
        };
        let of = |key: &str| format!("{field}.{key}");
        RetryPatch {
            at: keys.at,
            retries: keys
                .take("retries")
                .and_then(|node| self.integer(node, &of("retries"))),
            initial: self.optional_duration(keys.take("initial"), &of("initial")),
            factor: keys
                .take("factor")
                .and_then(|node| self.factor(node, &of("factor"))),
            max: self.optional_duration(keys.take("max"), &of("max")),
        }
    }

    fn factor(&mut self, node: Node, field: &str) -> Option<Spanned<f64>> {
        let number = self.number(node, field)?;
        let value = match number.value {
            // Any integer that a double cannot hold is out of the factor's range anyway.
            Literal::Int(n) => i32::try_from(n).map_or(f64::INFINITY, f64::from),
            Literal::Float(x) => x,
            Literal::Text(_) | Literal::Bool(_) | Literal::Null => return None,
        };
        Some(Spanned { at: number.at, value })
    }

    fn steps(&mut self, node: Node) -> Slot<Vec<StepSource>> {
        let NodeValue::Sequence(items) = node.value else {
            self.wrong_shape(&node, "steps", "a sequence");
            return Slot::Invalid;
        };
        let mut steps = Vec::with_capacity(items.len().min(crate::MAX_STEPS + 1));
        let mut complete = true;
        for item in items {
            if self.problems.full() {
                break;
            }
            match self.step(item) {
                Some(step) => steps.push(step),
                None => complete = false,
            }
        }
        if steps.is_empty() && !complete {
            return Slot::Invalid;
        }
        Slot::Given(Spanned {
            at: node.at,
            value: steps,
        })
    }

    fn step(&mut self, node: Node) -> Option<StepSource> {
        self.step = name_of(&node);
        let step = self.step_keys(node);
        self.step = None;
        step
    }

    fn step_keys(&mut self, node: Node) -> Option<StepSource> {
        let field = if self.step.is_some() { "" } else { "steps" };
        let mut keys = self.mapping(node, field, STEP_KEYS, LATER_KEYS)?;
        let name = self.required_text(keys.take("name"), "name");
        let compensate = keys.take("compensate");
        let no_compensation = keys.take("no_compensation");
        let undo_given = compensate.is_some() || no_compensation.is_some();
        let compensate = compensate.and_then(|node| self.nested_call(node, "compensate"));
        let no_compensation = self.optional_text(no_compensation, "no_compensation");
        Some(StepSource {
            at: keys.at,
            name,
            undo_invalid: undo_given && compensate.is_none() && no_compensation.is_none(),
            compensate,
            no_compensation,
            pivot: self.boolean(keys.take("pivot"), "pivot"),
            retriable: self.boolean(keys.take("retriable"), "retriable"),
            expires: keys.take("expires").and_then(|node| self.time(node, "expires")),
            after: keys.take("after").and_then(|node| self.after(node)),
            call: self.call(keys, ""),
        })
    }

    fn after(&mut self, node: Node) -> Option<Spanned<Vec<Spanned<String>>>> {
        let NodeValue::Sequence(items) = node.value else {
            self.wrong_shape(&node, "after", "a sequence");
            return None;
        };
        let value = items
            .into_iter()
            .filter_map(|item| self.text(item, "after"))
            .collect();
        Some(Spanned { at: node.at, value })
    }

    fn nested_call(&mut self, node: Node, field: &str) -> Option<CallSource> {
        let keys = self.mapping(node, field, CALL_KEYS, LATER_KEYS)?;
        Some(self.call(keys, &format!("{field}.")))
    }

    fn call(&mut self, mut keys: Keys, prefix: &str) -> CallSource {
        let of = |key: &str| format!("{prefix}{key}");
        CallSource {
            at: keys.at,
            method: self.required_text(keys.take("call"), &of("call")),
            with: keys
                .take("with")
                .map_or_else(Vec::new, |node| self.with(node, &of("with"))),
            retry: self.retry(keys.take("retry"), &of("retry")),
            timeout: self.optional_duration(keys.take("timeout"), &of("timeout")),
            unsafe_ack: self.optional_text(keys.take("unsafe_ack"), &of("unsafe_ack")),
        }
    }

    fn with(&mut self, node: Node, field: &str) -> Vec<(Spanned<String>, Expr)> {
        match node.value {
            NodeValue::Mapping(entries) => entries
                .into_iter()
                .map(|(key, value)| (key, expression(value)))
                .collect(),
            NodeValue::Scalar { .. } | NodeValue::Sequence(_) => {
                self.wrong_shape(&node, field, "a mapping");
                Vec::new()
            }
        }
    }
}

/// Looks up the name before the step is read, so that its problems can say where they are.
fn name_of(node: &Node) -> Option<String> {
    let NodeValue::Mapping(entries) = &node.value else {
        return None;
    };
    let (_, value) = entries.iter().find(|(key, _)| key.value == "name")?;
    match &value.value {
        NodeValue::Scalar { text, .. } => Some(shorten(text)),
        NodeValue::Sequence(_) | NodeValue::Mapping(_) => None,
    }
}
