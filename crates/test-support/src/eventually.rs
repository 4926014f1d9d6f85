//! Waiting for a condition instead of for a time.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(10);

/// What a look at the world may answer: `bool`, `Option` or `Result`.
pub trait Answer {
    /// What [`eventually`] returns.
    type Value;

    /// Returns the value if the condition holds, else what is known about why not.
    ///
    /// # Errors
    /// The condition does not hold yet.
    fn answer(self) -> Result<Self::Value, String>;
}

impl Answer for bool {
    type Value = ();

    fn answer(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Answer for Option<T> {
    type Value = T;

    fn answer(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Answer for Result<T, E> {
    type Value = T;

    fn answer(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Looks every 10 ms until `look` answers `true`, `Some` or `Ok`, and returns the value.
///
/// # Panics
/// If that does not happen within `deadline`; the text names the caller's line and the last answer. A look that is in
/// progress at the deadline is abandoned.
#[track_caller]
pub fn eventually<A, F, Fut>(deadline: Duration, mut look: F) -> impl Future<Output = A::Value>
where
    A: Answer,
    F: FnMut() -> Fut,
    Fut: Future<Output = A>,
{
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut last = "no answer at all".to_owned();
        loop {
            // A look that hangs is cut off here; one that answers at once is not, hence the second check.
            match tokio::time::timeout_at(end, look()).await.map(Answer::answer) {
                Ok(Ok(value)) => return value,
                Ok(Err(why)) => last = why,
                Err(_) => {}
            }
            assert!(
                Instant::now() < end,
                "{caller}: not within {deadline:?}; the last answer was: {last}"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_returns_the_first_value() {
        let mut looks = 0;
        let value = eventually(Duration::from_secs(1), || {
            looks += 1;
            let seen = looks;
            async move { (seen == 3).then_some(seen) }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "eventually.rs")]
    async fn it_names_the_line_that_waited() {
        eventually(Duration::from_secs(1), || async { false }).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the last answer was: \"still 3 rows\"")]
    async fn it_tells_the_last_answer() {
        eventually(Duration::from_secs(1), || async { Err::<(), _>("still 3 rows") }).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "no answer at all")]
    async fn a_look_that_hangs_is_abandoned() {
        eventually(Duration::from_secs(1), std::future::pending::<bool>).await;
    }
}
