//! All three orchestrators restarted, one after the other, as a new version is rolled out.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Reach};
use crate::journal;
use crate::lasts;
use crate::load::{self, Load, Start};
use crate::table::{Row, percentile};

const ROUNDS: usize = 4;
/// What p99 of a start may rise by while orchestrators are restarted.
const ADDED: Duration = Duration::from_secs(1);
/// How long an instance is ready before the next is told to end.
const STANDING: Duration = Duration::from_secs(1);
/// How long the load runs before.
const BEFORE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_start_and_hands_every_saga_over() {
    let _machine = crate::alone().await;
    let mut fleet = Fleet::start(Reach::Direct).await;
    let load = Load::start(&fleet).await;
    lasts(Instant::now(), BEFORE).await;
    let rolled = journal::now();
    let (mut handed_over, mut stops) = (Vec::new(), Vec::new());
    let replicas = fleet.replicas.len();
    for number in (0..ROUNDS * replicas).map(|restart| restart % replicas) {
        let name = fleet.replicas[number].name().to_owned();
        stops.push(fleet.end(number).await);
        let ended = journal::now();
        let left = journal::unfinished(fleet.platform.sql(), &name).await;
        fleet.start_replica(number).await;
        load.watch(&fleet);
        handed_over.push((ended, left));
        lasts(Instant::now(), STANDING).await;
    }
    let done = journal::now();
    let starts = load.settle(&fleet).await;
    let (before, during): (Vec<Start>, Vec<Start>) = starts
        .into_iter()
        .filter(|start| start.began <= done)
        .partition(|start| start.began < rolled);
    let told = load::told(&during);
    let failed: Vec<&Start> = during.iter().filter(|start| !start.failures.is_empty()).collect();
    let took = |starts: &[Start]| starts.iter().map(|start| start.took).collect::<Vec<_>>();
    let typical = percentile(&took(&before), 50);
    Row {
        fault: "rolling restart (`SIGTERM`), starts",
        from_to: "what a start took, as its caller saw it",
        times: took(&during),
        noted: format!(
            "{} restarts; {told}; before, p50 was {:.2} s and p99 {:.2} s",
            handed_over.len(),
            typical.as_secs_f64(),
            percentile(&took(&before), 99).as_secs_f64()
        ),
    }
    .tell();
    let mut gaps = Vec::new();
    for (at, sagas) in &handed_over {
        let of_this = journal::gaps(fleet.platform.sql(), sagas, *at).await;
        gaps.extend(of_this.iter().map(journal::Gap::whole));
    }
    let slowest = stops.iter().max().expect("there were stops");
    Row {
        fault: "rolling restart (`SIGTERM`), sagas handed over",
        from_to: "last event of a saga before the end of its process, first one after",
        times: gaps,
        noted: format!("the slowest process took {:.2} s to end", slowest.as_secs_f64()),
    }
    .tell();
    assert!(failed.is_empty(), "starts failed: {failed:?}");
    let p99 = [&before, &during].map(|starts| percentile(&took(starts), 99));
    assert!(
        p99[1] <= p99[0] + ADDED,
        "p99 of starts was {:?} before, {:?} during",
        p99[0],
        p99[1]
    );
}
