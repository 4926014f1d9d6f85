//! Some seeds together on a platform of their own: their programmes, then the settling, then what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sqlx::PgPool;
use test_support::Signal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::operator;
use crate::people::play;
use crate::programme::{Kill, Programme, Victim};
use crate::replay::replay;
use crate::rest;
use crate::world::{CASE_AFTER, Stage, World};

/// After the last kill, everything goes on breaking until nobody wants anything, or this time is over.
const FAULTS_LAST: Duration = Duration::from_secs(25);
/// Everything comes to rest within this time after the last fault. Orders can be paid for a minute, a question that was
/// under way in a process that was killed is asked again after 30 s, and an operator comes late.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// The operator comes so long after the last fault, so that what is stuck is stuck for long enough for a case.
const OPERATOR_AFTER: Duration = Duration::from_secs(43);
/// What the service may take to tell an operator, besides `case_after`, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(30);
/// Warnings of each process that are shown after a failure.
const WARNINGS: usize = 10;
/// Between two looks at everything.
const LOOK: Duration = Duration::from_secs(1);

/// What was seen, so that a suite in which nothing happens is noticed.
#[derive(Debug, Default, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Tally {
    pub(crate) completed: i64,
    pub(crate) cancelled: i64,
    pub(crate) late: i64,
    pub(crate) refunded: i64,
    pub(crate) not_refunded: i64,
    pub(crate) withdrawn: i64,
    pub(crate) unfrozen: i64,
    pub(crate) devices: i64,
    pub(crate) cases: i64,
    pub(crate) notified: i64,
    #[sqlx(default)]
    pub(crate) kills: i64,
}

impl Tally {
    fn parts(&mut self) -> [&mut i64; 11] {
        [
            &mut self.completed,
            &mut self.cancelled,
            &mut self.late,
            &mut self.refunded,
            &mut self.not_refunded,
            &mut self.withdrawn,
            &mut self.unfrozen,
            &mut self.devices,
            &mut self.cases,
            &mut self.notified,
            &mut self.kills,
        ]
    }

    /// Tells whether each of them has happened.
    pub(crate) fn has_everything(mut self) -> bool {
        self.parts().into_iter().all(|part| *part > 0)
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, mut other: Self) {
        for (part, more) in self.parts().into_iter().zip(other.parts()) {
            *part += *more;
        }
    }
}

/// What was wrong, and the programmes of the seeds that it is about; of all if that cannot be said.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) complaints: Vec<String>,
    pub(crate) programmes: Vec<Programme>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for programme in &self.programmes {
            writeln!(f, "{programme}")?;
        }
        write!(f, "{}", self.complaints.join("\n"))
    }
}

/// Plays the programmes, and looks at what they leave behind. `busy` lets one batch after the other through the part that
/// keeps the machine busy; what follows is mostly waiting.
pub(crate) async fn run(seeds: &[u64], busy: &Semaphore) -> Result<Tally, Failure> {
    let programmes: Vec<Programme> = seeds.iter().copied().map(Programme::of).collect();
    let turn = busy.acquire().await.expect("it is never closed");
    let mut stage = Stage::set().await;
    let mut random = StdRng::seed_from_u64(seeds.first().copied().unwrap_or_default());
    let mut people = disturb(&mut stage, &programmes).await;
    drop(turn);
    let complaints = match settle(&stage.world, &mut people, &mut random).await {
        Ok(()) => {
            let mut complaints = rest::broken(&stage.platform, &stage.world).await;
            complaints.extend(replay(&stage.world, &mut random).await);
            // And after all that as well.
            complaints.extend(rest::open(&stage.world.db).await);
            complaints.extend(stage.world.billing.disagreements(&stage.platform).await);
            complaints
        }
        Err(complaints) => complaints,
    };
    if complaints.is_empty() {
        let kills = programmes.iter().filter(|programme| programme.kill.is_some());
        let kills = i64::try_from(kills.count()).expect("they are few");
        let tally = tally(&stage.world.db).await;
        return Ok(Tally { kills, ..tally });
    }
    let mut complaints = complaints;
    complaints.extend(warnings(&stage));
    let suspects = suspects(&stage.world, &complaints).await;
    let all = suspects.is_empty();
    let programmes = programmes.into_iter();
    Err(Failure {
        complaints,
        programmes: programmes
            .filter(|programme| all || suspects.contains(&programme.seed))
            .collect(),
    })
}

/// Lets everybody begin, and everything break, until those who hurry have done what they wanted.
async fn disturb(stage: &mut Stage, programmes: &[Programme]) -> JoinSet<()> {
    let rules: Vec<_> = programmes.iter().flat_map(|p| p.devices.clone()).collect();
    stage.devices.program(&rules).await;
    let world = Arc::clone(&stage.world);
    let mut people = JoinSet::new();
    world.errands_begin(programmes.iter().map(Programme::errands).sum());
    for programme in programmes {
        people.spawn(play(Arc::clone(&world), programme.clone()));
    }
    let mut kills: Vec<Kill> = programmes.iter().filter_map(|programme| programme.kill).collect();
    kills.sort_by_key(|kill| kill.at_ms);
    for kill in kills {
        world.at(kill.at_ms).await;
        strike(stage, kill).await;
    }
    world.errands_done(FAULTS_LAST).await;
    world.billing.wechat.program(Vec::new());
    world.billing.alipay.program(Vec::new());
    stage.devices.program(&[]).await;
    people
}

/// Kills, and starts again.
async fn strike(stage: &mut Stage, kill: Kill) {
    let (billing, orchestrator) = match kill.who {
        Victim::Billing => (true, false),
        Victim::Orchestrator => (false, true),
        Victim::Both => (true, true),
    };
    let platform = &mut stage.platform;
    let victims = [
        billing.then(|| platform.billing.take()).flatten(),
        orchestrator.then(|| platform.saga.take()).flatten(),
    ];
    for victim in victims.iter().flatten() {
        victim.signal(Signal::Kill);
    }
    drop(victims);
    let now_ms = stage.world.now_ms();
    stage.world.at(now_ms + kill.away_ms).await;
    if billing {
        stage.platform.start_billing();
    }
    if orchestrator {
        stage.platform.start_orchestrator();
    }
}

/// Waits until nobody does anything and nothing is open. At no moment is money on its way back for too long without a case.
/// Returns what is open that should have been settled.
async fn settle(world: &World, people: &mut JoinSet<()>, random: &mut StdRng) -> Result<(), Vec<String>> {
    let begun = Instant::now();
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let age = begun.elapsed();
        if age > SLACK {
            let neglected = rest::neglected(&world.db, CASE_AFTER + SLACK).await;
            if !neglected.is_empty() {
                return Err(neglected);
            }
        }
        while let Some(ended) = people.try_join_next() {
            if let Err(panic) = ended {
                world.complain(format!("somebody has panicked: {panic}"));
            }
        }
        if age > OPERATOR_AFTER {
            operator::look(world, random).await;
        }
        let open = rest::open(&world.db).await;
        if people.is_empty() && open.is_empty() {
            return Ok(());
        }
        if age > SETTLED_WITHIN {
            return Err(open);
        }
    }
}

/// The last that the processes have complained of.
fn warnings(stage: &Stage) -> Vec<String> {
    let mut warnings = Vec::new();
    let processes = [
        ("billing", &stage.platform.billing),
        ("saga", &stage.platform.saga),
    ];
    for (name, process) in processes {
        let lines = process
            .iter()
            .flat_map(|process| [process.stderr(), process.stdout()])
            .flatten();
        let lines: Vec<String> = lines
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .map(|line| format!("{name} said: {line}"))
            .collect();
        warnings.extend(lines.into_iter().rev().take(WARNINGS));
    }
    warnings
}

async fn tally(db: &PgPool) -> Tally {
    sqlx::query_as(
        "select (select count(*) from billing.orders where completed_at is not null) as completed,
                (select count(*) from billing.orders where status = 'CANCELLED') as cancelled,
                (select count(*) from billing.payments where late) as late,
                (select count(*) from billing.refunds where status = 'SUCCEEDED') as refunded,
                (select count(*) from billing.refunds where status <> 'SUCCEEDED') as not_refunded,
                (select count(*) from billing.withdrawals where status = 'SUCCEEDED') as withdrawn,
                (select count(*) from billing.withdrawals where status = 'FAILED') as unfrozen,
                (select count(*) from doubles.allocation where state = 'allocated') as devices,
                (select count(*) from billing.cases) as cases,
                (select count(*) from billing.notify_receipts) as notified",
    )
    .fetch_one(db)
    .await
    .expect("the database answers")
}

/// The seeds whose numbers are in the complaints.
async fn suspects(world: &World, complaints: &[String]) -> BTreeSet<u64> {
    let numbers: Vec<(String, String)> = sqlx::query_as(
        "with named as (
            select order_number as number, id, user_id from billing.orders
            union all select channel_order_no, id, user_id from billing.payments
            union all select payment_no, id, user_id from billing.payments
            union all select refund_no, id, user_id from billing.refunds
            union all select withdrawal_no, id, user_id from billing.withdrawals
         ), sagas as (
            select saga_id, user_id from billing.orders
            union all select saga_id, user_id from billing.payments
            union all select saga_id, user_id from billing.refunds
            union all select saga_id, user_id from billing.withdrawals
         )
         select number, user_id::text from named
         union select id::text, user_id::text from named
         union select replace(id::text, '-', ''), user_id::text from named
         union select replace(saga_id::text, '-', ''), user_id::text from sagas
         union select user_id::text, user_id::text from named",
    )
    .fetch_all(&world.db)
    .await
    .expect("the database answers");
    let users: BTreeMap<String, String> = numbers.into_iter().collect();
    let mut suspects = BTreeSet::new();
    for complaint in complaints {
        for (number, user) in &users {
            if complaint.contains(number) {
                let user = format!("user_{}", user.replace('-', ""));
                suspects.extend(world.seed_of(&user));
            }
        }
        // Programmes say themselves whose they are.
        suspects.extend(
            complaint
                .split('-')
                .next()
                .and_then(|seed| seed.parse::<u64>().ok()),
        );
    }
    suspects
}
