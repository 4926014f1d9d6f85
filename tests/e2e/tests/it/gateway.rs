//! The front door: what a request over HTTP becomes, whatever dies on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{LONG, Mode, Platform};
use ids::UserId;
use rstest::rstest;
use serde_json::{Value, json};
use test_support::{Signal, TestDatabase, TestRedis, eventually, identities};
use token::Role;

/// Identical requests at once.
const AT_ONCE: usize = 200;
const COST: i64 = 2;

/// Where keys are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Redis,
    Postgres,
}

/// Somebody who uses the product over HTTP.
struct Person {
    user_id: UserId,
    http: reqwest::Client,
    url: String,
    bearer: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    replayed: bool,
    body: Value,
}

impl Person {
    async fn with_quota(platform: &Platform) -> Self {
        let user_id = platform.user(100).await;
        Self {
            user_id,
            http: reqwest::Client::new(),
            url: platform.gateway_url(),
            bearer: identities().bearer(user_id, Role::User),
        }
    }

    /// Asks for the one task under the one key; `None` if the connection broke.
    async fn create_task(&self) -> Option<Answer> {
        let body = json!({ "featureId": "translate", "inputData": { "text": "once", "language": "zh" } });
        let request = self.http.post(format!("{}/api/v1/tasks", self.url)).json(&body);
        let request = request
            .header("authorization", &self.bearer)
            .header("idempotency-key", "the-one-key");
        let response = request.send().await.ok()?;
        Some(Answer {
            status: response.status().as_u16(),
            replayed: response.headers().contains_key("idempotency-replayed"),
            body: response.json().await.ok()?,
        })
    }

    /// Asks until there is an answer that is not "later".
    async fn create_task_in_the_end(&self) -> Answer {
        eventually(LONG, || async {
            let answer = self.create_task().await?;
            (answer.status == 200).then_some(answer)
        })
        .await
    }
}

async fn platform(store: Store) -> (Platform, Option<TestRedis>) {
    let redis = match store {
        Store::Redis => Some(TestRedis::create().await),
        Store::Postgres => None,
    };
    let mut environment = vec![
        // A gateway that was killed leaves its keys taken for so long.
        ("EVENKEEL_GATEWAY__IDEMPOTENCY__LEASE".to_owned(), "1s".to_owned()),
        (
            "EVENKEEL_LIMITS__PUBLIC__MAX_QUEUED".to_owned(),
            "2000".to_owned(),
        ),
    ];
    environment.extend(redis.iter().map(|redis| ("REDIS_URL".to_owned(), redis.url())));
    let mut platform = Platform::start_on(TestDatabase::create(&[]).await, environment).await;
    platform.open_front_door().await;
    (platform, redis)
}

/// One task, paid once; whoever got it, got the same.
async fn assert_one_effect(platform: &Platform, person: &Person, answers: &[Answer]) {
    let tasks: Vec<String> = sqlx::query_scalar("select id::text from task.tasks where user_id = $1")
        .bind(person.user_id.uuid())
        .fetch_all(platform.sql())
        .await
        .expect("the database answers");
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let good: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(!good.is_empty(), "nobody was answered");
    let ids: BTreeSet<&str> = good
        .iter()
        .filter_map(|answer| answer.body["taskId"].as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let task_id = ids.first().expect("one");
    platform.ended(task_id).await;
    eventually(LONG, || async {
        let balance = platform.balance(person.user_id).await;
        (balance.reserved == 0 && balance.consumed == COST).then_some(())
    })
    .await;
    platform.assert_conserved().await;
}

async fn all_at_once(person: &Arc<Person>) -> Vec<Answer> {
    let asking: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let person = Arc::clone(person);
            tokio::spawn(async move { person.create_task().await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in asking {
        answers.push(one.await.expect("no panic").expect("an answer"));
    }
    answers
}

#[rstest]
#[case(Store::Redis)]
#[case(Store::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_identical_posts_with_one_key_have_one_effect_and_one_answer(#[case] store: Store) {
    let (platform, _redis) = platform(store).await;
    let person = Arc::new(Person::with_quota(&platform).await);
    let mut answers = all_at_once(&person).await;
    let last = person.create_task_in_the_end().await;
    assert!(last.replayed, "{last:?}");
    answers.push(last);
    let good: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(good.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(good.iter().all(|answer| answer.body == good[0].body));
    for other in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(other.status, 409, "{other:?}");
        assert_eq!(other.body["reason"], "IDEMPOTENCY_KEY_IN_USE");
    }
    assert_one_effect(&platform, &person, &answers).await;
}

#[rstest]
#[case(Store::Redis)]
#[case(Store::Postgres)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_flushed_in_the_middle_doubles_nothing(#[case] store: Store) {
    let (platform, redis) = platform(store).await;
    let person = Arc::new(Person::with_quota(&platform).await);
    let done = Arc::new(AtomicBool::new(false));
    let sql = platform.sql().clone();
    let stop = Arc::clone(&done);
    let flushing = tokio::spawn(async move {
        let mut flushes = 0;
        while !stop.load(Ordering::Relaxed) {
            match &redis {
                Some(redis) => redis.flush().await,
                None => {
                    sqlx::query("delete from kv.entry where key like 'idempotency:%'")
                        .execute(&sql)
                        .await
                        .expect("the database answers");
                }
            }
            flushes += 1;
            tokio::task::yield_now().await;
        }
        flushes
    });
    let answers = all_at_once(&person).await;
    done.store(true, Ordering::Relaxed);
    let flushes = flushing.await.expect("no panic");
    assert!(flushes > 1, "{flushes}");
    for other in answers.iter().filter(|answer| answer.status != 200) {
        assert!([409, 429, 503].contains(&other.status), "{other:?}");
    }
    let mut answers = answers;
    answers.push(person.create_task_in_the_end().await);
    assert_one_effect(&platform, &person, &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_after_the_effect_answers_the_repetition_with_it() {
    let (mut platform, _) = platform(Store::Postgres).await;
    let mut killed_without_answer = 0;
    for _ in 0..5 {
        let person = Arc::new(Person::with_quota(&platform).await);
        let asking = {
            let person = Arc::clone(&person);
            tokio::spawn(async move { person.create_task().await })
        };
        let user_id = person.user_id.uuid();
        eventually(LONG, || async {
            let started: i64 =
                sqlx::query_scalar("select count(*) from quota.quota_transactions where user_id = $1")
                    .bind(user_id)
                    .fetch_one(platform.sql())
                    .await
                    .expect("the database answers");
            (started > 0).then_some(())
        })
        .await;
        platform.gateway.take().expect("it runs").signal(Signal::Kill);
        let first = asking.await.expect("no panic");
        killed_without_answer += usize::from(first.is_none());
        platform.start_gateway();
        platform.gateway_ready().await;
        let again = person.create_task_in_the_end().await;
        let answers: Vec<Answer> = first.into_iter().chain([again]).collect();
        assert_one_effect(&platform, &person, &answers).await;
    }
    assert!(killed_without_answer > 0, "the gateway was never killed in time");
}

#[tokio::test]
async fn a_request_without_a_token_or_for_somebody_else_reaches_nothing() {
    let mut platform = Platform::start(Mode::Serve).await;
    platform.open_front_door().await;
    let person = Person::with_quota(&platform).await;
    let (http, url) = (&person.http, &person.url);
    let anonymous = http.get(format!("{url}/api/v1/quota")).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let other = UserId::new();
    let elsewhere = http
        .get(format!("{url}/api/v1/quota?userId={other}"))
        .header("authorization", &person.bearer)
        .send()
        .await
        .unwrap();
    assert_eq!(elsewhere.status(), 403);
    // A header that names somebody else is not believed.
    let own: Value = http
        .get(format!("{url}/api/v1/quota"))
        .header("authorization", &person.bearer)
        .header("x-user-id", other.to_string())
        .header("evenkeel-actor", "root")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(own["userId"], person.user_id.to_string());
    // A service's token is for services.
    let audience = "gateway".parse().unwrap();
    let service = identities()
        .credentials("operator")
        .token(&audience, std::time::SystemTime::now());
    let refused = http
        .get(format!("{url}/api/v1/quota?userId={other}"))
        .bearer_auth(service)
        .send()
        .await
        .unwrap();
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["reason"], "TOKEN_INVALID");
}
