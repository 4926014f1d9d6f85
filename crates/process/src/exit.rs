//! The outermost frame of a process: runtime, signals, exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crate::Shutdown;
use crate::config::ConfigError;

/// The configuration or the command line is wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_CONFIG: u8 = 64;
/// Something needed is absent, such as Postgres binaries (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// A broken invariant: a panic, or a background task that ended although it must not (`EX_SOFTWARE`).
pub const EXIT_SOFTWARE: u8 = 70;
/// An operation of the system failed, such as binding a port (`EX_OSERR`).
pub const EXIT_OS: u8 = 71;

/// Why a process ends with a code other than 0.
pub struct Failure {
    code: u8,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Makes a failure that ends the process with `code`, 1 to 255.
    pub fn new(code: u8, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code,
            source: source.into(),
        }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    /// Writes the error and its causes, separated by colons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}, {self})", self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(EXIT_CONFIG, error)
    }
}

/// Runs `main` on a multi-threaded runtime with signals wired to a [`Shutdown`] of the given drain time. Prints a failure
/// to stderr and turns it into the exit code.
pub fn run<F, Fut>(drain: Duration, main: F) -> ExitCode
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::new(EXIT_OS, error)),
    };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals(drain).map_err(|error| Failure::new(EXIT_OS, error))?;
        main(shutdown).await
    });
    // A blocking call that hangs must not keep a drained process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_printed_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen")]
        struct Outer(#[source] std::io::Error);
        let failure = Failure::new(EXIT_OS, Outer(std::io::Error::other("port taken")));
        assert_eq!(failure.to_string(), "cannot listen: port taken");
        assert_eq!(failure.code(), 71);
    }
}
