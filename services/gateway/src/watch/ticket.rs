//! Tickets: for browsers, which cannot send a token with a WebSocket or an EventSource.
//!
//! A ticket is 32 random bytes, good once and for seconds. Addresses end up in logs of proxies; a token must not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::UserId;
use kv::{Key, Kv};

/// Bytes of a ticket.
const BYTES: usize = 32;

/// What a ticket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) user_id: UserId,
    /// When the token ends that it was given for.
    pub(super) until: SystemTime,
}

/// Gives tickets and takes them back.
#[derive(Debug, Clone)]
pub(super) struct Tickets {
    kv: Kv,
    life: Duration,
}

impl Tickets {
    pub(super) const fn new(kv: Kv, life: Duration) -> Self {
        Self { kv, life }
    }

    /// Gives a ticket. Returns when it ends as well.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn give(&self, ticket: &Ticket) -> Result<(String, SystemTime), kv::Error> {
        let mut bytes = [0; BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system has randomness");
        let text = URL_SAFE_NO_PAD.encode(bytes);
        let value = write(ticket);
        self.kv.put(&key(&text), value.as_bytes(), self.life).await?;
        Ok((text, SystemTime::now() + self.life))
    }

    /// Takes a ticket; `None` if there is no such one any more.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn take(&self, text: &str) -> Result<Option<Ticket>, kv::Error> {
        // Nothing else than a ticket of ours becomes a key.
        let ours = URL_SAFE_NO_PAD
            .decode(text)
            .is_ok_and(|bytes| bytes.len() == BYTES);
        if !ours {
            return Ok(None);
        }
        let value = self.kv.take(&key(text)).await?;
        Ok(value.and_then(|value| read(std::str::from_utf8(&value).ok()?)))
    }
}

fn key(text: &str) -> Key {
    Key::new("ticket", &[text])
}

/// `user_… 1763712000`
fn write(ticket: &Ticket) -> String {
    let until = ticket.until.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} {}", ticket.user_id, until.as_secs())
}

fn read(text: &str) -> Option<Ticket> {
    let (user_id, until) = text.split_once(' ')?;
    Some(Ticket {
        user_id: user_id.parse().ok()?,
        until: UNIX_EPOCH.checked_add(Duration::from_secs(until.parse().ok()?))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ticket_stands_for_is_read_as_it_was_written() {
        let ticket = Ticket {
            user_id: UserId::new(),
            until: UNIX_EPOCH + Duration::from_secs(1_763_712_000),
        };
        assert_eq!(read(&write(&ticket)), Some(ticket));
        for wrong in ["", "user_1", "user_1 2", &format!("{} x", ticket.user_id)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
