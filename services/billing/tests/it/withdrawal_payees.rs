//! Who gets the money is known to the provider and to nobody else.

use std::time::Duration;

use kms::rewrap::Walk;
use kms::{Change, change_file};
use proto::billing::v1 as pb;
use proto::billing::v1::{Channel, WithdrawalStatus};
use test_support::eventually;

use crate::earner::{Earner, transfers};
use crate::world::{DEADLINE, World, config, read_keys, reason};

const NAME: &str = "张三";

/// Everything that is stored, as text; bytes as they are and in hexadecimal.
async fn everything(world: &World) -> String {
    let tables: Vec<String> =
        sqlx::query_scalar("select quote_ident(tablename) from pg_tables where schemaname = 'billing'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, E'\\n'), '') from {table} t");
        let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows));
        all.push_str(&rows.fetch_one(&world.pool).await.unwrap());
    }
    all
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_table_shows_a_recipient() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    let wish = pb::CreateWithdrawalRequest {
        recipient_name: NAME.to_owned(),
        ..earner.wish(Channel::Alipay, 300)
    };
    let recipient = wish.recipient.clone();
    let made = earner.create(wish).await.unwrap().withdrawal.unwrap();
    earner
        .until(&made.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    let [sent] = &transfers(&world, Channel::Alipay)[..] else {
        panic!("one transfer");
    };
    assert_eq!(sent.recipient, recipient);

    let stored = everything(&world).await;
    assert!(stored.contains(&made.withdrawal_no), "what is stored is read");
    for secret in [recipient.as_str(), NAME] {
        for form in [secret.to_owned(), hex(secret)] {
            assert!(!stored.contains(&form), "{form} is stored");
        }
    }
}

#[tokio::test]
async fn another_recipient_is_refused_before_anything_is_frozen() {
    let mut quick = config();
    quick.wait = Duration::from_secs(1);
    let world = World::quiet(quick).await;
    world.sagas.stall("WITHDRAWAL");
    let earner = Earner::with(&world, 1_000).await;
    let wish = earner.wish(Channel::Wechat, 300);
    let first = earner.create(wish.clone()).await.unwrap();
    let again = earner.create(wish.clone()).await.unwrap();
    assert_eq!(first.saga_id, again.saga_id);
    for other in [
        pb::CreateWithdrawalRequest {
            recipient: "somebody_else".to_owned(),
            ..wish.clone()
        },
        pb::CreateWithdrawalRequest {
            recipient_name: NAME.to_owned(),
            ..wish
        },
    ] {
        assert_eq!(reason(earner.create(other).await), "ORDER_MISMATCH");
    }
    assert_eq!(world.value::<i64>("select count(*) from payees").await, 1);
}

#[tokio::test]
async fn a_recipient_whose_withdrawal_never_began_is_forgotten_after_a_day() {
    let mut quick = config();
    quick.wait = Duration::from_secs(1);
    let mut world = World::quiet(quick).await;
    let earner = Earner::with(&world, 1_000).await;
    earner.withdraw(Channel::Wechat, 300).await;
    world.sagas.stall("WITHDRAWAL");
    earner.create(earner.wish(Channel::Wechat, 100)).await.unwrap();
    let age = "update payees set created_at = created_at - interval '25 hours'";
    sqlx::query(age).execute(&world.pool).await.unwrap();
    let young = earner.create(earner.wish(Channel::Wechat, 200)).await.unwrap();
    assert_eq!(young.withdrawal, None);
    world.run_job("billing-tidy").await;
    eventually(DEADLINE, async || {
        let left: (i64, i64) = sqlx::query_as("select count(*), count(taken_at) from payees")
            .fetch_one(&world.pool)
            .await
            .unwrap();
        // That of the withdrawal, and the one that may still begin.
        if left == (2, 1) { Ok(()) } else { Err(left) }
    })
    .await;
    let used = sqlx::query("delete from payees").execute(&world.pool).await;
    let refused = used.unwrap_err().to_string();
    assert!(refused.contains("withdrawals_payee"), "{refused}");
}

#[tokio::test]
async fn recipients_are_sent_to_under_an_old_key_and_rewrapped_to_the_new_one() {
    let mut world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let made = earner.withdraw(Channel::Alipay, 300).await;
    let change = Change {
        add: true,
        make_current: true,
    };
    change_file(&world.key_file, change).unwrap();
    let old = std::mem::replace(&mut world.kms, read_keys(&world.key_file));
    let later = earner.withdraw(Channel::Alipay, 200).await;
    let [column] = billing::SEALED else {
        panic!("one column");
    };
    // The service of this test still seals under the old version.
    let mut walk = Walk::new(world.pool.clone(), world.kms.clone(), *column).batch(1);
    let report = walk.run().await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.seen, report.rewrapped), (2, 2));
    // The jobs of a process that knows the new version send to both.
    world.run_jobs().await;
    for id in [&made.withdrawal_id, &later.withdrawal_id] {
        earner.until(id, WithdrawalStatus::Succeeded).await;
    }
    assert_ne!(old.current(), world.kms.current());
    let sealed: Vec<u8> = world.value("select recipient_sealed from payees limit 1").await;
    assert_eq!(world.kms.key_of(&sealed).unwrap(), world.kms.current());
}
