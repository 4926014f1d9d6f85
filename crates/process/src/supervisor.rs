//! Background tasks that must not die unseen.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::task::TaskTracker;

use crate::Shutdown;
use crate::exit::{EXIT_SOFTWARE, Failure};

/// First pause before a failed job is run again; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs background tasks until the order to end. A task that panics, fails or ends early is logged; a service task then
/// ends the process, a job is run again.
#[derive(Debug, Clone)]
pub struct Supervisor {
    shutdown: Shutdown,
    tasks: TaskTracker,
    failed: Arc<Mutex<Option<String>>>,
}

impl Supervisor {
    /// Makes a supervisor whose tasks live until `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            tasks: TaskTracker::new(),
            failed: Arc::default(),
        }
    }

    /// Returns the order to end.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs a task the process cannot do without, such as a listener. If it panics, fails, or ends before the order to
    /// end, that order is given and [`wait`](Self::wait) returns a failure.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        let this = self.clone();
        self.tasks.spawn(async move {
            let problem = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) if this.shutdown.is_requested() => return,
                Ok(Ok(())) => "ended although nobody asked it to".to_owned(),
                Ok(Err(error)) => format!("failed: {}", Chain(&error)),
                Err(panic) => format!("panicked: {}", panic_text(&*panic)),
            };
            tracing::error!(
                task = name,
                problem,
                "a task the process needs has ended; shutting down"
            );
            this.failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| format!("task {name} {problem}"));
            this.shutdown.trigger();
        });
    }

    /// Runs a job that may be started anew, such as a sweep. If it panics, fails or ends it is run again after a pause of
    /// 1 s, doubled up to 30 s while it keeps failing. It is dropped at the order to end.
    pub fn spawn_job<M, F, E>(&self, name: &'static str, mut make: M)
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send,
        E: Error + Send + 'static,
    {
        let stop = self.shutdown.token();
        self.tasks.spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let begun = tokio::time::Instant::now();
                // The call itself may panic as well as the future, hence the async block.
                let job = AssertUnwindSafe(async { make().await }).catch_unwind();
                let Some(outcome) = stop.run_until_cancelled(job).await else {
                    return;
                };
                match outcome {
                    Ok(Ok(())) => tracing::debug!(task = name, "job ended; running it again"),
                    Ok(Err(error)) => tracing::error!(task = name, error = %Chain(&error), "job failed"),
                    Err(panic) => tracing::error!(task = name, panic = panic_text(&*panic), "job panicked"),
                }
                if begun.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                if stop
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_none()
                {
                    return;
                }
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        });
    }

    /// Waits for the order to end, then for all tasks, at most until the drain time is over (plus 2 s, in which they
    /// should notice).
    ///
    /// # Errors
    /// A task the process needs had ended by itself.
    pub async fn wait(&self) -> Result<(), Failure> {
        self.shutdown.requested().await;
        self.tasks.close();
        let late = self.shutdown.drain() + Duration::from_secs(2);
        if tokio::time::timeout(late, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "tasks still run after the drain time; leaving them"
            );
        }
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(problem) => Err(Failure::new(EXIT_SOFTWARE, problem)),
            None => Ok(()),
        }
    }
}

/// Returns the message of a panic.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// Writes an error and its causes.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn supervisor() -> (Shutdown, Supervisor) {
        let shutdown = Shutdown::new(Duration::from_secs(1));
        (shutdown.clone(), Supervisor::new(shutdown))
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_a_needed_task_ends_the_process() {
        let (_, supervisor) = supervisor();
        supervisor.spawn("engine", async {
            assert!(std::hint::black_box(false), "broken invariant");
            Ok::<_, io::Error>(())
        });
        let failure = supervisor.wait().await.unwrap_err();
        assert_eq!(failure.code(), EXIT_SOFTWARE);
        assert_eq!(failure.to_string(), "task engine panicked: broken invariant");
    }

    #[tokio::test(start_paused = true)]
    async fn a_needed_task_that_ends_early_is_a_failure_and_after_the_order_is_not() {
        let (_, early) = supervisor();
        early.spawn("listener", async { Ok::<_, io::Error>(()) });
        assert!(
            early
                .wait()
                .await
                .unwrap_err()
                .to_string()
                .contains("nobody asked")
        );

        let (shutdown, supervisor) = supervisor();
        let stop = shutdown.clone();
        supervisor.spawn("listener", async move {
            stop.requested().await;
            Ok::<_, io::Error>(())
        });
        shutdown.trigger();
        supervisor.wait().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_panics_or_fails_runs_again() {
        let (shutdown, supervisor) = supervisor();
        let (runs, stop) = (Arc::new(AtomicU32::new(0)), shutdown.clone());
        let counted = Arc::clone(&runs);
        supervisor.spawn_job("sweep", move || {
            let (run, stop) = (counted.fetch_add(1, Ordering::SeqCst), stop.clone());
            async move {
                match run {
                    0 => panic!("first"),
                    1 => Err(io::Error::other("second")),
                    2 => Ok(()),
                    _ => {
                        stop.trigger();
                        std::future::pending().await
                    }
                }
            }
        });
        supervisor.wait().await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_left_after_the_drain_time() {
        let (shutdown, supervisor) = supervisor();
        supervisor.spawn("stuck", std::future::pending::<Result<(), io::Error>>());
        let begun = tokio::time::Instant::now();
        shutdown.trigger();
        supervisor.wait().await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
