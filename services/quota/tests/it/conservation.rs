//! Random operations of several users at once, compared with a model where they are alone, and with `drift` always.

use std::collections::HashMap;

use futures::future::join_all;
use ids::{TaskId, UserId};
use proto::quota::v1::ReservationState;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tonic::Status;

use crate::support::{Fixture, Quota, grant, reason};

/// What one user should have.
#[derive(Default)]
struct Model {
    granted: i64,
    tasks: HashMap<TaskId, Task>,
}

#[derive(Clone, Copy, PartialEq)]
enum Task {
    Marked,
    Held(i64, ReservationState),
}

impl Model {
    fn sum(&self, wanted: ReservationState) -> i64 {
        self.tasks
            .values()
            .map(|task| match task {
                Task::Held(amount, state) if *state == wanted => *amount,
                Task::Held(..) | Task::Marked => 0,
            })
            .sum()
    }

    fn balance(&self) -> [i64; 4] {
        let (reserved, consumed) = (
            self.sum(ReservationState::Reserved),
            self.sum(ReservationState::Confirmed),
        );
        [
            self.granted,
            self.granted - reserved - consumed,
            reserved,
            consumed,
        ]
    }

    /// Reserves; returns the reason of the refusal that is due.
    fn reserve(&mut self, id: TaskId, wanted: i64) -> Option<&'static str> {
        match self.tasks.get(&id).copied() {
            Some(Task::Marked) => Some("RESERVATION_CANCELLED"),
            Some(Task::Held(amount, _)) if amount != wanted => Some("RESERVATION_MISMATCH"),
            Some(Task::Held(_, ReservationState::Cancelled)) => Some("RESERVATION_CANCELLED"),
            Some(Task::Held(..)) => None,
            None if self.balance()[1] < wanted => Some("QUOTA_INSUFFICIENT"),
            None => {
                self.tasks
                    .insert(id, Task::Held(wanted, ReservationState::Reserved));
                None
            }
        }
    }

    fn confirm(&mut self, id: TaskId) -> Option<&'static str> {
        match self.tasks.get(&id).copied() {
            None => Some("RESERVATION_NOT_FOUND"),
            Some(Task::Marked | Task::Held(_, ReservationState::Cancelled)) => Some("RESERVATION_CANCELLED"),
            Some(Task::Held(amount, _)) => {
                self.tasks
                    .insert(id, Task::Held(amount, ReservationState::Confirmed));
                None
            }
        }
    }

    fn cancel(&mut self, id: TaskId) -> Option<&'static str> {
        match self.tasks.get(&id).copied() {
            None => {
                self.tasks.insert(id, Task::Marked);
                None
            }
            Some(Task::Held(_, ReservationState::Confirmed)) => Some("RESERVATION_CONFIRMED"),
            Some(Task::Held(amount, _)) => {
                self.tasks
                    .insert(id, Task::Held(amount, ReservationState::Cancelled));
                None
            }
            Some(Task::Marked) => None,
        }
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> Option<String> {
    answer.is_err().then(|| reason(answer))
}

/// Does random operations of one user, who is alone with its tasks.
async fn play(quota: &Quota, seed: u64, operations: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (user, mut model) = (UserId::new(), Model::default());
    model.granted = 20;
    quota.grant(user, 20, 0).await;
    let tasks: Vec<TaskId> = (0..12).map(|_| TaskId::new()).collect();
    for n in 0..operations {
        let task = *tasks.choose(&mut rng).unwrap();
        match rng.random_range(0..10) {
            0 => {
                let amount = rng.random_range(1..10);
                let id = format!("{user}-{n}");
                let priority = rng.random_range(0..4);
                model.granted += amount;
                for _ in 0..rng.random_range(1..3) {
                    quota
                        .create_grant(grant(&id, user, amount, priority))
                        .await
                        .unwrap();
                }
            }
            1..5 => {
                let amount = rng.random_range(1..9);
                let found = refused(quota.reserve(user, task, amount).await);
                assert_eq!(
                    found.as_deref(),
                    model.reserve(task, amount),
                    "seed {seed}, operation {n}"
                );
            }
            5..8 => {
                let found = refused(quota.confirm(task).await);
                assert_eq!(
                    found.as_deref(),
                    model.confirm(task),
                    "seed {seed}, operation {n}"
                );
            }
            _ => {
                let found = refused(quota.cancel(task).await);
                assert_eq!(found.as_deref(), model.cancel(task), "seed {seed}, operation {n}");
            }
        }
        assert_eq!(
            quota.balance(user).await,
            model.balance(),
            "seed {seed}, operation {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_sequence_of_operations_makes_or_loses_quota() {
    let f = Fixture::new().await;
    let first: u64 = rand::random();
    join_all((0..8).map(|n| play(&f.quota, first.wrapping_add(n), 60))).await;
    f.quota.assert_no_drift().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mixture_of_simultaneous_operations_makes_or_loses_quota() {
    let f = Fixture::new().await;
    let seed: u64 = rand::random();
    let users = [f.user_with(30).await, f.user_with(5).await];
    let tasks: Vec<TaskId> = (0..10).map(|_| TaskId::new()).collect();
    let players = (0..12).map(|player| {
        let (quota, tasks) = (&f.quota, &tasks);
        async move {
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(player));
            for n in 0..25 {
                let (user, task) = (*users.choose(&mut rng).unwrap(), *tasks.choose(&mut rng).unwrap());
                let refusal = match rng.random_range(0..10) {
                    0 => refused(quota.create_grant(grant(&format!("{n}"), user, 3, 0)).await),
                    1..6 => refused(quota.reserve(user, task, rng.random_range(1..4)).await),
                    6..8 => refused(quota.confirm(task).await),
                    _ => refused(quota.cancel(task).await),
                };
                if let Some(reason) = refusal {
                    let known = [
                        "GRANT_MISMATCH",
                        "QUOTA_INSUFFICIENT",
                        "RESERVATION_CANCELLED",
                        "RESERVATION_CONFIRMED",
                        "RESERVATION_MISMATCH",
                        "RESERVATION_NOT_FOUND",
                    ];
                    assert!(known.contains(&reason.as_str()), "seed {seed}: {reason}");
                }
            }
        }
    });
    join_all(players).await;
    assert_eq!(quota::drift(&f.quota.pool).await.unwrap(), [], "seed {seed}");
}
