//! What a provider's word on a transfer means for a withdrawal.

use pay::{Money, Transfer, TransferState};

use super::WithdrawalStatus;

/// What becomes of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is under way; the provider's number and the recipient's page may be new.
    UnderWay,
    /// The money arrived.
    Succeeded,
    /// No money went out, and none will: why.
    Failed(String),
    /// It was known.
    Known,
    /// The provider names another amount: for a person.
    OtherAmount(String),
    /// The provider says something else than what is final here: for a person.
    Contradiction(String),
}

/// Decides what a provider's word means for a withdrawal of this status and amount.
pub(crate) fn verdict(status: WithdrawalStatus, amount: Money, told: &Transfer) -> Verdict {
    if let Some(named) = told.amount.filter(|named| *named != amount) {
        return Verdict::OtherAmount(format!(
            "the provider names {named}, the withdrawal is of {amount}"
        ));
    }
    match (status, &told.state) {
        (
            WithdrawalStatus::Processing,
            TransferState::Processing | TransferState::AwaitingRecipient { .. },
        ) => Verdict::UnderWay,
        (WithdrawalStatus::Processing, TransferState::Succeeded) => Verdict::Succeeded,
        (WithdrawalStatus::Processing, TransferState::Failed { reason }) => Verdict::Failed(reason.clone()),
        // Told late, or twice.
        (WithdrawalStatus::Succeeded, TransferState::Succeeded)
        | (WithdrawalStatus::Failed, TransferState::Failed { .. })
        | (
            WithdrawalStatus::Succeeded | WithdrawalStatus::Failed,
            TransferState::Processing | TransferState::AwaitingRecipient { .. },
        ) => Verdict::Known,
        (WithdrawalStatus::Succeeded, TransferState::Failed { reason }) => {
            Verdict::Contradiction(format!("the money came back after it had arrived: {reason}"))
        }
        (WithdrawalStatus::Failed, TransferState::Succeeded) => {
            Verdict::Contradiction("the money arrived, and is available here as well".to_owned())
        }
        (
            WithdrawalStatus::Frozen,
            TransferState::Processing
            | TransferState::AwaitingRecipient { .. }
            | TransferState::Succeeded
            | TransferState::Failed { .. },
        ) => Verdict::Contradiction("the provider knows a transfer that was not asked for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use pay::Number;

    use super::*;

    const AMOUNT: Money = Money::cny(600);

    fn told(state: TransferState) -> Transfer {
        Transfer {
            number: Number::new("WDR0001").unwrap(),
            provider_no: None,
            amount: None,
            state,
        }
    }

    fn failed() -> TransferState {
        TransferState::Failed {
            reason: "NO".to_owned(),
        }
    }

    #[test]
    fn what_is_under_way_ends_as_the_provider_says() {
        let status = WithdrawalStatus::Processing;
        let package = Some("p".to_owned());
        for (state, expected) in [
            (TransferState::Processing, Verdict::UnderWay),
            (TransferState::AwaitingRecipient { package }, Verdict::UnderWay),
            (TransferState::Succeeded, Verdict::Succeeded),
            (failed(), Verdict::Failed("NO".to_owned())),
        ] {
            assert_eq!(verdict(status, AMOUNT, &told(state)), expected);
        }
    }

    #[test]
    fn a_final_status_never_changes() {
        for (status, state) in [
            (WithdrawalStatus::Succeeded, TransferState::Succeeded),
            (WithdrawalStatus::Succeeded, TransferState::Processing),
            (WithdrawalStatus::Failed, failed()),
            (
                WithdrawalStatus::Failed,
                TransferState::AwaitingRecipient { package: None },
            ),
        ] {
            assert_eq!(verdict(status, AMOUNT, &told(state)), Verdict::Known);
        }
        for (status, state) in [
            (WithdrawalStatus::Succeeded, failed()),
            (WithdrawalStatus::Failed, TransferState::Succeeded),
            (WithdrawalStatus::Frozen, TransferState::Processing),
        ] {
            let verdict = verdict(status, AMOUNT, &told(state));
            assert!(matches!(verdict, Verdict::Contradiction(_)), "{verdict:?}");
        }
    }

    #[test]
    fn another_amount_settles_nothing() {
        for (named, is_right) in [(None, true), (Some(AMOUNT), true), (Some(Money::cny(601)), false)] {
            let told = Transfer {
                amount: named,
                ..told(TransferState::Succeeded)
            };
            let verdict = verdict(WithdrawalStatus::Processing, AMOUNT, &told);
            assert_eq!(verdict == Verdict::Succeeded, is_right);
            assert_eq!(matches!(verdict, Verdict::OtherAmount(_)), !is_right);
        }
    }
}
