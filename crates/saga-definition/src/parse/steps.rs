//! Steps and calls.

use super::expression::expression;
use super::{Keys, Reader};
use crate::source::{AwaitSource, CallSource, Expr, Slot, StepSource};
use crate::yaml::{Node, NodeValue, Spanned, shorten};

/// What stands at every call, whatever else its mapping holds.
pub(super) const CALL_KEYS: &[&str] = &[
    "call",
    "publish",
    "message",
    "await",
    "with",
    "retry",
    "timeout",
    "unsafe_ack",
];
const STEP_KEYS: &[&str] = &[
    "name",
    "when",
    "after",
    "probe",
    "expires",
    "compensate",
    "no_compensation",
    "pivot",
    "retriable",
];
const AWAIT_KEYS: &[&str] = &["reply", "message", "failed", "ask_again"];

impl Reader<'_> {
    pub(super) fn steps(&mut self, node: Node) -> Slot<Vec<StepSource>> {
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
        let mut keys = self.mapping(node, field, &[STEP_KEYS, CALL_KEYS].concat())?;
        let name = self.required_text(keys.take("name"), "name");
        let compensate = keys.take("compensate");
        let no_compensation = keys.take("no_compensation");
        let undo_given = compensate.is_some() || no_compensation.is_some();
        let compensate = compensate.and_then(|node| self.nested_call(node, "compensate", "compensate."));
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
            when: keys.take("when").map(expression),
            probe: keys
                .take("probe")
                .and_then(|node| self.nested_call(node, "probe", "probe.")),
            call: self.call(keys, ""),
        })
    }

    pub(super) fn after(&mut self, node: Node) -> Option<Spanned<Vec<Spanned<String>>>> {
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

    /// Reads the mapping under `field`; the problems of its keys name them behind `prefix`.
    pub(super) fn nested_call(
        &mut self,
        node: Node,
        field: &str,
        prefix: &'static str,
    ) -> Option<CallSource> {
        let keys = self.mapping(node, field, CALL_KEYS)?;
        Some(self.call(keys, prefix))
    }

    pub(super) fn call(&mut self, mut keys: Keys, prefix: &'static str) -> CallSource {
        let of = |key: &str| format!("{prefix}{key}");
        CallSource {
            at: keys.at,
            prefix,
            method: self.required_text(keys.take("call"), &of("call")),
            publish: self.required_text(keys.take("publish"), &of("publish")),
            message: self.required_text(keys.take("message"), &of("message")),
            awaits: match keys.take("await") {
                None => Slot::Absent,
                Some(node) => self.awaits(node, &of("await")).map_or(Slot::Invalid, Slot::Given),
            },
            with: keys
                .take("with")
                .map_or_else(Vec::new, |node| self.with(node, &of("with"))),
            retry: self.retry(keys.take("retry"), &of("retry")),
            timeout: self.optional_duration(keys.take("timeout"), &of("timeout")),
            unsafe_ack: self.optional_text(keys.take("unsafe_ack"), &of("unsafe_ack")),
        }
    }

    fn awaits(&mut self, node: Node, field: &str) -> Option<Spanned<AwaitSource>> {
        let at = node.at;
        let value = match &node.value {
            NodeValue::Scalar { text, .. } if text == "token" => AwaitSource::Token,
            NodeValue::Scalar { .. } | NodeValue::Sequence(_) => {
                self.wrong_shape(&node, field, "`token`, or a mapping with `reply` and `message`");
                return None;
            }
            NodeValue::Mapping(_) => {
                let mut keys = self.mapping(node, field, AWAIT_KEYS)?;
                let of = |key: &str| format!("{field}.{key}");
                AwaitSource::Reply {
                    reply: self.required_text(keys.take("reply"), &of("reply")),
                    message: self.required_text(keys.take("message"), &of("message")),
                    failed: self.optional_text(keys.take("failed"), &of("failed")),
                    ask_again: self.optional_duration(keys.take("ask_again"), &of("ask_again")),
                }
            }
        };
        Some(Spanned { at, value })
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
pub(super) fn name_of(node: &Node) -> Option<String> {
    let NodeValue::Mapping(entries) = &node.value else {
        return None;
    };
    let (_, value) = entries.iter().find(|(key, _)| key.value == "name")?;
    match &value.value {
        NodeValue::Scalar { text, .. } => Some(shorten(text)),
        NodeValue::Sequence(_) | NodeValue::Mapping(_) => None,
    }
}
