//! Postgres restarted in order, and killed, under three orchestrators and everybody else.

use std::time::{Duration, Instant};

use private_postgres::{Config, PrivatePostgres};
use test_support::{Scratch, Signal, TestDatabase, eventually, signal};

use e2e::LONG;

use crate::fleet::{Fleet, Reach};
use crate::journal;
use crate::lasts;
use crate::load::{self, Load};
use crate::table::Row;

/// Times of each fault.
const TIMES: usize = 3;
/// How long the server stays away after it has ended.
const AWAY: Duration = Duration::from_secs(3);

fn server(scratch: &Scratch, port: Option<u16>) -> Config {
    Config {
        port,
        max_connections: 300,
        ..Config::new(scratch.postgres_dir())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_postgres_was_restarted_or_killed_everything_goes_on_and_nobody_is_taken_over() {
    let _machine = crate::beside_others().await;
    let scratch = Scratch::new().expect("a directory can be made");
    let mut postgres = PrivatePostgres::start(server(&scratch, None))
        .await
        .expect("it starts");
    let port = postgres.port();
    let database = TestDatabase::create_on(&postgres.admin_url(), &[]).await;
    let fleet = Fleet::start_on(database, Reach::Direct).await;
    let load = Load::start(&fleet).await;
    let epochs = fleet.epochs().await;
    let (mut restarted, mut killed) = (Vec::new(), Vec::new());
    for fault in 0..TIMES * 2 {
        fleet.busy().await;
        let kill = fault % 2 == 1;
        if kill {
            signal(postgres.pid(), Signal::Kill);
        }
        postgres.stop().await;
        lasts(Instant::now(), AWAY).await;
        let before = journal::now();
        postgres = PrivatePostgres::start(server(&scratch, Some(port)))
            .await
            .expect("it starts again");
        let back = journal::now();
        let first = eventually(LONG, || journal::first_success(fleet.platform.sql(), before, &[])).await;
        let times = if kill { &mut killed } else { &mut restarted };
        times.push(Duration::from_secs_f64((first - back).max(0.0)));
    }
    let starts = load.settle(&fleet).await;
    assert_eq!(
        fleet.epochs().await,
        epochs,
        "somebody was taken over, or started again"
    );
    let noted = format!("away for {} s and more; {}", AWAY.as_secs(), load::told(&starts));
    Row {
        fault: "Postgres restarted (fast shutdown)",
        from_to: "the server takes connections, first success of a step",
        times: restarted,
        noted: noted.clone(),
    }
    .tell();
    Row {
        fault: "Postgres killed (`SIGKILL` of the postmaster)",
        from_to: "the server takes connections after its recovery, first success of a step",
        times: killed,
        noted,
    }
    .tell();
    drop(fleet);
    postgres.stop().await;
}
