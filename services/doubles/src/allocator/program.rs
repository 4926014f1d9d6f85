//! What the allocator does besides answering: a list of rules, consumed as events come.

use serde::{Deserialize, Serialize};

/// Longest delay of an answer: 7 days in milliseconds.
const MAX_DELAY_MS: u32 = 7 * 24 * 60 * 60 * 1000;
/// Most answers to one request.
const MAX_ANSWERS: u32 = 100;
/// Longest reason and message of a refusal, in bytes.
const MAX_TEXT_BYTES: usize = 1_000;

/// What a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `device.allocate.requested`.
    Allocate,
    /// `device.release`.
    Release,
}

/// One rule of a programme. An event takes the first rule that is for it and has turns left.
///
/// As JSON: `{"on": "allocate", "order": "order_1", "times": 2, "delay_ms": 5000, "do": {"duplicate": 2}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is for.
    pub on: Operation,
    /// The order it is for; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// How often; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Milliseconds before the answer leaves, up to 7 days; it outlives a restart. The effect comes first.
    #[serde(default)]
    pub delay_ms: u32,
    /// What happens.
    #[serde(rename = "do", default)]
    pub behaviour: Behaviour,
}

/// What a rule makes of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// As usual.
    #[default]
    Answer,
    /// As if the event had never come: no effect, no answer.
    Ignore,
    /// The request has its effect, and its answer is lost.
    Lose,
    /// Answers with `device.allocate.failed`. What has its answer already is answered the same again.
    Refuse {
        /// A reason: upper-case letters, digits and underscores.
        reason: String,
        /// What people read.
        #[serde(default)]
        message: String,
    },
    /// Answers so often, 2 to 100 times, each time with an event of its own.
    Duplicate(u32),
}

impl Rule {
    /// Makes a rule for the next `times` of an operation.
    #[must_use]
    pub const fn times(times: u32, on: Operation, behaviour: Behaviour) -> Self {
        Self {
            on,
            order: None,
            times: Some(times),
            delay_ms: 0,
            behaviour,
        }
    }

    /// Makes a rule for one event.
    #[must_use]
    pub const fn once(on: Operation, behaviour: Behaviour) -> Self {
        Self::times(1, on, behaviour)
    }

    /// Limits the rule to one order.
    #[must_use]
    pub fn order(mut self, order: impl Into<String>) -> Self {
        self.order = Some(order.into());
        self
    }

    /// Delays the answer.
    #[must_use]
    pub const fn delay_ms(mut self, delay_ms: u32) -> Self {
        self.delay_ms = delay_ms;
        self
    }

    fn is_for(&self, on: Operation, order: &str) -> bool {
        self.on == on && self.times != Some(0) && self.order.as_deref().is_none_or(|wanted| wanted == order)
    }

    /// How many answers leave.
    pub(super) fn answers(&self) -> u32 {
        match self.behaviour {
            Behaviour::Answer | Behaviour::Refuse { .. } => 1,
            Behaviour::Duplicate(times) => times,
            Behaviour::Ignore | Behaviour::Lose => 0,
        }
    }
}

/// Takes the rule for an event and uses up one of its turns.
pub(super) fn take(rules: &mut [Rule], on: Operation, order: &str) -> Rule {
    let Some(rule) = rules.iter_mut().find(|rule| rule.is_for(on, order)) else {
        return Rule::once(on, Behaviour::Answer);
    };
    rule.times = rule.times.map(|left| left - 1);
    rule.clone()
}

/// Says what is wrong with a programme, if anything is, and in which rule; rules count from 0.
///
/// # Errors
/// The text.
pub fn check(rules: &[Rule]) -> Result<(), String> {
    rules.iter().enumerate().try_for_each(|(index, rule)| {
        let problem = problem(rule);
        problem.map_or(Ok(()), |text| Err(format!("rule {index}: {text}")))
    })
}

fn problem(rule: &Rule) -> Option<&'static str> {
    if rule.delay_ms > MAX_DELAY_MS {
        return Some("delay_ms is at most 604800000, which is 7 days");
    }
    if rule.on == Operation::Release {
        let fits = matches!(rule.behaviour, Behaviour::Answer | Behaviour::Ignore) && rule.delay_ms == 0;
        return (!fits).then_some("a release has no answer: it can only be ignored");
    }
    match &rule.behaviour {
        Behaviour::Duplicate(times) if !(2..=MAX_ANSWERS).contains(times) => Some("duplicate is 2 to 100"),
        Behaviour::Refuse { reason, message } => {
            let good = reason.starts_with(|first: char| first.is_ascii_uppercase())
                && reason
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
                && reason.len() <= MAX_TEXT_BYTES
                && message.len() <= MAX_TEXT_BYTES
                && !message.contains('\0');
            (!good).then_some("a reason is A-Z followed by A-Z, 0-9 or _, a message at most 1000 bytes")
        }
        Behaviour::Duplicate(_) | Behaviour::Answer | Behaviour::Ignore | Behaviour::Lose => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(reason: &str) -> Behaviour {
        Behaviour::Refuse {
            reason: reason.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn a_rule_is_for_its_operation_its_order_and_its_turns() {
        let mut rules = vec![Rule::once(Operation::Allocate, Behaviour::Lose).order("a")];
        let usual = Behaviour::Answer;
        assert_eq!(take(&mut rules, Operation::Release, "a").behaviour, usual);
        assert_eq!(take(&mut rules, Operation::Allocate, "b").behaviour, usual);
        assert_eq!(
            take(&mut rules, Operation::Allocate, "a").behaviour,
            Behaviour::Lose
        );
        assert_eq!(take(&mut rules, Operation::Allocate, "a").behaviour, usual);
    }

    #[test]
    fn a_programme_reads_as_documented() {
        let text =
            r#"{"on": "allocate", "order": "order_1", "times": 2, "delay_ms": 5000, "do": {"duplicate": 2}}"#;
        let expected = Rule::times(2, Operation::Allocate, Behaviour::Duplicate(2))
            .order("order_1")
            .delay_ms(5_000);
        assert_eq!(serde_json::from_str::<Rule>(text).unwrap(), expected);
        let text = r#"{"on": "allocate", "do": {"refuse": {"reason": "NO_DEVICE_FREE"}}}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!((rule.behaviour, rule.times), (refuse("NO_DEVICE_FREE"), None));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_place() {
        let good = Rule::once(Operation::Allocate, refuse("NO_DEVICE_FREE"));
        assert_eq!(check(std::slice::from_ref(&good)), Ok(()));
        for wrong in [
            Rule::once(Operation::Release, Behaviour::Lose),
            Rule::once(Operation::Release, Behaviour::Answer).delay_ms(1),
            Rule::once(Operation::Allocate, Behaviour::Duplicate(1)),
            Rule::once(Operation::Allocate, refuse("no device")),
            Rule::once(Operation::Allocate, Behaviour::Answer).delay_ms(u32::MAX),
        ] {
            let problem = check(&[good.clone(), wrong]).unwrap_err();
            assert!(problem.starts_with("rule 1: "), "{problem}");
        }
    }
}
