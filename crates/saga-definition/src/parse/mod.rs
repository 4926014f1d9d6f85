//! From YAML nodes to a [`Source`]: the right keys with values of the right shape.

mod expression;
mod steps;
mod tcc;

use crate::problem::{Position, Problem, ProblemKind, Problems};
use crate::scalar::{Literal, is_path, parse_duration};
use crate::source::{RetryPatch, Slot, Source, Time};
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
    "kind",
    "steps",
    "tries",
    "decide",
    "on_compensated",
];
const RETRY_KEYS: &[&str] = &["retries", "initial", "factor", "max"];

/// Reads what can be read. The problems are complete as far as shape goes; `None` if nothing could be read at all.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Source> {
    let root = yaml::load(text, problems)?;
    let mut reader = Reader { problems, step: None };
    let mut keys = reader.mapping(root, "", SAGA_KEYS)?;
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
        steps: reader.body(&mut keys),
        on_compensated: keys
            .take("on_compensated")
            .and_then(|node| reader.nested_call(node, "on_compensated", "on_compensated.")),
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

    fn mapping(&mut self, node: Node, field: &str, allowed: &[&str]) -> Option<Keys> {
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
            let hint = did_you_mean(&key.value, allowed.iter().copied());
            let message = format!("there is no key `{}` here{hint}", shorten(&key.value));
            self.report(Problem::new(ProblemKind::UnknownKey, key.at, message).on_field(place));
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
        let Some(mut keys) = node.and_then(|node| self.mapping(node, field, RETRY_KEYS)) else {
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
}
