//! What can be bought.

use proto::billing::v1 as pb;

use super::Amount;
use crate::error::Error;

/// Longest title, in characters.
const MAX_TITLE_CHARS: usize = 40;
/// Longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 2_000;
/// Longest id of a plan, and longest name of a tier, in characters.
const MAX_PLAN_ID_CHARS: usize = 63;
const MAX_TIER_CHARS: usize = 32;
/// Most quota that a plan grants.
const MAX_QUOTA: i64 = 1_000_000_000_000;
/// Ten years.
const MAX_DAYS: u32 = 3_650;

/// What buying a plan means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanKind {
    Membership,
    TopUp,
}

impl PlanKind {
    /// Returns the name in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Membership => "MEMBERSHIP",
            Self::TopUp => "TOP_UP",
        }
    }

    /// Reads a name of the tables.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Membership, Self::TopUp]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl From<PlanKind> for pb::PlanKind {
    fn from(kind: PlanKind) -> Self {
        match kind {
            PlanKind::Membership => Self::Membership,
            PlanKind::TopUp => Self::TopUp,
        }
    }
}

/// The content of a version of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) kind: PlanKind,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) amount: i64,
    /// Units; 0: none.
    pub(crate) quota: i64,
    /// Days until that quota is lost; 0: never.
    pub(crate) quota_days: i32,
    /// Of a membership only.
    pub(crate) tier: Option<String>,
    pub(crate) membership_days: i32,
    pub(crate) needs_device: bool,
}

impl Offer {
    /// Checks what is to be published.
    pub(crate) fn new(request: pb::PublishPlanRequest) -> Result<Self, Error> {
        let wrong = |field, problem| Error::Invalid { field, problem };
        let kind = match pb::PlanKind::try_from(request.kind) {
            Ok(pb::PlanKind::Membership) => PlanKind::Membership,
            Ok(pb::PlanKind::TopUp) => PlanKind::TopUp,
            Ok(pb::PlanKind::Unspecified) | Err(_) => {
                return Err(wrong("kind", "must be a membership or a top-up"));
            }
        };
        if request.title.chars().count() > MAX_TITLE_CHARS
            || pay::Subject::new(request.title.as_str()).is_err()
        {
            return Err(wrong(
                "title",
                "must be 1 to 40 characters (127 bytes) without / = & , ` \"",
            ));
        }
        let is_text = |c: char| c == '\n' || !c.is_control();
        if request.description.chars().count() > MAX_DESCRIPTION_CHARS
            || !request.description.chars().all(is_text)
        {
            return Err(wrong("description", "must be at most 2,000 printable characters"));
        }
        let amount = Amount::new(request.amount).ok_or(wrong("amount", "must be 1 to 10,000,000,000"))?;
        if !["", super::CNY].contains(&request.currency.as_str()) {
            return Err(wrong("currency", "must be CNY"));
        }
        if !(0..=MAX_QUOTA).contains(&request.quota) || (kind == PlanKind::TopUp && request.quota == 0) {
            return Err(wrong(
                "quota",
                "must be 0 to 1,000,000,000,000, and of a top-up at least 1",
            ));
        }
        let days = |field, days: u32| {
            i32::try_from(days)
                .ok()
                .filter(|_| days <= MAX_DAYS)
                .ok_or(wrong(field, "must be at most 3,650"))
        };
        let quota_days = days("quota_days", request.quota_days)?;
        let membership_days = days("membership_days", request.membership_days)?;
        match kind {
            PlanKind::Membership if !is_name(&request.tier, MAX_TIER_CHARS) => {
                return Err(wrong(
                    "tier",
                    "must be a lower-case letter, then at most 31 lower-case letters, digits and hyphens",
                ));
            }
            PlanKind::Membership if membership_days == 0 => {
                return Err(wrong("membership_days", "must be 1 to 3,650"));
            }
            PlanKind::TopUp if !request.tier.is_empty() => {
                return Err(wrong("tier", "is for memberships only"));
            }
            PlanKind::TopUp if membership_days > 0 => {
                return Err(wrong("membership_days", "is for memberships only"));
            }
            PlanKind::Membership | PlanKind::TopUp => {}
        }
        Ok(Self {
            kind,
            title: request.title,
            description: request.description,
            amount: amount.minor(),
            quota: request.quota,
            quota_days,
            tier: (!request.tier.is_empty()).then_some(request.tier),
            membership_days,
            needs_device: request.needs_device,
        })
    }
}

/// Reads the id of a plan.
pub(crate) fn plan_id(text: String) -> Result<String, Error> {
    if is_name(&text, MAX_PLAN_ID_CHARS) {
        return Ok(text);
    }
    Err(Error::Invalid {
        field: "plan_id",
        problem: "must be a lower-case letter, then at most 62 lower-case letters, digits and hyphens",
    })
}

fn is_name(text: &str, most: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= most && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> pb::PublishPlanRequest {
        pb::PublishPlanRequest {
            plan_id: "pro".to_owned(),
            kind: pb::PlanKind::Membership.into(),
            title: "会员 1 个月".to_owned(),
            amount: 1,
            tier: "pro".to_owned(),
            membership_days: 31,
            ..pb::PublishPlanRequest::default()
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        type Change = fn(&mut pb::PublishPlanRequest);
        assert!(Offer::new(membership()).is_ok());
        let cases: [(&str, Change); 17] = [
            ("kind", |r| r.kind = 0),
            ("kind", |r| r.kind = 9),
            ("title", |r| r.title = String::new()),
            ("title", |r| r.title = "a=b".to_owned()),
            ("title", |r| r.title = "x".repeat(41)),
            ("title", |r| r.title = "𠀋".repeat(32)),
            ("description", |r| r.description = "描".repeat(2_001)),
            ("description", |r| r.description = "\u{7}".to_owned()),
            ("amount", |r| r.amount = 0),
            ("amount", |r| r.amount = 10_000_000_001),
            ("currency", |r| r.currency = "USD".to_owned()),
            ("quota", |r| r.quota = -1),
            ("quota", |r| {
                r.kind = pb::PlanKind::TopUp.into();
                (r.tier, r.membership_days) = (String::new(), 0);
            }),
            ("quota_days", |r| r.quota_days = 3_651),
            ("tier", |r| r.tier = "Pro".to_owned()),
            ("membership_days", |r| r.membership_days = 0),
            ("membership_days", |r| r.membership_days = u32::MAX),
        ];
        for (field, change) in cases {
            let mut request = membership();
            change(&mut request);
            let found = Offer::new(request.clone()).unwrap_err();
            assert!(
                matches!(found, Error::Invalid { field: named, .. } if named == field),
                "{field}: {found} of {request:?}"
            );
        }
    }

    #[test]
    fn a_top_up_has_no_membership() {
        let top_up = pb::PublishPlanRequest {
            kind: pb::PlanKind::TopUp.into(),
            quota: 100,
            tier: String::new(),
            membership_days: 0,
            ..membership()
        };
        assert_eq!(Offer::new(top_up.clone()).unwrap().tier, None);
        let tier = pb::PublishPlanRequest {
            tier: "pro".to_owned(),
            ..top_up.clone()
        };
        let days = pb::PublishPlanRequest {
            membership_days: 1,
            ..top_up
        };
        assert!(Offer::new(tier).is_err() && Offer::new(days).is_err());
    }

    #[test]
    fn an_id_of_a_plan_is_lower_case() {
        assert!(plan_id("a".to_owned()).is_ok() && plan_id(format!("a{}", "-9".repeat(31))).is_ok());
        for wrong in [
            String::new(),
            "A".to_owned(),
            "9a".to_owned(),
            "a_b".to_owned(),
            "a".repeat(64),
        ] {
            assert!(plan_id(wrong).is_err());
        }
    }
}
