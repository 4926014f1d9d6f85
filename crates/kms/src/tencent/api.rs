//! Calls of the service: which may be repeated, and what their failures mean.

use std::time::Duration;

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tencent_cloud::{Client, Failure};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::error::{Error, Unavailable};

/// How long the key service is waited for, and what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For an operation, with its repetitions and its wait for a turn.
    pub operation: Duration,
    /// Calls of an operation, the first included. Every action may be repeated: none changes anything in the service.
    pub calls: u32,
    /// Longest pause before the first repetition; twice as long before each further one.
    pub pause: Duration,
    /// Calls in flight at once; the others wait for their turn.
    pub at_once: usize,
    /// Unwrapped data keys that are remembered: about 150 bytes each.
    pub remembered: usize,
    /// How long they are remembered, from when they were unwrapped. So long does what was read shortly before still open
    /// when the service is away, or when the master key was disabled.
    pub remembered_for: Duration,
}

impl Default for Patience {
    /// 5 s, 3 calls, 100 ms, 32 at once, 10,000 keys for 5 minutes.
    fn default() -> Self {
        Self {
            operation: Duration::from_secs(5),
            calls: 3,
            pause: Duration::from_millis(100),
            at_once: 32,
            remembered: 10_000,
            remembered_for: Duration::from_secs(5 * 60),
        }
    }
}

/// The service, and how many may ask it at once.
pub(super) struct Api {
    pub(super) client: Client,
    patience: Patience,
    turns: Semaphore,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateDataKey<'a> {
    pub(super) key_id: &'a str,
    pub(super) key_spec: &'static str,
    pub(super) encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Encrypt<'a> {
    pub(super) key_id: &'a str,
    pub(super) plaintext: Zeroizing<String>,
    pub(super) encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Decrypt<'a> {
    pub(super) ciphertext_blob: &'a str,
    pub(super) encryption_context: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReEncrypt<'a> {
    pub(super) ciphertext_blob: &'a str,
    pub(super) destination_key_id: &'a str,
    pub(super) source_encryption_context: &'a str,
    pub(super) destination_encryption_context: &'a str,
}

/// What all of these answer; each has some of the fields.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    pub(super) key_id: String,
    #[serde(default)]
    pub(super) plaintext: Zeroizing<String>,
    #[serde(default)]
    pub(super) ciphertext_blob: String,
}

impl Api {
    pub(super) fn new(client: Client, patience: Patience) -> Self {
        Self {
            client,
            patience,
            turns: Semaphore::new(patience.at_once),
        }
    }

    /// Calls an action, again if that may help, within the time of an operation.
    pub(super) async fn call(&self, action: &'static str, request: &impl Serialize) -> Result<Answer, Error> {
        let limit = self.patience.operation;
        let late = |_| Error::Unavailable(Unavailable::Late(limit));
        let outcome = tokio::time::timeout(limit, self.repeat(action, request)).await;
        let outcome = outcome.map_err(late).flatten();
        if let Err(Error::Unavailable(cause)) = &outcome {
            tracing::debug!(action, %cause, "the key service is not available");
        }
        outcome
    }

    async fn repeat(&self, action: &str, request: &impl Serialize) -> Result<Answer, Error> {
        let Patience { calls, pause, .. } = self.patience;
        let mut attempts = 0;
        loop {
            attempts += 1;
            // A turn for each call: who pauses does not keep others waiting.
            let turn = self.turns.acquire().await;
            let outcome = self.client.call(action, request).await;
            drop(turn);
            let last = match outcome {
                Ok(answer) => return Ok(answer),
                Err(last) => last,
            };
            match verdict(&last) {
                Verdict::Away if attempts >= calls => {
                    return Err(Error::Unavailable(Unavailable::Call { attempts, last }));
                }
                Verdict::Away => {}
                Verdict::Damaged => return Err(Error::Damaged),
                Verdict::Refused(code) => return Err(Error::Refused(code)),
            }
            let longest = pause.saturating_mul(2_u32.saturating_pow(attempts - 1));
            // Drawn before the pause: the generator may not be held across it.
            let share: f64 = rand::rng().random();
            tokio::time::sleep(longest.mul_f64(share)).await;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Away,
    Damaged,
    Refused(String),
}

/// Says what a failure means.
///
/// Source: Tencent Cloud, "Error Codes" of the service and of API 3.0.
fn verdict(failure: &Failure) -> Verdict {
    let code = match failure {
        Failure::Unknown(_) => return Verdict::Away,
        Failure::Refused(code) => code.as_str(),
    };
    match code {
        "FailedOperation.DecryptError" | "InvalidParameterValue.InvalidCiphertext" => Verdict::Damaged,
        "FailedOperation" | "UnsupportedOperation.ServiceTemporaryUnavailable" => Verdict::Away,
        busy if busy.starts_with("RequestLimitExceeded") => Verdict::Away,
        other => Verdict::Refused(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tencent_cloud::Doubt;

    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let refused = |code: &str| verdict(&Failure::Refused(code.to_owned()));
        for away in [
            "RequestLimitExceeded",
            "RequestLimitExceeded.UinLimitExceeded",
            "UnsupportedOperation.ServiceTemporaryUnavailable",
        ] {
            assert_eq!(refused(away), Verdict::Away, "{away}");
        }
        assert_eq!(verdict(&Failure::Unknown(Doubt::Status(502))), Verdict::Away);
        assert_eq!(refused("FailedOperation.DecryptError"), Verdict::Damaged);
        for code in [
            "ResourceUnavailable.CmkDisabled",
            "AuthFailure.SignatureExpire",
            "UnauthorizedOperation",
        ] {
            assert_eq!(refused(code), Verdict::Refused(code.to_owned()));
        }
    }
}
