//! What the double does besides answering: a list of rules, consumed as requests arrive.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error_status;

/// One rule of a programme. A request takes the first rule that matches it and has turns left.
///
/// As JSON: `{"prompt_contains": "poem", "times": 2, "delay_ms": 100, "do": {"status": {"code": 503}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The rule is for prompts that contain this text; empty matches all.
    #[serde(default)]
    pub prompt_contains: String,
    /// How many requests it is for; absent means all that come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Milliseconds to wait before the answer leaves.
    #[serde(default)]
    pub delay_ms: u64,
    /// What happens.
    #[serde(rename = "do", default)]
    pub behaviour: Behaviour,
}

/// What a rule makes of a request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Answers as usual. An effect.
    #[default]
    Answer,
    /// Answers as usual, with this output instead of the made-up one. An effect.
    Output(Value),
    /// Answers with an error status. No effect.
    Status {
        /// HTTP status, 400 to 599.
        code: u16,
        /// Sent as `Retry-After`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// Never answers. No effect.
    Hang,
    /// Answers 200 with a body that is not JSON, as a broken proxy does. No effect.
    Garbage,
    /// Breaks the connection in the middle of the answer. An effect: only its answer is lost.
    Cut,
}

impl Rule {
    /// Makes a rule for every prompt, for ever.
    #[must_use]
    pub const fn always(behaviour: Behaviour) -> Self {
        Self {
            prompt_contains: String::new(),
            times: None,
            delay_ms: 0,
            behaviour,
        }
    }

    /// Makes a rule for the next `times` requests.
    #[must_use]
    pub const fn times(times: u32, behaviour: Behaviour) -> Self {
        Self {
            prompt_contains: String::new(),
            times: Some(times),
            delay_ms: 0,
            behaviour,
        }
    }

    /// Limits the rule to prompts that contain `text`.
    #[must_use]
    pub fn prompt(mut self, text: impl Into<String>) -> Self {
        self.prompt_contains = text.into();
        self
    }

    /// Delays the answer.
    #[must_use]
    pub const fn delay_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }

    fn matches(&self, prompt: &str) -> bool {
        self.times != Some(0) && prompt.contains(&self.prompt_contains)
    }
}

/// Takes the rule for a prompt and uses up one of its turns.
pub(super) fn take(rules: &mut [Rule], prompt: &str) -> Rule {
    let Some(rule) = rules.iter_mut().find(|rule| rule.matches(prompt)) else {
        return Rule::always(Behaviour::Answer);
    };
    rule.times = rule.times.map(|left| left - 1);
    rule.clone()
}

/// Says what is wrong with a programme, if anything is, and in which rule; rules count from 0.
///
/// # Errors
/// The text.
pub fn check(rules: &[Rule]) -> Result<(), String> {
    rules
        .iter()
        .enumerate()
        .try_for_each(|(index, rule)| match rule.behaviour {
            Behaviour::Status { code, .. } => error_status(index, code),
            Behaviour::Answer
            | Behaviour::Output(_)
            | Behaviour::Hang
            | Behaviour::Garbage
            | Behaviour::Cut => Ok(()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Behaviour = Behaviour::Status {
        code: 503,
        retry_after: None,
    };

    #[test]
    fn a_rule_is_used_as_often_as_it_says() {
        let mut rules = vec![Rule::times(2, BROKEN)];
        let taken: Vec<Behaviour> = (0..3).map(|_| take(&mut rules, "x").behaviour).collect();
        assert_eq!(taken, [BROKEN, BROKEN, Behaviour::Answer]);
    }

    #[test]
    fn a_rule_for_another_prompt_is_left_alone() {
        let mut rules = vec![Rule::times(1, BROKEN).prompt("poem")];
        assert_eq!(take(&mut rules, "an essay").behaviour, Behaviour::Answer);
        assert_eq!(take(&mut rules, "a poem").behaviour, BROKEN);
    }

    #[test]
    fn a_programme_reads_as_documented() {
        let rule: Rule = serde_json::from_str(
            r#"{"prompt_contains": "poem", "times": 2, "delay_ms": 100, "do": {"status": {"code": 503}}}"#,
        )
        .unwrap();
        assert_eq!(rule, Rule::times(2, BROKEN).prompt("poem").delay_ms(100));
        let rule: Rule = serde_json::from_str(r#"{"do": "hang"}"#).unwrap();
        assert_eq!(rule, Rule::always(Behaviour::Hang));
    }

    #[test]
    fn a_success_cannot_be_programmed_as_an_error() {
        let rule = Rule::always(Behaviour::Status {
            code: 200,
            retry_after: None,
        });
        assert!(check(&[rule]).unwrap_err().contains("rule 0"));
    }
}
