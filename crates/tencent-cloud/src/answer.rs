//! How a call ends.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longest code that is passed on, in characters.
const MAX_CODE_CHARS: usize = 100;

/// A call without the answer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The API refuses: no effect. The code, letters, digits and dots only, at most 100.
    #[error("the API refuses: {0}")]
    Refused(String),
    /// It may have happened or not.
    #[error("unknown: {0}")]
    Unknown(Doubt),
}

/// Why nobody knows what became of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// No connection: the request never left.
    #[error("no connection: {0}")]
    NotSent(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke, or the answer did not follow the rules of HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer has more bytes than are read.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// An HTTP status that is no success. The API itself answers 200, also when it refuses.
    #[error("HTTP {0}")]
    Status(u16),
    /// The answer is not the API's, or a field of it is absent.
    #[error("the answer is not the API's")]
    Malformed,
    /// The API says that it does not know: `InternalError`.
    #[error("the API fails: {0}")]
    Internal(String),
}

impl From<Doubt> for Failure {
    fn from(doubt: Doubt) -> Self {
        Self::Unknown(doubt)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<T> {
    response: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refused {
    error: Option<Problem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Problem {
    code: String,
}

/// Reads the answer of a call.
///
/// # Errors
/// The answer is a code of the API, or not what was asked for.
pub fn answer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // What the parser has to say is not passed on: it quotes the answer.
    let read: Envelope<Refused> = serde_json::from_slice(bytes).map_err(|_| Doubt::Malformed)?;
    match read.response.error {
        Some(problem) => Err(refused(&problem.code)),
        None => serde_json::from_slice(bytes)
            .map(|read: Envelope<T>| read.response)
            .map_err(|_| Doubt::Malformed.into()),
    }
}

/// The code goes to logs: only what codes are made of.
fn refused(code: &str) -> Failure {
    let code: String = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .take(MAX_CODE_CHARS)
        .collect();
    if code.starts_with("InternalError") {
        Doubt::Internal(code).into()
    } else {
        Failure::Refused(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Asked {
        key_id: String,
    }

    fn of(json: &str) -> Result<String, Failure> {
        answer::<Asked>(json.as_bytes()).map(|asked| asked.key_id)
    }

    #[test]
    fn an_answer_a_refusal_and_nonsense_are_told_apart() {
        assert_eq!(
            of(r#"{"Response":{"KeyId":"k","RequestId":"r"}}"#),
            Ok("k".to_owned())
        );
        let error = |code: &str| format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}}}}}}"#);
        assert_eq!(
            of(&error("AuthFailure.SignatureFailure")),
            Err(Failure::Refused("AuthFailure.SignatureFailure".to_owned()))
        );
        assert_eq!(
            of(&error("InternalError.Timeout")),
            Err(Failure::Unknown(Doubt::Internal(
                "InternalError.Timeout".to_owned()
            )))
        );
        for nonsense in [
            "",
            "<html>",
            "{}",
            r#"{"Response":{}}"#,
            r#"{"Response":{"KeyId":7}}"#,
        ] {
            assert_eq!(
                of(nonsense),
                Err(Failure::Unknown(Doubt::Malformed)),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_code_is_passed_on_without_what_codes_are_not_made_of() {
        let json = format!(
            r#"{{"Response":{{"Error":{{"Code":"A.b\n{}+/=","Message":"m"}}}}}}"#,
            "x".repeat(200)
        );
        assert_eq!(of(&json), Err(Failure::Refused(format!("A.b{}", "x".repeat(97)))));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = answer::<Asked>(&bytes);
        }
    }
}
