//! How a command ends: exit codes, and failures that say what to do next.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Exit codes of the binary. 2 is clap's own for a wrong command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done as asked.
    Ok = 0,
    /// The command ran, and what it was asked for failed or is not true.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong; starting again will not help (EX_USAGE of sysexits).
    Config = 64,
    /// Something needed is not there: a server, a database, the Postgres binaries (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A part the process cannot do without has ended; above all, another process has taken the instance over
    /// (EX_SOFTWARE).
    Fenced = 70,
    /// Somebody else was faster: nothing was done, and what was to be done must be decided again (EX_TEMPFAIL).
    Changed = 75,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Table of exit codes for `evenkeel --help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0   done
  1   failed: refused, not as promised, or ended otherwise than completed
  2   the command line is wrong
  64  the configuration is wrong
  69  something needed is not there: a server, a database, the Postgres binaries
  70  a server has stopped by itself: another process has taken its instance over, or a part of it failed
  75  the saga has changed since it was looked at: nothing was done, look again";

/// Why a command failed, for people: what, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    causes: Vec<String>,
    detail: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// Makes a failure with one sentence of what went wrong.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            detail: None,
            next: None,
        }
    }

    /// Makes a failure of a wrong configuration.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Code::Config, message)
    }

    /// Makes a failure of something absent.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// Makes the silent end of a process whose reader has gone away.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Code::Ok, String::new())
    }

    /// Adds the chain of causes of an error, outermost first.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        self.causes.push(error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Wrappers like to repeat the text of what they wrap.
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// Adds the machine-readable part: code and domain.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Returns the exit code.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// Tells whether there is nothing to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\n  code:  {detail}")?;
        }
        for cause in &self.causes {
            write!(f, "\n  cause: {cause}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next:  {next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let cause = std::io::Error::other("connection refused");
        let failure = Failure::unavailable("no answer from http://127.0.0.1:7101")
            .because(&cause)
            .next("start it: evenkeel dev");
        assert_eq!(
            failure.to_string(),
            "error: no answer from http://127.0.0.1:7101\n  cause: connection refused\n  next:  start it: evenkeel dev"
        );
        assert_eq!(failure.code(), Code::Unavailable);
    }
}
