//! What a saga consists of: steps, or tries with a decision.

use super::expression::expression;
use super::steps::{CALL_KEYS, name_of};
use super::{Keys, Reader};
use crate::problem::{Position, Problem, ProblemKind};
use crate::source::{CallSource, Slot, StepSource};
use crate::tcc::{self, TrySource};
use crate::yaml::{Node, NodeValue, Spanned, shorten};

const TRY_KEYS: &[&str] = &[
    "name", "when", "after", "probe", "expires", "try", "confirm", "cancel",
];
const DECIDE_KEYS: &[&str] = &["name", "when", "probe"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Saga,
    Tcc,
}

impl Reader<'_> {
    /// Reads the steps, whichever way they are written.
    pub(super) fn body(&mut self, keys: &mut Keys) -> Slot<Vec<StepSource>> {
        let at = keys.at;
        let kind = keys.take("kind").map(|node| self.kind(node));
        let (steps, tries, decide) = (keys.take("steps"), keys.take("tries"), keys.take("decide"));
        match kind.unwrap_or(Some(Kind::Saga)) {
            // Which keys belong here is not known.
            None => Slot::Invalid,
            Some(Kind::Saga) => {
                let foreign = [(&tries, "tries"), (&decide, "decide")];
                let message = |key: &str| format!("`{key}` belongs to `kind: tcc`");
                if self.foreign(&foreign, message) {
                    return Slot::Invalid;
                }
                steps.map_or(Slot::Absent, |node| self.steps(node))
            }
            Some(Kind::Tcc) => {
                let message = |_: &str| "`kind: tcc` has `tries` instead of `steps`".to_owned();
                let foreign = self.foreign(&[(&steps, "steps")], message);
                let Some(tries) = tries else {
                    if !foreign {
                        self.missing(at, "tries", "`tries` is missing");
                    }
                    return Slot::Invalid;
                };
                self.tcc(tries, decide)
            }
        }
    }

    fn kind(&mut self, node: Node) -> Option<Kind> {
        let text = self.text(node, "kind")?;
        match text.value.as_str() {
            "saga" => Some(Kind::Saga),
            "tcc" => Some(Kind::Tcc),
            _ => {
                let problem = Problem::new(ProblemKind::BadKind, text.at, "there is no such kind of saga")
                    .on_field("kind")
                    .expected("saga or tcc")
                    .found(format!("`{}`", shorten(&text.value)));
                self.report(problem);
                None
            }
        }
    }

    fn foreign(&mut self, keys: &[(&Option<Node>, &str)], message: impl Fn(&str) -> String) -> bool {
        let mut found = false;
        for (node, key) in keys {
            if let Some(node) = node {
                let problem = Problem::new(ProblemKind::ConflictingKeys, node.at, message(key));
                self.report(problem.on_field(*key));
                found = true;
            }
        }
        found
    }

    fn missing(&mut self, at: Position, field: &str, message: &str) {
        self.report(Problem::new(ProblemKind::MissingKey, at, message).on_field(field));
    }

    fn tcc(&mut self, tries: Node, decide: Option<Node>) -> Slot<Vec<StepSource>> {
        let NodeValue::Sequence(items) = tries.value else {
            self.wrong_shape(&tries, "tries", "a sequence");
            return Slot::Invalid;
        };
        if items.is_empty() {
            let problem = Problem::new(ProblemKind::NoSteps, tries.at, "there is nothing to try");
            self.report(problem.on_field("tries"));
            return Slot::Invalid;
        }
        let mut read = Vec::with_capacity(items.len().min(crate::MAX_STEPS + 1));
        let mut complete = true;
        for item in items {
            if self.problems.full() {
                break;
            }
            self.step = name_of(&item);
            match self.try_keys(item) {
                Some(tried) => read.push(tried),
                None => complete = false,
            }
            self.step = None;
        }
        let decide = decide.map(|node| {
            self.step = name_of(&node);
            let decide = self.decide(node);
            self.step = None;
            decide
        });
        // Without one of them the order of the others is not what was meant.
        if !complete || matches!(decide, Some(None)) {
            return Slot::Invalid;
        }
        Slot::Given(Spanned {
            at: tries.at,
            value: tcc::steps(read, decide.flatten()),
        })
    }

    fn try_keys(&mut self, node: Node) -> Option<TrySource> {
        let field = if self.step.is_some() { "" } else { "tries" };
        let mut keys = self.mapping(node, field, TRY_KEYS)?;
        let name = self.required_text(keys.take("name"), "name");
        let call = self.part(&mut keys, "try", "try.");
        let confirm = self.part(&mut keys, "confirm", "confirm.");
        let cancel = self.part(&mut keys, "cancel", "cancel.");
        Some(TrySource {
            at: keys.at,
            name,
            confirm,
            cancel,
            when: keys.take("when").map(expression),
            after: keys.take("after").and_then(|node| self.after(node)),
            probe: keys
                .take("probe")
                .and_then(|node| self.nested_call(node, "probe", "probe.")),
            expires: keys.take("expires").and_then(|node| self.time(node, "expires")),
            call: call?,
        })
    }

    fn part(&mut self, keys: &mut Keys, key: &str, prefix: &'static str) -> Option<CallSource> {
        match keys.take(key) {
            Some(node) => self.nested_call(node, key, prefix),
            None => {
                self.missing(keys.at, key, &format!("`{key}` is missing"));
                None
            }
        }
    }

    fn decide(&mut self, node: Node) -> Option<StepSource> {
        let mut keys = self.mapping(node, "decide", &[DECIDE_KEYS, CALL_KEYS].concat())?;
        let name = self.required_text(keys.take("name"), "name");
        let when = keys.take("when").map(expression);
        let probe = keys
            .take("probe")
            .and_then(|node| self.nested_call(node, "probe", "probe."));
        let at = keys.at;
        let call = self.call(keys, "");
        Some(StepSource {
            name,
            when,
            probe,
            ..StepSource::new(at, call)
        })
    }
}
