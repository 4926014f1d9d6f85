//! Typed ids: UUIDs with a prefixed text form.
//!
//! An id is a UUID in the database and `<prefix>_<32 hex digits>` everywhere people and other services see it, for
//! example `saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b`. The prefix keeps a task id from being passed where a user id is
//! meant; one word without hyphens is selected by a double click. New ids are UUIDv7 (RFC 9562), so they sort by
//! creation time and insert at the right edge of an index.
//!
//! What it is not: a guarantee that the thing exists.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use uuid::Uuid;

/// Names the kind of thing an [`Id`] identifies.
pub trait Kind: Send + Sync + 'static {
    /// Prefix of the text form, lower case, without the underscore.
    const PREFIX: &'static str;
}

/// Kinds of ids in use.
pub mod kind {
    use super::Kind;

    /// A run of a saga definition.
    #[derive(Debug)]
    pub enum Saga {}
    /// A task of the task service.
    #[derive(Debug)]
    pub enum Task {}
    /// A user account.
    #[derive(Debug)]
    pub enum User {}
    /// An entry of the quota ledger.
    #[derive(Debug)]
    pub enum Entry {}
    /// A message in an outbox.
    #[derive(Debug)]
    pub enum Message {}
    /// An order.
    #[derive(Debug)]
    pub enum Order {}
    /// A payment.
    #[derive(Debug)]
    pub enum Payment {}
    /// A refund.
    #[derive(Debug)]
    pub enum Refund {}
    /// A withdrawal of commission.
    #[derive(Debug)]
    pub enum Withdrawal {}
    /// A case for an operator.
    #[derive(Debug)]
    pub enum Case {}
    /// A delivery of a provider's notification.
    #[derive(Debug)]
    pub enum Receipt {}
    /// A difference between a provider's statement and our books.
    #[derive(Debug)]
    pub enum Difference {}

    impl Kind for Saga {
        const PREFIX: &'static str = "saga";
    }
    impl Kind for Task {
        const PREFIX: &'static str = "task";
    }
    impl Kind for User {
        const PREFIX: &'static str = "user";
    }
    impl Kind for Entry {
        const PREFIX: &'static str = "entry";
    }
    impl Kind for Message {
        const PREFIX: &'static str = "msg";
    }
    impl Kind for Order {
        const PREFIX: &'static str = "order";
    }
    impl Kind for Payment {
        const PREFIX: &'static str = "pay";
    }
    impl Kind for Refund {
        const PREFIX: &'static str = "refund";
    }
    impl Kind for Withdrawal {
        const PREFIX: &'static str = "withdrawal";
    }
    impl Kind for Case {
        const PREFIX: &'static str = "case";
    }
    impl Kind for Receipt {
        const PREFIX: &'static str = "receipt";
    }
    impl Kind for Difference {
        const PREFIX: &'static str = "difference";
    }
}

/// Identifies a saga.
pub type SagaId = Id<kind::Saga>;
/// Identifies a task.
pub type TaskId = Id<kind::Task>;
/// Identifies a user.
pub type UserId = Id<kind::User>;
/// Identifies an entry of the quota ledger.
pub type EntryId = Id<kind::Entry>;
/// Identifies a message in an outbox.
pub type MessageId = Id<kind::Message>;
/// Identifies an order.
pub type OrderId = Id<kind::Order>;
/// Identifies a payment.
pub type PaymentId = Id<kind::Payment>;
/// Identifies a refund.
pub type RefundId = Id<kind::Refund>;
/// Identifies a withdrawal of commission.
pub type WithdrawalId = Id<kind::Withdrawal>;
/// Identifies a case for an operator.
pub type CaseId = Id<kind::Case>;
/// Identifies a delivery of a provider's notification.
pub type ReceiptId = Id<kind::Receipt>;
/// Identifies a difference between a provider's statement and our books.
pub type DifferenceId = Id<kind::Difference>;

/// A UUID that knows what it identifies.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    /// Makes a new id, ordered by creation time (UUIDv7).
    #[must_use]
    pub fn new() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// Derives the same id from the same name every time (UUIDv5), for things that a client names itself.
    #[must_use]
    pub fn derived(namespace: Uuid, name: &str) -> Self {
        Self::from_uuid(Uuid::new_v5(&namespace, name.as_bytes()))
    }

    /// Wraps a UUID read from the database.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// Returns the UUID, for the database.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<K: Kind> Default for Id<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an id of the form {prefix}_<32 hex digits>")]
pub struct ParseIdError {
    /// Wanted prefix.
    pub prefix: &'static str,
    /// What was found, cut to 64 characters.
    pub found: String,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = ParseIdError;

    /// Accepts the canonical form only: the right prefix, `_`, 32 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError {
            prefix: K::PREFIX,
            found: text.chars().take(64).collect(),
        };
        let hex = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or_else(wrong)?;
        let canonical = hex.len() == 32
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !canonical {
            return Err(wrong());
        }
        Uuid::try_parse(hex).map(Self::from_uuid).map_err(|_| wrong())
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", K::PREFIX, self.uuid.simple())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Written out because derives would ask the same of `K`, which is never a value.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let task = TaskId::new().to_string();
        let error = task.parse::<UserId>().unwrap_err();
        assert_eq!(error.prefix, "user");
        assert!(error.to_string().contains("user_<32 hex digits>"), "{error}");
    }

    #[test]
    fn new_ids_sort_by_creation() {
        let ids: Vec<SagaId> = (0..100).map(|_| SagaId::new()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn derived_ids_repeat() {
        let namespace = Uuid::from_u128(7);
        assert_eq!(TaskId::derived(namespace, "a"), TaskId::derived(namespace, "a"));
        assert_ne!(TaskId::derived(namespace, "a"), TaskId::derived(namespace, "b"));
    }

    proptest! {
        #[test]
        fn text_round_trips(bits: u128) {
            let id = SagaId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<SagaId>().unwrap(), id);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            if let Ok(id) = text.parse::<SagaId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
