//! The AI provider double.

use std::time::Duration;

use doubles::ai::{self, AiProvider, Behaviour, Books, Rule};
use serde_json::{Value, json};

async fn provider() -> AiProvider {
    ai::start("127.0.0.1:0").await.unwrap()
}

async fn ask(provider: &AiProvider, key: &str, prompt: &str) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::new()
        .post(format!("{}/v1/generate", provider.url()))
        .header("idempotency-key", key)
        .timeout(Duration::from_millis(300))
        .json(&json!({ "prompt": prompt }))
        .send()
        .await
}

#[tokio::test]
async fn the_same_key_has_one_effect_and_one_answer() {
    let provider = provider().await;
    let first: Value = ask(&provider, "k", "hello").await.unwrap().json().await.unwrap();
    let again: Value = ask(&provider, "k", "hello").await.unwrap().json().await.unwrap();
    assert_eq!(first, again);
    assert_eq!(first["output"], "You said: hello");
    let books = provider.books();
    assert_eq!((books.effects_of("k"), books.duplicates()), (1, 1));
}

#[tokio::test]
async fn a_caller_that_leaves_finds_its_answer_under_the_same_key() {
    let provider = provider().await;
    provider.program(vec![Rule::times(1, Behaviour::Answer).delay_ms(600)]);
    assert!(ask(&provider, "k", "hello").await.unwrap_err().is_timeout());
    assert_eq!(provider.books().effects_of("k"), 1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while ask(&provider, "k", "hello").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the answer never came");
    }
    assert_eq!(provider.books().effects.len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_prompt_is_refused() {
    let provider = provider().await;
    ask(&provider, "k", "hello").await.unwrap();
    assert_eq!(ask(&provider, "k", "other").await.unwrap().status(), 422);
    assert_eq!(provider.books().effects.len(), 1);
}

#[tokio::test]
async fn errors_come_as_programmed_and_have_no_effect() {
    let provider = provider().await;
    provider.program(vec![
        Rule::times(
            1,
            Behaviour::Status {
                code: 429,
                retry_after: Some(7),
            },
        ),
        Rule::times(1, Behaviour::Hang),
        Rule::times(1, Behaviour::Garbage),
    ]);
    let busy = ask(&provider, "a", "x").await.unwrap();
    assert_eq!(busy.status(), 429);
    assert_eq!(busy.headers()["retry-after"], "7");
    assert!(ask(&provider, "a", "x").await.unwrap_err().is_timeout());
    assert!(
        ask(&provider, "a", "x")
            .await
            .unwrap()
            .json::<Value>()
            .await
            .is_err()
    );
    assert_eq!(provider.books().effects, []);
    assert!(ask(&provider, "a", "x").await.unwrap().status().is_success());
    assert_eq!(provider.requests().len(), 4);
}

#[tokio::test]
async fn a_cut_answer_had_its_effect() {
    let provider = provider().await;
    provider.program(vec![Rule::times(1, Behaviour::Cut)]);
    // The headers may or may not arrive; the whole answer does not.
    let whole = async { ask(&provider, "k", "x").await?.bytes().await };
    assert!(whole.await.is_err());
    assert_eq!(provider.books().effects_of("k"), 1);
    assert!(
        ask(&provider, "k", "x")
            .await
            .unwrap()
            .json::<Value>()
            .await
            .is_ok()
    );
    assert_eq!(provider.books().effects_of("k"), 1);
}

#[tokio::test]
async fn programme_and_books_are_reachable_over_http() {
    let provider = provider().await;
    let client = reqwest::Client::new();
    let rules = json!([{ "prompt_contains": "poem", "times": 1, "do": { "status": { "code": 500 } } }]);
    let url = format!("{}/_program", provider.url());
    let put = client.put(&url).json(&rules).send().await.unwrap();
    assert_eq!(put.status(), 204);
    assert_eq!(ask(&provider, "a", "a poem").await.unwrap().status(), 500);
    let left: Vec<Rule> = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(left[0].times, Some(0));
    let books: Books = client
        .get(format!("{}/_books", provider.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(books, provider.books());
}

#[tokio::test]
async fn a_wrong_programme_or_request_is_refused_with_a_message() {
    let provider = provider().await;
    let client = reqwest::Client::new();
    for rules in [
        json!([{ "do": "dance" }]),
        json!([{ "do": { "status": { "code": 200 } } }]),
        json!({}),
    ] {
        let answer = client
            .put(format!("{}/_program", provider.url()))
            .json(&rules)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_client_error(), "{rules}");
    }
    let answer = client
        .post(format!("{}/v1/generate", provider.url()))
        .json(&json!({ "promt": "x" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 422);
    let body: Value = answer.json().await.unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("prompt"));
}
