//! Who gets the money. Not encrypted so far, JSON: this is where it is to be sealed, since operators read inputs of sagas, and
//! backups are read by others.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Longest name of a recipient at a provider, in characters.
const MAX_ID_CHARS: usize = 64;
/// Longest real name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Who gets the money.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payee {
    /// The provider's name for the person: 1 to 64 letters, digits, `_` and `-`.
    id: String,
    /// The person's real name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
}

impl std::fmt::Debug for Payee {
    /// Shows nothing: it is nobody's business who reads logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payee")
    }
}

impl Payee {
    /// Checks a recipient. An empty name is none.
    pub(crate) fn new(id: &str, name: &str) -> Result<Self, Error> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=MAX_ID_CHARS).contains(&id.len()) || !id.chars().all(good) {
            return Err(Error::Invalid {
                field: "recipient",
                problem: "must be 1 to 64 letters, digits, `_` and `-`",
            });
        }
        if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(Error::Invalid {
                field: "recipient_name",
                problem: "must be at most 64 printable characters",
            });
        }
        Ok(Self {
            id: id.to_owned(),
            name: (!name.is_empty()).then(|| name.to_owned()),
        })
    }

    pub(crate) fn recipient(&self) -> pay::Recipient {
        pay::Recipient {
            id: self.id.clone(),
            name: self.name.clone(),
        }
    }
}

/// A sealed [`Payee`].
///
/// It is part of the saga's input, by which a retry is recognised: where the same payee is sealed to other bytes, a retry
/// that comes before the amount is frozen has to wait for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed(pub(super) Vec<u8>);

impl Sealed {
    pub(super) fn seal(payee: &Payee) -> Result<Self, Error> {
        serde_json::to_vec(payee)
            .map(Self)
            .map_err(|_| Error::Broken("a payee cannot be sealed"))
    }

    pub(super) fn open(&self) -> Result<Payee, Error> {
        serde_json::from_slice(&self.0).map_err(|_| Error::Broken("a payee cannot be opened"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payee_is_what_a_provider_takes() {
        assert!(Payee::new("oUpF8uMuAJO_M2pxb1Q9-zNjWeS6o", "").is_ok());
        for (id, name) in [
            ("", ""),
            ("a b", ""),
            ("a/b", ""),
            ("名", ""),
            (&"x".repeat(65), ""),
            ("x", &"名".repeat(65)),
            ("x", "a\nb"),
        ] {
            assert!(Payee::new(id, name).is_err(), "{id} {name}");
        }
    }

    #[test]
    fn what_was_sealed_is_opened_again_and_not_shown() {
        let payee = Payee::new("2088102146225135", "张三").unwrap();
        let sealed = Sealed::seal(&payee).unwrap();
        assert_eq!(sealed, Sealed::seal(&payee).unwrap());
        assert_eq!(sealed.open().unwrap(), payee);
        assert!(!format!("{payee:?}").contains("2088"));
        assert!(Sealed(b"{}".to_vec()).open().is_err());
    }
}
