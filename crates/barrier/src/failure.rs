//! Which reason a failure is answered with.

use std::error::Error;
use std::fmt::Write as _;

use rpc::error::Reason;

/// Returns `UNAVAILABLE` if the cause may pass by itself, else `INTERNAL`.
///
/// What may pass: no connection to the database, no free connection in the pool, a server that starts, stops or is
/// out of resources, a cancelled statement, a serialization failure, a deadlock, a lock that was not to be had.
/// Looks for a [`sqlx::Error`] in the whole chain of causes.
#[must_use]
pub fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return if may_pass(error) {
                Reason::Unavailable
            } else {
                Reason::Internal
            };
        }
        cause = error.source();
    }
    Reason::Internal
}

/// Returns the whole chain of causes on one line, for the log.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx::Error is non-exhaustive; what is not listed is a defect"
)]
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| state_may_pass(&code)),
        _ => false,
    }
}

/// Judges an SQLSTATE (Postgres manual, appendix A).
fn state_may_pass(code: &str) -> bool {
    // 08 connection, 40 rollback (serialization, deadlock), 53 resources, 57 operator intervention, 58 system.
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    // 25006: read-only, as a standby is before its promotion. 55P03: lock not available.
    const CODES: [&str; 2] = ["25006", "55P03"];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the account is not readable")]
    struct Wrapped(#[source] sqlx::Error);

    #[test]
    fn a_cause_deep_in_the_chain_decides() {
        assert_eq!(reason(&Wrapped(sqlx::Error::PoolTimedOut)), Reason::Unavailable);
        assert_eq!(reason(&Wrapped(sqlx::Error::RowNotFound)), Reason::Internal);
        assert_eq!(reason(&std::fmt::Error), Reason::Internal);
    }

    #[test]
    fn the_log_has_every_cause() {
        let text = chain(&Wrapped(sqlx::Error::PoolClosed));
        assert!(text.starts_with("the account is not readable: "), "{text}");
    }

    #[test]
    fn only_passing_states_are_unavailable() {
        for code in [
            "08006", "40001", "40P01", "53300", "57P01", "57014", "25006", "55P03",
        ] {
            assert!(state_may_pass(code), "{code}");
        }
        for code in ["23505", "23514", "42P01", "25P02", "XX000", "22003"] {
            assert!(!state_may_pass(code), "{code}");
        }
    }
}
