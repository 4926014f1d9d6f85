//! Taking back what a source granted.

use ids::UserId;

use super::{Amount, ChosenId, Source, StoredGrant};

/// A clawback to be made.
#[derive(Debug, Clone)]
pub(crate) struct ClawBack {
    pub(crate) clawback_id: ChosenId,
    pub(crate) user_id: UserId,
    pub(crate) source: Source,
    /// Everything if absent, and then the source grants no more.
    pub(crate) amount: Option<Amount>,
}

/// What a clawback came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClawedBack {
    pub(crate) granted: i64,
    pub(crate) clawed_back: i64,
    /// What comes as far as live reservations are given back.
    pub(crate) pending: i64,
    pub(crate) spent: i64,
    pub(crate) expired: i64,
}

/// A grant of the source, with what live reservations hold of it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) grant: StoredGrant,
    pub(crate) held: i64,
}

/// What a clawback wants of one grant, and what it has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) grant_id: String,
    pub(crate) revoked: i64,
    pub(crate) taken: i64,
}

/// Decides what a clawback takes of which grant. `claims` are in the order in which they are burnt; it goes through
/// them backwards, so that what is kept is what would be burnt first. What is free is taken before what is held, since
/// what is held may be confirmed; what earlier clawbacks wait for is theirs.
pub(crate) fn plan(claims: &[Claim], wanted: Option<Amount>) -> Vec<Part> {
    let mut left = wanted.map_or(i64::MAX, Amount::get);
    let mut parts: Vec<Part> = claims
        .iter()
        .map(|claim| Part {
            grant_id: claim.grant.grant_id.clone(),
            revoked: 0,
            taken: 0,
        })
        .collect();
    for (part, claim) in parts.iter_mut().zip(claims).rev() {
        part.taken = claim.grant.remaining.min(left);
        left -= part.taken;
    }
    for (part, claim) in parts.iter_mut().zip(claims).rev() {
        let owed_already = claim.grant.revoked - claim.grant.clawed_back;
        let waits_for = (claim.held - owed_already).clamp(0, left);
        left -= waits_for;
        part.revoked = part.taken + waits_for;
    }
    parts.retain(|part| part.revoked > 0);
    parts
}

impl ClawedBack {
    /// Adds up what a clawback with these parts came to.
    pub(crate) fn sum(claims: &[Claim], parts: &[Part]) -> Self {
        let mut sum = Self::default();
        for Claim { grant, held } in claims {
            sum.granted += grant.amount;
            sum.expired += grant.expired;
            sum.spent += grant.used() - held;
            for part in parts.iter().filter(|part| part.grant_id == grant.grant_id) {
                sum.clawed_back += part.taken;
                sum.pending += (part.revoked - part.taken).min(*held);
            }
        }
        sum
    }
}

/// What a clawback waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) clawback_id: String,
    pub(crate) amount: i64,
}

/// Where quota goes that came back to a grant which somebody waits for, or which has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settlement {
    ClawedBack { clawback_id: String, amount: i64 },
    Expired { amount: i64 },
}

/// Decides where what is free of a grant goes: to the clawbacks that wait for it, the oldest first; what is left then
/// expires if the grant has ended.
pub(crate) fn settle(mut free: i64, owed: Vec<Owed>, ended: bool) -> Vec<Settlement> {
    let mut settlements = Vec::new();
    for Owed { clawback_id, amount } in owed {
        let amount = amount.min(free);
        if amount > 0 {
            free -= amount;
            settlements.push(Settlement::ClawedBack { clawback_id, amount });
        }
    }
    if ended && free > 0 {
        settlements.push(Settlement::Expired { amount: free });
    }
    settlements
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::super::GrantKind;
    use super::*;

    fn claim(n: usize, remaining: i64, held: i64, owed: i64, spent: i64) -> Claim {
        Claim {
            grant: StoredGrant {
                seq: 1,
                grant_id: n.to_string(),
                user_id: UserId::from_uuid(uuid::Uuid::nil()),
                kind: GrantKind::Purchase,
                amount: remaining + held + spent,
                remaining,
                expired: 0,
                revoked: owed,
                clawed_back: 0,
                priority: 100,
                line: None,
                note: String::new(),
                expires_at: None,
                created_at: DateTime::UNIX_EPOCH,
            },
            held,
        }
    }

    fn part(n: usize, revoked: i64, taken: i64) -> Part {
        Part {
            grant_id: n.to_string(),
            revoked,
            taken,
        }
    }

    #[test]
    fn free_quota_is_taken_from_the_last_to_be_burnt_and_only_then_what_is_held() {
        let claims = [claim(0, 5, 2, 0, 1), claim(1, 4, 3, 0, 0)];
        let amount = |n| Some(Amount::new(n).unwrap());
        assert_eq!(plan(&claims, amount(3)), [part(1, 3, 3)]);
        assert_eq!(plan(&claims, amount(6)), [part(0, 2, 2), part(1, 4, 4)]);
        assert_eq!(plan(&claims, amount(11)), [part(0, 5, 5), part(1, 6, 4)]);
        assert_eq!(plan(&claims, None), [part(0, 7, 5), part(1, 7, 4)]);
        let sum = ClawedBack::sum(&claims, &plan(&claims, None));
        assert_eq!(
            (sum.granted, sum.clawed_back, sum.pending, sum.spent),
            (15, 9, 5, 1)
        );
    }

    proptest! {
        #[test]
        fn a_plan_takes_what_is_wanted_as_far_as_it_is_there(
            figures in proptest::collection::vec((0..9_i64, 0..9_i64, 0..9_i64, 0..9_i64), 0..6),
            wanted in proptest::option::of(1..40_i64),
        ) {
            // What is owed may be more than what is held: the rest of it was confirmed.
            let claims: Vec<Claim> = figures.iter().enumerate()
                .map(|(n, (free, held, owed, spent))| {
                    claim(n, if *owed > 0 { 0 } else { *free }, *held, *owed, spent + owed)
                })
                .collect();
            let parts = plan(&claims, wanted.map(|n| Amount::new(n).unwrap()));
            let free: i64 = claims.iter().map(|c| c.grant.remaining).sum();
            let there: i64 = free + claims.iter().map(|c| (c.held - c.grant.revoked).max(0)).sum::<i64>();
            let wanted = wanted.unwrap_or(i64::MAX);
            prop_assert_eq!(parts.iter().map(|p| p.revoked).sum::<i64>(), there.min(wanted));
            prop_assert_eq!(parts.iter().map(|p| p.taken).sum::<i64>(), free.min(wanted));
            for part in &parts {
                let claim = &claims[part.grant_id.parse::<usize>().unwrap()];
                prop_assert!(part.taken <= part.revoked && part.taken <= claim.grant.remaining);
                prop_assert!(claim.grant.revoked + part.revoked <= claim.grant.amount);
            }
        }

        #[test]
        fn a_settlement_loses_nothing(free in 0..50_i64, owed in proptest::collection::vec(1..20_i64, 0..5), ended: bool) {
            let debts: Vec<Owed> = owed.iter().enumerate()
                .map(|(n, amount)| Owed { clawback_id: n.to_string(), amount: *amount })
                .collect();
            let (mut clawed, mut expired) = (0, 0);
            for settlement in settle(free, debts, ended) {
                match settlement {
                    Settlement::ClawedBack { clawback_id, amount } => {
                        prop_assert!(amount > 0 && amount <= owed[clawback_id.parse::<usize>().unwrap()]);
                        clawed += amount;
                    }
                    Settlement::Expired { amount } => expired += amount,
                }
            }
            prop_assert_eq!(clawed, free.min(owed.iter().sum()));
            prop_assert_eq!(expired, if ended { free - clawed } else { 0 });
        }
    }
}
