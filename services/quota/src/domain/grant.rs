//! Grants: what for, where from, and until when.

use chrono::{DateTime, Utc};
use ids::UserId;

use super::{Amount, ChosenId, printable};
use crate::error::Error;

const MAX_PRIORITY: i32 = 1_000_000;
const DEFAULT_PRIORITY: i32 = 100;
/// Longest type of a source, in bytes.
const MAX_TYPE_BYTES: usize = 32;
/// Last line of a source: a clawback reads all of them at once.
const MAX_LINE: u32 = 999;

/// Reads the id of a grant.
pub(crate) fn grant_id(text: String) -> Result<ChosenId, Error> {
    ChosenId::new("grant_id", text)
}

/// What quota was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantKind {
    Purchase,
    Membership,
    TopUp,
    Bonus,
    Admin,
}

impl GrantKind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Purchase,
        Self::Membership,
        Self::TopUp,
        Self::Bonus,
        Self::Admin,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Membership => "membership",
            Self::TopUp => "top_up",
            Self::Bonus => "bonus",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Place in the order of burning: lower is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priority(i32);

impl Priority {
    /// Reads a priority whose absence (0) means 100.
    pub(crate) fn new(priority: i32) -> Result<Self, Error> {
        match priority {
            0 => Ok(Self(DEFAULT_PRIORITY)),
            1..=MAX_PRIORITY => Ok(Self(priority)),
            _ => Err(Error::Invalid {
                field: "priority",
                problem: "must be 0 to 1,000,000",
            }),
        }
    }

    pub(crate) const fn get(self) -> i32 {
        self.0
    }
}

/// Why something was granted, for people; at most 200 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Note(String);

impl Note {
    pub(crate) fn new(text: String) -> Result<Self, Error> {
        if printable(&text) {
            Ok(Self(text))
        } else {
            Err(Error::Invalid {
                field: "note",
                problem: "must be at most 200 characters, none of them a control character",
            })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What makes grants due, for example an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    kind: String,
    id: ChosenId,
}

impl Source {
    pub(crate) fn new(kind: String, id: String) -> Result<Self, Error> {
        let mut bytes = kind.bytes();
        let named = kind.len() <= MAX_TYPE_BYTES
            && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !named {
            return Err(Error::Invalid {
                field: "source_type",
                problem: "must be a letter, then letters, digits and underscores, lower case, at most 32",
            });
        }
        Ok(Self {
            kind,
            id: ChosenId::new("source_id", id)?,
        })
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// One of the grants that a source makes due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) source: Source,
    pub(crate) number: i32,
}

impl Line {
    pub(crate) fn new(source: Source, number: u32) -> Result<Self, Error> {
        let in_range = i32::try_from(number).ok().filter(|_| number <= MAX_LINE);
        let number = in_range.ok_or(Error::Invalid {
            field: "line",
            problem: "must be 0 to 999",
        })?;
        Ok(Self { source, number })
    }
}

/// A grant to be made.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) grant_id: ChosenId,
    pub(crate) user_id: UserId,
    pub(crate) amount: Amount,
    pub(crate) kind: GrantKind,
    pub(crate) priority: Priority,
    /// In whole microseconds, as it is stored. May be over: a late grant still tells where its quota went.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) line: Option<Line>,
    pub(crate) note: Note,
}

/// A grant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredGrant {
    /// Rises with every grant.
    pub(crate) seq: i64,
    pub(crate) grant_id: String,
    pub(crate) user_id: UserId,
    pub(crate) kind: GrantKind,
    pub(crate) amount: i64,
    pub(crate) remaining: i64,
    pub(crate) expired: i64,
    /// What clawbacks want.
    pub(crate) revoked: i64,
    /// What clawbacks have.
    pub(crate) clawed_back: i64,
    pub(crate) priority: i32,
    pub(crate) line: Option<(String, String, i32)>,
    pub(crate) note: String,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
}

impl StoredGrant {
    /// Returns what is reserved or consumed.
    pub(crate) const fn used(&self) -> i64 {
        self.amount - self.remaining - self.expired - self.clawed_back
    }

    /// Names the first field in which a grant of the same id is not the same. Notes may differ.
    pub(crate) fn differs(&self, wanted: &Grant) -> Option<&'static str> {
        let line = wanted.line.as_ref();
        let same_line = match (&self.line, line) {
            (None, None) => true,
            (Some((kind, id, number)), Some(line)) => {
                kind == line.source.kind() && id == line.source.id() && *number == line.number
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        [
            ("user_id", self.user_id == wanted.user_id),
            ("amount", self.amount == wanted.amount.get()),
            ("kind", self.kind == wanted.kind),
            ("priority", self.priority == wanted.priority.get()),
            ("expires_at", self.expires_at == wanted.expires_at),
            ("source", same_line),
        ]
        .into_iter()
        .find_map(|(field, same)| (!same).then_some(field))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn priorities_notes_and_lines_have_bounds() {
        assert_eq!(Priority::new(0).unwrap().get(), 100);
        assert_eq!(Priority::new(7).unwrap().get(), 7);
        assert!(Priority::new(-1).is_err() && Priority::new(1_000_001).is_err());
        assert_eq!(Note::new("充值".to_owned()).unwrap().as_str(), "充值");
        assert!(Note::new("x".repeat(201)).is_err() && Note::new("a\nb".to_owned()).is_err());
        let source = Source::new("order".to_owned(), "ORD1".to_owned()).unwrap();
        assert_eq!(Line::new(source.clone(), 999).unwrap().number, 999);
        assert!(Line::new(source.clone(), 1_000).is_err() && Line::new(source, u32::MAX).is_err());
    }

    #[test]
    fn a_different_grant_is_told_by_its_first_different_field() {
        let line = |number| Line {
            source: Source::new("order".to_owned(), "ORD1".to_owned()).unwrap(),
            number,
        };
        let wanted = Grant {
            grant_id: grant_id("g".to_owned()).unwrap(),
            user_id: UserId::new(),
            amount: Amount::new(5).unwrap(),
            kind: GrantKind::TopUp,
            priority: Priority::new(0).unwrap(),
            expires_at: Some(DateTime::UNIX_EPOCH),
            line: Some(line(3)),
            note: Note::default(),
        };
        let stored = StoredGrant {
            seq: 1,
            grant_id: "g".to_owned(),
            user_id: wanted.user_id,
            kind: GrantKind::TopUp,
            amount: 5,
            remaining: 0,
            expired: 0,
            revoked: 0,
            clawed_back: 0,
            priority: 100,
            line: Some(("order".to_owned(), "ORD1".to_owned(), 3)),
            note: "another".to_owned(),
            expires_at: Some(DateTime::UNIX_EPOCH),
            created_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(stored.differs(&wanted), None);
        let with = |change: fn(&mut Grant)| {
            let mut other = wanted.clone();
            change(&mut other);
            stored.differs(&other)
        };
        assert_eq!(with(|g| g.user_id = UserId::new()), Some("user_id"));
        assert_eq!(with(|g| g.amount = Amount(6)), Some("amount"));
        assert_eq!(with(|g| g.kind = GrantKind::Bonus), Some("kind"));
        assert_eq!(with(|g| g.priority = Priority(1)), Some("priority"));
        assert_eq!(with(|g| g.expires_at = None), Some("expires_at"));
        assert_eq!(with(|g| g.line = None), Some("source"));
        let other = Grant {
            line: Some(line(4)),
            ..wanted.clone()
        };
        assert_eq!(stored.differs(&other), Some("source"));
    }

    proptest! {
        #[test]
        fn a_source_is_taken_as_the_database_takes_it_or_refused(kind in ".{0,34}|[a-z][a-z0-9_]{0,33}", id in ".{0,210}") {
            let first = kind.chars().next().is_some_and(|c| c.is_ascii_lowercase());
            let rest = kind.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let good_id = (1..=200).contains(&id.chars().count()) && !id.chars().any(char::is_control);
            let source = Source::new(kind.clone(), id.clone());
            prop_assert_eq!(source.is_ok(), first && rest && kind.len() <= 32 && good_id);
            if let Ok(source) = source {
                prop_assert_eq!((source.kind(), source.id()), (kind.as_str(), id.as_str()));
            }
        }
    }
}
