//! Calls that are made again: of methods that may be called twice, while it is not known what became of the first call.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::error::{Reason, info};

/// Calls after the first that may fail; with the pauses between them 0.6 s. An instance that ends or dies is replaced by another
/// one within that, and a service that is away altogether is told of soon.
const REPEATS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Makes a call again until its answer will do, within `bound`; `call` is told how much of it is left.
///
/// The call must mean the same each time: it carries a key under which it has one effect. It is repeated if it cannot be known
/// what became of it (the connection broke, the process that was called ends or misses its database), at most five times, and if
/// its answer will not do yet, as often as fits: a process that ends answers those who wait before their time.
///
/// # Errors
/// The last one. What the service says about the request or its caller is not asked for again.
pub async fn until_answered<T, C: Future<Output = Result<T, Status>>>(
    bound: Duration,
    mut call: impl FnMut(Duration) -> C,
    will_do: impl Fn(&T) -> bool,
) -> Result<T, Status> {
    let until = Instant::now() + bound;
    let (mut pause, mut failures) = (FIRST_PAUSE, 0);
    let mut left = bound;
    loop {
        let answer = call(left).await;
        left = until.saturating_duration_since(Instant::now() + pause);
        let last = left.is_zero();
        match answer {
            Ok(answer) if last || will_do(&answer) => return Ok(answer),
            Ok(_) => {}
            Err(status) if last || failures == REPEATS || !is_open(&status) => return Err(status),
            Err(_) => failures += 1,
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Tells whether a status leaves open what became of the call, and another call may tell.
fn is_open(status: &Status) -> bool {
    match info(status) {
        Some(info) => info.reason == Reason::Unavailable.name(),
        // Not from a service of ours, but from the connection or what is in between.
        None => matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    /// Calls with these answers, each after so many milliseconds; returns what came of it, the calls and the time.
    async fn play(
        answers: Vec<(u64, Result<bool, Status>)>,
    ) -> (Result<bool, Status>, Vec<Duration>, Duration) {
        let mut answers = VecDeque::from(answers);
        let (mut told, began) = (Vec::new(), Instant::now());
        let call = |left| {
            told.push(left);
            let (takes, answer) = answers.pop_front().expect("a call too many");
            async move {
                sleep(Duration::from_millis(takes)).await;
                answer
            }
        };
        let result = until_answered(BOUND, call, |done| *done).await;
        (result, told, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_connection_is_no_answer_and_a_refusal_is_one() {
        let broken = || Err(Status::unknown("transport error"));
        let away = || Err(Reason::Unavailable.status("saga.evenkeel", "ask again"));
        let (result, told, took) = play(vec![(5, broken()), (5, away()), (5, Ok(true))]).await;
        assert!(result.unwrap());
        assert_eq!(told.len(), 3);
        assert!(told.is_sorted_by(|a, b| a > b), "each has less time: {told:?}");
        assert_eq!(took, Duration::from_millis(5 + 20 + 5 + 40 + 5));

        let refused = Reason::SagaInputMismatch.status("saga.evenkeel", "another input");
        let (result, told, _) = play(vec![(5, Err(refused))]).await;
        assert_eq!(result.unwrap_err().code(), Code::AlreadyExists);
        assert_eq!(told.len(), 1);
        for last in [Status::deadline_exceeded("late"), Status::unauthenticated("who?")] {
            assert_eq!(play(vec![(5, Err(last))]).await.1.len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_away_altogether_is_told_within_a_second() {
        let away = || (1, Err(Status::unavailable("connection refused")));
        let (result, told, took) = play((0..6).map(|_| away()).collect()).await;
        assert_eq!(result.unwrap_err().code(), Code::Unavailable);
        assert_eq!(told.len(), 6);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_before_its_time_is_asked_for_again_and_the_last_one_counts() {
        let (result, told, took) = play(vec![(3_000, Ok(false)), (1_000, Ok(true))]).await;
        assert!(result.unwrap());
        assert_eq!(told[1], BOUND - Duration::from_millis(3_020));
        assert_eq!(took, Duration::from_millis(4_020));
        // The wait is over: this is the answer.
        let (result, told, _) = play(vec![(10_000, Ok(false))]).await;
        assert!(!result.unwrap());
        assert_eq!(told.len(), 1);
    }
}
