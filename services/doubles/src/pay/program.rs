//! What a payment provider does besides answering: a list of rules, consumed as calls and notifications come.

use serde::{Deserialize, Serialize};

use super::Lie;
use super::rows::{RefundState, TransferState};
use crate::error_status;

/// A call of the API, or a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// An order is created.
    Create,
    /// An order is asked about.
    Query,
    /// An order is closed.
    Close,
    /// A refund is asked for.
    Refund,
    /// A refund is asked about.
    QueryRefund,
    /// A transfer is made.
    Transfer,
    /// A transfer is asked about.
    QueryTransfer,
    /// A bill is asked for.
    Bill,
    /// The file of a bill is fetched.
    BillFile,
    /// WeChat's certificates are fetched.
    Certificates,
    /// The merchant is told that an order was paid.
    NotifyPayment,
    /// The merchant is told how a refund ended.
    NotifyRefund,
    /// The merchant is told how a transfer ended.
    NotifyTransfer,
}

impl Operation {
    const fn is_notification(self) -> bool {
        matches!(
            self,
            Self::NotifyPayment | Self::NotifyRefund | Self::NotifyTransfer
        )
    }
}

/// One rule of a programme. What comes takes the first rule for its operation that has turns left.
///
/// As JSON: `{"on": "refund", "times": 2, "delay_ms": 100, "do": {"status": 503}, "effect": true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is for.
    pub on: Operation,
    /// How often; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Milliseconds before the answer leaves, or before the notification does. The effect comes first.
    #[serde(default)]
    pub delay_ms: u64,
    /// Whether the call has its effect all the same; absent: see [`Behaviour`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<bool>,
    /// What happens.
    #[serde(rename = "do", default)]
    pub behaviour: Behaviour,
}

/// What a rule makes of a call, or of a notification. Where it says "no effect", `effect: true` in the rule gives one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// As usual.
    #[default]
    Answer,
    /// Answers with an HTTP status and nothing else. No effect.
    Status(u16),
    /// Answers with a signed refusal. No effect. Alipay's double ignores `status`.
    Code {
        /// The provider's code.
        code: String,
        /// HTTP status.
        status: u16,
    },
    /// Never answers. No effect.
    Hang,
    /// Breaks the connection in the middle of the answer.
    Cut,
    /// Answers with something that is not JSON, as a broken proxy does. No effect.
    Garbage,
    /// Answers with more than anybody reads. No effect.
    Huge,
    /// Answers with a redirect. No effect.
    Redirect(String),
    /// Answers without a signature.
    Unsigned,
    /// The answer, or the notification, is signed with a key that is not the provider's.
    WrongKey,
    /// The answer, or the notification, names an amount that is 1 larger than that in the books; signed as it should be.
    WrongAmount,
    /// A refund is taken, and ends so after so many milliseconds.
    RefundEnds {
        /// How.
        state: RefundState,
        /// When.
        after_ms: u64,
    },
    /// A transfer is taken, and ends so after so many milliseconds.
    TransferEnds {
        /// How.
        state: TransferState,
        /// When.
        after_ms: u64,
    },
    /// The notification is delivered so often, whatever the merchant answers.
    Duplicate(u32),
    /// The notification is never delivered.
    Lose,
    /// The notification waits until the next one was sent.
    Reorder,
    /// The notification is one of the probes with a wrong signature that WeChat sends; the right one follows as a retry.
    Probe,
}

impl Rule {
    /// Makes a rule for the next `times` of an operation.
    #[must_use]
    pub const fn times(times: u32, on: Operation, behaviour: Behaviour) -> Self {
        Self {
            on,
            times: Some(times),
            delay_ms: 0,
            effect: None,
            behaviour,
        }
    }

    /// Makes a rule for one call or notification.
    #[must_use]
    pub const fn once(on: Operation, behaviour: Behaviour) -> Self {
        Self::times(1, on, behaviour)
    }

    /// Delays the answer or the notification.
    #[must_use]
    pub const fn delay_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }

    /// Lets the call have its effect, whatever becomes of its answer.
    #[must_use]
    pub const fn with_effect(mut self) -> Self {
        self.effect = Some(true);
        self
    }

    /// How the answer or the notification deceives.
    pub(crate) fn lie(&self) -> Lie {
        if self.behaviour == Behaviour::WrongKey {
            Lie::WrongKey
        } else if self.behaviour == Behaviour::WrongAmount {
            Lie::WrongAmount
        } else if self.behaviour == Behaviour::Probe {
            Lie::Probe
        } else {
            Lie::None
        }
    }

    /// How and when a refund ends that is taken now.
    pub(crate) fn refund_end(&self, usual_ms: u64) -> (RefundState, u64) {
        if let Behaviour::RefundEnds { state, after_ms } = self.behaviour {
            (state, after_ms)
        } else {
            (RefundState::Succeeded, usual_ms)
        }
    }

    /// Says whether the call has its effect.
    pub(crate) fn has_effect(&self) -> bool {
        self.effect.unwrap_or(match self.behaviour {
            Behaviour::Answer
            | Behaviour::Cut
            | Behaviour::Unsigned
            | Behaviour::WrongKey
            | Behaviour::WrongAmount
            | Behaviour::RefundEnds { .. }
            | Behaviour::TransferEnds { .. }
            | Behaviour::Duplicate(_)
            | Behaviour::Lose
            | Behaviour::Reorder
            | Behaviour::Probe => true,
            Behaviour::Status(_)
            | Behaviour::Code { .. }
            | Behaviour::Hang
            | Behaviour::Garbage
            | Behaviour::Huge
            | Behaviour::Redirect(_) => false,
        })
    }
}

/// Says what is wrong with a programme, if anything is, and in which rule; rules count from 0.
///
/// # Errors
/// The text.
pub fn check(rules: &[Rule]) -> Result<(), String> {
    rules.iter().enumerate().try_for_each(|(index, rule)| {
        let fits = match rule.behaviour {
            Behaviour::Status(code) => {
                error_status(index, code)?;
                !rule.on.is_notification()
            }
            // A refusal may come with a status of success: Alipay's always do.
            Behaviour::Code { status, .. } if !(200..=599).contains(&status) => {
                return Err(format!("rule {index}: {status} is no HTTP status"));
            }
            Behaviour::Code { .. }
            | Behaviour::Hang
            | Behaviour::Cut
            | Behaviour::Garbage
            | Behaviour::Huge
            | Behaviour::Redirect(_)
            | Behaviour::Unsigned => !rule.on.is_notification(),
            Behaviour::Duplicate(_) | Behaviour::Lose | Behaviour::Reorder | Behaviour::Probe => {
                rule.on.is_notification()
            }
            Behaviour::RefundEnds { .. } => rule.on == Operation::Refund,
            Behaviour::TransferEnds { .. } => rule.on == Operation::Transfer,
            Behaviour::Answer | Behaviour::WrongKey | Behaviour::WrongAmount => true,
        };
        if fits {
            Ok(())
        } else {
            let (on, behaviour) = (rule.on, &rule.behaviour);
            Err(format!("rule {index}: {behaviour:?} does not fit {on:?}"))
        }
    })
}

/// Takes the rule for an operation and uses up one of its turns.
pub(crate) fn take(rules: &mut [Rule], on: Operation) -> Rule {
    let Some(rule) = rules
        .iter_mut()
        .find(|rule| rule.on == on && rule.times != Some(0))
    else {
        return Rule {
            times: None,
            ..Rule::once(on, Behaviour::Answer)
        };
    };
    rule.times = rule.times.map(|left| left - 1);
    rule.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_its_operation_and_its_turns() {
        let mut rules = vec![Rule::once(Operation::Refund, Behaviour::Hang)];
        assert_eq!(take(&mut rules, Operation::Query).behaviour, Behaviour::Answer);
        assert_eq!(take(&mut rules, Operation::Refund).behaviour, Behaviour::Hang);
        assert_eq!(take(&mut rules, Operation::Refund).behaviour, Behaviour::Answer);
    }

    #[test]
    fn a_behaviour_fits_its_operation_or_is_refused() {
        let lost = Rule::once(Operation::NotifyRefund, Behaviour::Lose);
        assert_eq!(check(std::slice::from_ref(&lost)), Ok(()));
        for wrong in [
            Rule::once(Operation::Refund, Behaviour::Lose),
            Rule::once(Operation::NotifyRefund, Behaviour::Hang),
            Rule::once(Operation::Query, Behaviour::Status(200)),
        ] {
            let problem = check(&[lost.clone(), wrong]).unwrap_err();
            assert!(problem.contains("rule 1"), "{problem}");
        }
    }

    #[test]
    fn a_programme_reads_as_documented() {
        let rule: Rule = serde_json::from_str(
            r#"{"on": "refund", "times": 2, "delay_ms": 100, "do": {"status": 503}, "effect": true}"#,
        )
        .unwrap();
        let expected = Rule::times(2, Operation::Refund, Behaviour::Status(503));
        assert_eq!(rule, expected.delay_ms(100).with_effect());
        assert!(rule.has_effect());
        assert!(!Rule::once(Operation::Refund, Behaviour::Status(503)).has_effect());
    }
}
