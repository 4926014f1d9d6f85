//! Notifications: from an event of any service to the user who reads them.

use std::time::Duration;

use events::{Broker, Event, Relay};
use ids::UserId;
use proto::task::v1 as pb;
use proto::task::v1::watch_response::Event as Told;
use serde_json::{Value, json};
use test_support::{TestBroker, eventually};
use tokio_util::sync::CancellationToken;

use super::{Reader, world};
use crate::world::{DEADLINE, Process, World, reason};

fn quick() -> events::Config {
    events::Config {
        longest_poll: Duration::from_millis(50),
        // To be published again.
        keep_published: Some(DEADLINE),
        ..events::Config::default()
    }
}

fn data(user: UserId, title: &str) -> Value {
    json!({
        "userId": user.to_string(), "type": "order", "title": title, "message": "Thank you.",
        "priority": "normal", "timestamp": "2026-11-20T10:00:00Z",
    })
}

/// Another service that publishes from its outbox (the task service's own, which has the same form).
struct Sender {
    world: World,
    process: Process,
    wake: events::Wake,
    stop: CancellationToken,
}

impl Sender {
    async fn new(config: events::Config) -> Self {
        let world = world().await;
        let process = world.process_on(config.clone()).await;
        let broker = Broker::new(config, world.db.pool(events::SCHEMA).await).unwrap();
        let relaying = broker.relay(Relay {
            service: "shop",
            schema: task::SCHEMA,
            pool: world.pool.clone(),
            facts: task::FACTS,
        });
        let stop = CancellationToken::new();
        tokio::spawn((relaying.job.run)(stop.clone()));
        tokio::spawn((broker.keeper().run)(stop.clone()));
        Self {
            world,
            process,
            wake: relaying.wake,
            stop,
        }
    }

    async fn send(&self, event: &Event) {
        let mut tx = self.world.pool.begin().await.unwrap();
        events::outbox::insert(&mut tx, task::SCHEMA, event)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.wake.now();
    }

    /// Publishes an event once more, as a relay does that died before it could note that it had.
    async fn send_again(&self, event: &Event) {
        eventually(DEADLINE, || async {
            let done = sqlx::query(
                "update outbox set published_at = null where id = $1 and published_at is not null",
            )
            .bind(event.id)
            .execute(&self.world.pool)
            .await
            .unwrap();
            done.rows_affected() == 1
        })
        .await;
        self.wake.now();
    }

    async fn list(&self, user: UserId, unread_only: bool) -> pb::ListNotificationsResponse {
        list(&self.process, user, unread_only, 0, "").await
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn list(
    process: &Process,
    user: UserId,
    unread_only: bool,
    page_size: u32,
    page_token: &str,
) -> pb::ListNotificationsResponse {
    let request = pb::ListNotificationsRequest {
        user_id: user.to_string(),
        page_size,
        page_token: page_token.to_owned(),
        unread_only,
    };
    let answer = process.watch.clone().list_notifications(request).await;
    answer.unwrap().into_inner()
}

async fn mark(process: &Process, user: UserId, ids: &[String], all: bool) -> u32 {
    let request = pb::MarkNotificationsReadRequest {
        user_id: user.to_string(),
        notification_ids: ids.to_vec(),
        all,
    };
    let answer = process.watch.clone().mark_notifications_read(request).await;
    answer.unwrap().into_inner().unread
}

async fn next(reader: &mut Reader) -> (u64, pb::Notification) {
    let (seq, event) = reader.event().await.unwrap();
    let Told::Notification(notification) = event else {
        panic!("{event:?}");
    };
    (seq, notification)
}

async fn come_once_are_told_and_read(config: events::Config) {
    let sender = Sender::new(config).await;
    let user = UserId::new();
    let mut reader = Reader::open(&sender.process, user, Some(0)).await.unwrap();
    let paid = Event::new("notification.send", user.to_string(), data(user, "Paid"));
    sender.send(&paid).await;
    let (seq, told) = next(&mut reader).await;
    assert_eq!((seq, told.title.as_str(), told.read_at), (1, "Paid", None));
    assert_eq!(
        (told.r#type.as_str(), told.priority.as_str()),
        ("order", "normal")
    );
    assert_eq!(told.created_at.unwrap().seconds, 1_795_168_800);

    // The same message twice more, then another one: had the double counted, it would come in between.
    sender.send_again(&paid).await;
    sender.send_again(&paid).await;
    let sent = Event::new("notification.send", user.to_string(), data(user, "Sent"));
    sender.send(&sent).await;
    let (seq, told) = next(&mut reader).await;
    assert_eq!((seq, told.title.as_str()), (2, "Sent"));

    let listed = sender.list(user, true).await;
    assert_eq!((listed.notifications.len(), listed.unread), (2, 2));
    let first = told.notification_id.clone();
    assert_eq!(
        mark(&sender.process, user, std::slice::from_ref(&first), false).await,
        1
    );
    let (seq, told) = next(&mut reader).await;
    assert_eq!((seq, told.notification_id.clone()), (3, first.clone()));
    assert!(told.read_at.is_some());
    // Again, and one of somebody else: nothing changes.
    assert_eq!(mark(&sender.process, user, &[first], false).await, 1);
    let strange = "notification_0123456789abcdef0123456789abcdef".to_owned();
    assert_eq!(mark(&sender.process, user, &[strange], false).await, 1);
    assert_eq!(mark(&sender.process, user, &[], true).await, 0);
    let (seq, told) = next(&mut reader).await;
    assert_eq!((seq, told.title.as_str()), (4, "Paid"));
    assert_eq!(sender.list(user, true).await.notifications.len(), 0);
    assert_eq!(sender.list(user, false).await.notifications.len(), 2);
}

#[tokio::test]
async fn notifications_come_once_over_rabbitmq() {
    let broker = TestBroker::create().await;
    let config = events::Config {
        amqp_url: broker.url(),
        ..quick()
    };
    come_once_are_told_and_read(config).await;
}

#[tokio::test]
async fn notifications_come_once_over_the_postgres_queue() {
    come_once_are_told_and_read(quick()).await;
}

#[tokio::test]
async fn one_whose_inbox_has_forgotten_comes_once_as_well() {
    let sender = Sender::new(quick()).await;
    let user = UserId::new();
    let event = Event::new("notification.send", user.to_string(), data(user, "Paid"));
    sender.send(&event).await;
    let one = || async { sender.list(user, false).await.notifications.len() == 1 };
    eventually(DEADLINE, one).await;
    sqlx::query("delete from inbox")
        .execute(&sender.world.pool)
        .await
        .unwrap();
    sender.send_again(&event).await;
    let applied = || async {
        let rows: i64 = sqlx::query_scalar("select count(*) from inbox")
            .fetch_one(&sender.world.pool)
            .await
            .unwrap();
        rows == 1
    };
    eventually(DEADLINE, applied).await;
    assert!(one().await);
    assert_eq!(super::kept(&sender.world.pool, user.uuid()).await, [1]);
}

#[tokio::test]
async fn one_that_cannot_be_read_is_a_dead_letter() {
    let sender = Sender::new(quick()).await;
    let user = UserId::new();
    let mut wrong = data(user, "Paid");
    wrong["priority"] = json!("urgent");
    sender
        .send(&Event::new("notification.send", user.to_string(), wrong))
        .await;
    let letters = || async {
        let reasons: Vec<String> =
            sqlx::query_scalar("select reason from events.dead_letter where queue = 'task.notifications'")
                .fetch_all(sender.world.db.admin())
                .await
                .unwrap();
        (reasons.len() == 1).then_some(reasons).ok_or(0)
    };
    let reasons = eventually(DEADLINE, letters).await;
    assert!(reasons[0].contains("urgent"), "{reasons:?}");
    assert_eq!(sender.list(user, false).await.notifications.len(), 0);
    // The next one is not held up.
    let good = Event::new("notification.send", user.to_string(), data(user, "Sent"));
    sender.send(&good).await;
    eventually(DEADLINE, || async { sender.list(user, false).await.unread == 1 }).await;
}

#[tokio::test]
async fn a_user_has_a_thousand_and_read_ones_go_first() {
    let sender = Sender::new(quick()).await;
    let user = UserId::new();
    sqlx::query(
        "insert into notification
            (id, user_id, type, title, message, priority, created_at, read_at, source, event_id)
         select gen_random_uuid(), $1, 'system', n::text, '', 'low', now() - make_interval(secs => 2000 - n),
                case when n in (500, 600) then now() end, '/test', n::text
         from generate_series(1, 1000) n",
    )
    .bind(user.uuid())
    .execute(&sender.world.pool)
    .await
    .unwrap();
    for (n, gone) in [(1, "500"), (2, "600"), (3, "1")] {
        let mut new = data(user, "New");
        new.as_object_mut().unwrap().remove("timestamp");
        sender
            .send(&Event::new("notification.send", user.to_string(), new))
            .await;
        eventually(DEADLINE, || async {
            super::kept(&sender.world.pool, user.uuid()).await.len() == n
        })
        .await;
        let (all, that): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where title = $2) from notification where user_id = $1",
        )
        .bind(user.uuid())
        .bind(gone)
        .fetch_one(&sender.world.pool)
        .await
        .unwrap();
        assert_eq!((all, that), (1_000, 0), "{gone}");
    }
}

#[tokio::test]
async fn notifications_are_listed_by_pages() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    sqlx::query(
        "insert into notification
            (id, user_id, type, title, message, priority, created_at, read_at, source, event_id)
         select gen_random_uuid(), $1, 'system', n::text, '', 'low', now() - make_interval(secs => n / 2),
                case when n % 3 = 0 then now() end, '/test', n::text
         from generate_series(1, 30) n",
    )
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    for (unread_only, expected) in [(false, 30), (true, 20)] {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let page = list(&process, user, unread_only, 7, &token).await;
            assert_eq!(page.unread, 20);
            assert!(page.notifications.len() <= 7);
            found.extend(page.notifications);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let ids: std::collections::BTreeSet<_> = found.iter().map(|n| n.notification_id.clone()).collect();
        assert_eq!((ids.len(), found.len()), (expected, expected));
        let times: Vec<_> = found.iter().map(|n| n.created_at.unwrap().seconds).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");
    }
    // A token belongs to its list.
    let page = list(&process, user, false, 7, "").await;
    let request = pb::ListNotificationsRequest {
        user_id: user.to_string(),
        page_size: 7,
        page_token: page.next_page_token,
        unread_only: true,
    };
    let status = process
        .watch
        .clone()
        .list_notifications(request)
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_PAGE_TOKEN");
}

#[tokio::test]
async fn reading_hundreds_at_once_makes_no_reader_too_slow() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    sqlx::query(
        "insert into notification
            (id, user_id, type, title, message, priority, created_at, source, event_id)
         select gen_random_uuid(), $1, 'system', n::text, '', 'low', now(), '/test', n::text
         from generate_series(1, 700) n",
    )
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let mut reader = Reader::open(&process, user, None).await.unwrap();
    let (_, first) = reader.event().await.unwrap();
    assert!(matches!(first, Told::Snapshot(s) if s.notifications.len() == 100));
    assert_eq!(mark(&process, user, &[], true).await, 0);
    assert_eq!(reader.seqs_until(700).await, (1..=700).collect::<Vec<u64>>());
}
