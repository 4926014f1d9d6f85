//! Which grants are burnt, given back and taken back: random operations, compared with a model grant by grant.

use std::collections::BTreeMap;

use futures::future::join_all;
use ids::{TaskId, UserId};
use proto::quota::v1 as pb;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::{Fixture, Quota, bought, grant, in_seconds};

const DAY: i64 = 24 * 60 * 60;

/// One grant: what the service should have, in plain words.
#[derive(Debug, Clone)]
struct Grant {
    id: String,
    priority: i32,
    /// In days from now; `None` is never.
    ends: Option<i64>,
    over: bool,
    /// Number of the order that bought it.
    order: Option<usize>,
    free: i64,
    spent: i64,
    lost: i64,
    taken: i64,
    /// What clawbacks still wait for.
    owed: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Live,
    /// Confirmed, cancelled or expired.
    Ended,
}

/// One user, whose grants are kept in the order of their making.
#[derive(Debug, Default)]
struct Model {
    /// The first one after the beginning of the test.
    midnight: i64,
    grants: Vec<Grant>,
    tasks: BTreeMap<TaskId, (Task, Vec<(usize, i64)>)>,
}

impl Model {
    /// Indexes of the grants in the order in which they are burnt.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.grants.len()).collect();
        // Stable, so that the older one of equals is first.
        order.sort_by_key(|n| {
            let grant = &self.grants[*n];
            (grant.priority, grant.ends.unwrap_or(i64::MAX))
        });
        order
    }

    fn free(&self) -> i64 {
        self.grants
            .iter()
            .filter(|grant| !grant.over)
            .map(|grant| grant.free)
            .sum()
    }

    fn held(&self, n: usize) -> i64 {
        let live = self.tasks.values().filter(|(task, _)| *task == Task::Live);
        live.flat_map(|(_, parts)| parts)
            .filter(|(part, _)| *part == n)
            .map(|(_, amount)| amount)
            .sum()
    }

    /// What is over is lost as soon as anybody moves something.
    fn lose(&mut self) {
        for grant in self.grants.iter_mut().filter(|grant| grant.over) {
            grant.lost += std::mem::take(&mut grant.free);
        }
    }

    /// Burns one unit at a time from the first grant that has one.
    fn reserve(&mut self, task: TaskId, amount: i64) -> bool {
        if self.free() < amount {
            return false;
        }
        self.lose();
        let mut parts = BTreeMap::new();
        for _ in 0..amount {
            let first = self
                .order()
                .into_iter()
                .find(|n| self.grants[*n].free > 0)
                .unwrap();
            self.grants[first].free -= 1;
            *parts.entry(first).or_default() += 1;
        }
        self.tasks.insert(task, (Task::Live, parts.into_iter().collect()));
        true
    }

    /// Ends a task: the first `consumed` units, in the order in which they were burnt, are spent.
    fn end(&mut self, task: TaskId, mut consumed: i64) {
        let order = self.order();
        let (state, mut parts) = self.tasks.remove(&task).unwrap();
        assert_eq!(state, Task::Live);
        parts.sort_by_key(|(n, _)| order.iter().position(|at| at == n));
        for (n, amount) in parts {
            let spent = amount.min(consumed);
            consumed -= spent;
            let grant = &mut self.grants[n];
            grant.spent += spent;
            let mut back = amount - spent;
            let owed = back.min(grant.owed);
            grant.owed -= owed;
            grant.taken += owed;
            back -= owed;
            if grant.over {
                grant.lost += back;
            } else {
                grant.free += back;
            }
        }
        self.tasks.insert(task, (Task::Ended, Vec::new()));
    }

    /// Takes one unit at a time, from the grant that would be burnt last; what is free first.
    fn claw_back(&mut self, order: usize, amount: i64) {
        self.lose();
        let of_order = |model: &Self| -> Vec<usize> {
            let mut burnt = model.order();
            burnt.retain(|n| model.grants[*n].order == Some(order));
            burnt.reverse();
            burnt
        };
        let last_first = of_order(self);
        let held: Vec<i64> = (0..self.grants.len()).map(|n| self.held(n)).collect();
        for _ in 0..amount {
            if let Some(n) = last_first.iter().find(|n| self.grants[**n].free > 0) {
                self.grants[*n].free -= 1;
                self.grants[*n].taken += 1;
            } else if let Some(n) = last_first.iter().find(|n| self.grants[**n].owed < held[**n]) {
                self.grants[*n].owed += 1;
            }
        }
    }

    /// Free, spent or held, lost and taken of every grant, by its id, as readers are shown it.
    fn shown(&self) -> BTreeMap<String, [i64; 4]> {
        let shown = |(n, grant): (usize, &Grant)| {
            let (free, late) = if grant.over {
                (0, grant.free)
            } else {
                (grant.free, 0)
            };
            let used = grant.spent + self.held(n);
            (grant.id.clone(), [free, used, grant.lost + late, grant.taken])
        };
        self.grants.iter().enumerate().map(shown).collect()
    }
}

async fn shown(quota: &Quota, user: UserId) -> BTreeMap<String, [i64; 4]> {
    let request = pb::ListGrantsRequest {
        user_id: user.to_string(),
        page_size: 500,
        page_token: String::new(),
    };
    let answer = quota.public.clone().list_grants(request).await.unwrap();
    answer
        .into_inner()
        .grants
        .into_iter()
        .map(|g| (g.grant_id, [g.remaining, g.used, g.expired, g.clawed_back]))
        .collect()
}

/// Grants something. Ends are whole days after the first midnight to come, so that age decides between equals.
async fn create(quota: &Quota, model: &mut Model, rng: &mut StdRng, user: UserId, n: u32) {
    let order = rng.random_bool(0.6).then(|| rng.random_range(0..2));
    let ends = rng.random_bool(0.5).then(|| rng.random_range(1..4));
    let (amount, priority) = (rng.random_range(1..8), rng.random_range(1..3));
    let request = match order {
        Some(order) => bought(&format!("{user}-{order}"), n, user, amount),
        None => grant(&format!("{user}-{n}"), user, amount, 0),
    };
    let request = pb::CreateGrantRequest {
        priority,
        expires_at: ends.map(|days| prost_types::Timestamp {
            seconds: model.midnight + days * DAY,
            nanos: 0,
        }),
        ..request
    };
    let id = request.grant_id.clone();
    quota.create_grant(request).await.unwrap();
    model.grants.push(Grant {
        id,
        priority,
        ends,
        over: false,
        order,
        free: amount,
        spent: 0,
        lost: 0,
        taken: 0,
        owed: 0,
    });
}

/// Does random operations of one user.
async fn play(quota: &Quota, seed: u64, operations: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let user = UserId::new();
    let mut model = Model {
        midnight: in_seconds(DAY).unwrap().seconds / DAY * DAY,
        ..Model::default()
    };
    create(quota, &mut model, &mut rng, user, 0).await;
    for n in 1..operations {
        let live: Vec<TaskId> = model
            .tasks
            .iter()
            .filter_map(|(id, (task, _))| (*task == Task::Live).then_some(*id))
            .collect();
        match (rng.random_range(0..16), live.choose(&mut rng).copied()) {
            (0..3, _) => create(quota, &mut model, &mut rng, user, n).await,
            (3..8, _) => {
                let (task, amount) = (TaskId::new(), rng.random_range(1..9));
                let made = quota.reserve(user, task, amount).await.is_ok();
                assert_eq!(made, model.reserve(task, amount), "seed {seed}, operation {n}");
            }
            (8..10, Some(task)) => {
                let amount = quota.reservation(task).await.unwrap().amount;
                let consumed = rng.random_range(1..=amount);
                quota.confirm_part(task, consumed).await.unwrap();
                model.end(task, consumed);
            }
            (10..12, Some(task)) => {
                quota.cancel(task).await.unwrap();
                model.end(task, 0);
            }
            (12, Some(task)) => {
                quota.run_out(task).await;
                quota.cancel(task).await.unwrap();
                model.end(task, 0);
            }
            (13, _) => {
                let at = rng.random_range(0..model.grants.len());
                if !model.grants[at].over {
                    quota.end_grant(&model.grants[at].id).await;
                    model.grants[at].over = true;
                    model.grants[at].ends = Some(i64::from(n) - 1_000_000);
                }
            }
            (14.., _) => {
                let (order, amount) = (rng.random_range(0..2), rng.random_range(1..12));
                let id = format!("{user}-{n}");
                for _ in 0..rng.random_range(1..3) {
                    let source = format!("{user}-{order}");
                    quota.claw_back(user, &source, &id, amount).await.unwrap();
                }
                model.claw_back(order, amount);
            }
            _ => continue,
        }
        assert_eq!(
            shown(quota, user).await,
            model.shown(),
            "seed {seed}, operation {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_unit_is_where_the_model_has_it() {
    let f = Fixture::new().await;
    let first: u64 = rand::random();
    join_all((0..16).map(|n| play(&f.quota, first.wrapping_add(n), 60))).await;
    f.quota.assert_no_drift().await;
}
