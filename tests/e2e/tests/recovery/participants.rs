//! A participant killed and started again, and one that hangs.

use std::time::{Duration, Instant};

use test_support::{ChildProcess, Signal, eventually};

use e2e::LONG;

use crate::fleet::{Fleet, Reach};
use crate::journal;
use crate::lasts;
use crate::load::{self, Load};
use crate::table::Row;

/// How long the participant is away.
const AWAY: Duration = Duration::from_secs(4);
/// Times of each fault.
const TIMES: usize = 3;
/// Steps of the quota service in TASK_RUN, by position.
const STEPS: [i16; 2] = [0, 3];

/// From the instant at which the participant is back to its first success.
async fn recovery(fleet: &Fleet, back: f64) -> Duration {
    let db = fleet.platform.sql();
    let first = eventually(LONG, || journal::first_success(db, back, &STEPS)).await;
    Duration::from_secs_f64(first - back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_that_was_killed_or_hung_is_called_again_and_nothing_is_done_twice() {
    let _machine = crate::beside_others().await;
    let mut fleet = Fleet::start(Reach::Direct).await;
    let load = Load::start(&fleet).await;
    let (mut killed, mut hung) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        fleet.busy().await;
        fleet.platform.others[0].signal(Signal::Kill);
        lasts(Instant::now(), AWAY).await;
        let command = fleet.platform.service_command("quota");
        let back = journal::now();
        fleet.platform.others[0] = ChildProcess::spawn(command);
        killed.push(recovery(&fleet, back).await);

        fleet.busy().await;
        fleet.platform.others[0].signal(Signal::Stop);
        lasts(Instant::now(), AWAY).await;
        let back = journal::now();
        fleet.platform.others[0].signal(Signal::Cont);
        hung.push(recovery(&fleet, back).await);
    }
    let starts = load.settle(&fleet).await;
    let noted = format!("away for {} s; {}", AWAY.as_secs(), load::told(&starts));
    Row {
        fault: "participant (quota) killed (`SIGKILL`) and started again",
        from_to: "start of its process, first success of a step of it",
        times: killed,
        noted: noted.clone(),
    }
    .tell();
    Row {
        fault: "participant (quota) hung (`SIGSTOP`, `SIGCONT`)",
        from_to: "it goes on, first success of a step of it",
        times: hung,
        noted,
    }
    .tell();
}
