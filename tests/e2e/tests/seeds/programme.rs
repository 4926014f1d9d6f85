//! What one seed makes happen. Pure: the same seed is the same programme.

use std::fmt;

use doubles::allocator;
use doubles::pay::Rule;
use e2e::{PLAN, PRICE};
use proto::billing::v1::Channel;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::faults::{device, rules};

/// Within so many milliseconds after the start of all, everybody has begun.
const BEGUN_MS: u64 = 8_000;
/// Nobody is killed any more so many milliseconds after the start of all.
const KILLED_MS: u64 = 18_000;

/// What can be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Membership and quota.
    Monthly,
    /// Quota only.
    TopUp,
    /// Membership only.
    Tier,
    /// Membership, quota and a device.
    Device,
}

/// Who pays how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pays {
    Never,
    Once,
    /// The same payment twice at once: the provider takes one.
    Twice,
    /// By both channels at once: an order is paid once, what is more goes back.
    Both,
    /// After asking for the order to be cancelled.
    AfterCancelling,
    /// When the order expires, or a little earlier or later.
    AtTheEnd,
}

/// Somebody wants money back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// After the order was completed.
    pub(crate) after_ms: u64,
    /// 0: all that is left.
    pub(crate) amount: i64,
    /// Two asks with the same number are the same request, be they alike or not.
    pub(crate) request: u8,
    /// Sent so often at once.
    pub(crate) copies: u8,
}

/// Somebody buys a plan.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) begins_ms: u64,
    /// The request is sent so often at once.
    pub(crate) copies: u8,
    pub(crate) plan: Plan,
    pub(crate) channel: Channel,
    pub(crate) pays: Pays,
    pub(crate) pays_after_ms: u64,
    /// After the order was made.
    pub(crate) cancels_after_ms: Option<u64>,
    pub(crate) refunds: Vec<Ask>,
}

/// What a recipient does who has to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    Yes,
    No,
    Never,
}

/// Somebody takes commission out.
#[derive(Debug, Clone)]
pub(crate) struct Withdrawal {
    pub(crate) begins_ms: u64,
    pub(crate) copies: u8,
    pub(crate) channel: Channel,
    pub(crate) amount: i64,
    pub(crate) accepts: Accepts,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Billing,
    Orchestrator,
    Both,
}

/// A SIGKILL, and a start some time later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    pub(crate) at_ms: u64,
    pub(crate) who: Victim,
    pub(crate) away_ms: u64,
}

/// All that a seed makes happen. Times are milliseconds after the start of all, if nothing else is said.
#[derive(Debug, Clone)]
pub(crate) struct Programme {
    pub(crate) seed: u64,
    /// When its user comes, and its rules are given to the doubles.
    pub(crate) begins_ms: u64,
    pub(crate) purchases: Vec<Purchase>,
    pub(crate) withdrawals: Vec<Withdrawal>,
    pub(crate) wechat: Vec<Rule>,
    pub(crate) alipay: Vec<Rule>,
    pub(crate) devices: Vec<allocator::Rule>,
    pub(crate) kill: Option<Kill>,
}

impl Plan {
    pub(crate) const ALL: [Self; 4] = [Self::Monthly, Self::TopUp, Self::Tier, Self::Device];

    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Monthly => PLAN,
            Self::TopUp => "quota-pack",
            Self::Tier => "tier-only",
            Self::Device => "with-device",
        }
    }

    pub(crate) const fn price(self) -> i64 {
        match self {
            Self::Monthly | Self::Device => PRICE,
            Self::TopUp => 333,
            Self::Tier => 500,
        }
    }
}

impl Purchase {
    /// Tells whether it is over soon.
    pub(crate) fn is_quick(&self) -> bool {
        self.pays != Pays::AtTheEnd
    }
}

impl Programme {
    /// Returns how many purchases and withdrawals are over soon.
    pub(crate) fn errands(&self) -> usize {
        let quick = self.purchases.iter().filter(|purchase| purchase.is_quick());
        quick.count() + self.withdrawals.len()
    }

    /// Makes the programme of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let begins_ms = random.random_range(0..BEGUN_MS / 2);
        let purchases = (0..random.random_range(1..=3)).map(|_| purchase(random, begins_ms));
        let purchases: Vec<Purchase> = purchases.collect();
        let withdrawals = (0..random.random_range(0..=1)).map(|_| withdrawal(random, begins_ms));
        let withdrawals = withdrawals.collect();
        let wechat = rules(random, Channel::Wechat);
        let alipay = rules(random, Channel::Alipay);
        let devices = (0..random.random_range(0..=1)).map(|_| device(random));
        let devices = devices.collect();
        let kill = random.random_bool(0.12).then(|| Kill {
            at_ms: random.random_range(2_000..KILLED_MS),
            who: *one(random, &[Victim::Billing, Victim::Orchestrator, Victim::Both]),
            away_ms: random.random_range(0..1_500),
        });
        Self {
            seed,
            begins_ms,
            purchases,
            withdrawals,
            wechat,
            alipay,
            devices,
            kill,
        }
    }
}

impl fmt::Display for Programme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, from {} ms on:", self.seed, self.begins_ms)?;
        for purchase in &self.purchases {
            writeln!(f, "  {purchase:?}")?;
        }
        for withdrawal in &self.withdrawals {
            writeln!(f, "  {withdrawal:?}")?;
        }
        for (name, rules) in [("wechat", &self.wechat), ("alipay", &self.alipay)] {
            for rule in rules {
                writeln!(f, "  {name}: {rule:?}")?;
            }
        }
        for rule in &self.devices {
            writeln!(f, "  devices: {rule:?}")?;
        }
        if let Some(kill) = &self.kill {
            writeln!(f, "  {kill:?}")?;
        }
        Ok(())
    }
}

/// Chooses.
pub(crate) fn one<'a, T>(random: &mut StdRng, of: &'a [T]) -> &'a T {
    of.choose(random).expect("there is a choice")
}

fn channel(random: &mut StdRng) -> Channel {
    *one(random, &[Channel::Wechat, Channel::Alipay])
}

/// Mostly 1.
fn copies(random: &mut StdRng) -> u8 {
    *one(random, &[1, 1, 1, 2, 3])
}

fn purchase(random: &mut StdRng, from_ms: u64) -> Purchase {
    let plan = *one(random, &Plan::ALL);
    let pays = *one(
        random,
        &[
            Pays::Once,
            Pays::Once,
            Pays::Once,
            Pays::Twice,
            Pays::Both,
            Pays::Both,
            Pays::AfterCancelling,
            Pays::AtTheEnd,
            Pays::Never,
        ],
    );
    let cancels = pays == Pays::AfterCancelling || random.random_bool(0.1);
    let refunds = match random.random_range(0..4) {
        0 => 0,
        1 | 2 => 1,
        _ => 3,
    };
    Purchase {
        begins_ms: random.random_range(from_ms..BEGUN_MS),
        copies: copies(random),
        plan,
        channel: channel(random),
        pays,
        pays_after_ms: random.random_range(0..3_000),
        cancels_after_ms: cancels.then(|| random.random_range(0..4_000)),
        refunds: (0..refunds).map(|_| ask(random, plan)).collect(),
    }
}

fn ask(random: &mut StdRng, plan: Plan) -> Ask {
    Ask {
        after_ms: random.random_range(0..5_000),
        amount: *one(random, &[0, 1, plan.price() / 3, plan.price() / 2, plan.price()]),
        request: random.random_range(0..3),
        copies: copies(random),
    }
}

fn withdrawal(random: &mut StdRng, from_ms: u64) -> Withdrawal {
    Withdrawal {
        begins_ms: random.random_range(from_ms..BEGUN_MS),
        copies: copies(random),
        channel: channel(random),
        amount: random.random_range(100..2_000),
        accepts: *one(random, &[Accepts::Yes, Accepts::Yes, Accepts::No, Accepts::Never]),
    }
}

#[test]
fn a_seed_is_a_programme_that_the_doubles_take_and_always_the_same() {
    for seed in 0..2_000 {
        let programme = Programme::of(seed);
        assert_eq!(programme.to_string(), Programme::of(seed).to_string());
        assert_eq!(doubles::pay::check(&programme.wechat), Ok(()), "{programme}");
        assert_eq!(doubles::pay::check(&programme.alipay), Ok(()), "{programme}");
        assert_eq!(allocator::check(&programme.devices), Ok(()), "{programme}");
    }
}
