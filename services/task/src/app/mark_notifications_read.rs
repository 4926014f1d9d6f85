//! MarkNotificationsRead: each one that becomes read is told on the feed.

use ids::UserId;
use uuid::Uuid;

use super::{App, Error};
use crate::store::feed;
use crate::store::notifications::{self, NotificationId};

/// Most ids of one request.
const MAX_IDS: usize = 500;
/// Notifications marked in one transaction, and transactions of one request. Together they are more than a user has.
const MARKED: i64 = 500;
const ROUNDS: u32 = 4;

/// Which ones are meant.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    All,
    These(Vec<Uuid>),
}

impl Which {
    /// Checks a request.
    pub(crate) fn parse(ids: &[String], all: bool) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Argument {
            field: "notification_ids",
            problem,
        };
        match (ids.len(), all) {
            (0, true) => return Ok(Self::All),
            (0, false) => return Err(wrong("must not be empty, unless `all` is set".to_owned())),
            (_, true) => return Err(wrong("must be empty if `all` is set".to_owned())),
            (1..=MAX_IDS, false) => {}
            (_, false) => return Err(wrong(format!("must be at most {MAX_IDS}"))),
        }
        let parse = |text: &String| {
            let id: NotificationId = text.parse().map_err(|source| Error::Id {
                field: "notification_ids",
                source,
            })?;
            Ok(id.uuid())
        };
        ids.iter().map(parse).collect::<Result<_, _>>().map(Self::These)
    }
}

/// Marks notifications of a user as read. Those that are read already, or are not there, are left alone. Returns how many
/// are unread then.
pub(crate) async fn mark_notifications_read(app: &App, user_id: UserId, which: &Which) -> Result<i64, Error> {
    let ids = match which {
        Which::All => None,
        Which::These(ids) => Some(ids.as_slice()),
    };
    for _ in 0..ROUNDS {
        let mut tx = app
            .pool
            .begin_with("begin isolation level read committed")
            .await?;
        feed::lock(&mut tx, user_id).await?;
        let marked = notifications::mark_read(&mut tx, user_id, ids, MARKED).await?;
        feed::append_notifications(&mut tx, user_id, &marked).await?;
        tx.commit().await?;
        app.feeds.written();
        if marked.len() < usize::try_from(MARKED).unwrap_or(usize::MAX) {
            break;
        }
    }
    Ok(notifications::unread(&app.pool, user_id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_some_or_all_and_not_both() {
        let id = NotificationId::new().to_string();
        assert!(matches!(Which::parse(&[], true), Ok(Which::All)));
        assert!(
            matches!(Which::parse(std::slice::from_ref(&id), false), Ok(Which::These(ids)) if ids.len() == 1)
        );
        assert!(matches!(Which::parse(&[], false), Err(Error::Argument { .. })));
        assert!(matches!(
            Which::parse(std::slice::from_ref(&id), true),
            Err(Error::Argument { .. })
        ));
        assert!(matches!(
            Which::parse(&vec![id; 501], false),
            Err(Error::Argument { .. })
        ));
        let task = ids::TaskId::new().to_string();
        assert!(matches!(Which::parse(&[task], false), Err(Error::Id { .. })));
    }
}
