//! What the double received and did.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::program::{self, Behaviour, Rule};

/// Everything the double received and did since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Books {
    /// Requests, oldest first.
    pub requests: Vec<Request>,
    /// Effects, oldest first. A request without a key has an effect of its own every time.
    pub effects: Vec<Effect>,
}

/// One request received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// `Idempotency-Key`; empty if there was none.
    pub key: String,
    /// `X-Request-Id`; empty if there was none.
    pub request_id: String,
    /// The prompt.
    pub prompt: String,
    /// The key had had its effect already.
    pub duplicate: bool,
    /// This request had an effect.
    pub effect: bool,
    /// What the programme made of it.
    pub behaviour: Behaviour,
}

/// One effect: text was generated, and would be paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// `Idempotency-Key` of the request that caused it; empty if there was none.
    pub key: String,
    /// The prompt.
    pub prompt: String,
}

impl Books {
    /// Counts the effects under one key.
    #[must_use]
    pub fn effects_of(&self, key: &str) -> usize {
        self.effects.iter().filter(|e| e.key == key).count()
    }

    /// Counts the requests that came with a key whose effect had happened already.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.requests.iter().filter(|r| r.duplicate).count()
    }
}

/// What the HTTP side is to do with a request.
#[derive(Debug)]
pub(super) enum Act {
    Answer {
        body: Value,
        at: Instant,
    },
    Cut {
        body: Value,
        at: Instant,
    },
    Status {
        code: u16,
        retry_after: Option<u64>,
        at: Instant,
    },
    Garbage {
        at: Instant,
    },
    Hang,
    KeyReused,
}

#[derive(Debug, Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    program: Vec<Rule>,
    books: Books,
    stored: HashMap<String, Stored>,
}

#[derive(Debug, Clone)]
struct Stored {
    prompt: String,
    body: Value,
    at: Instant,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; if something did, the books are still readable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_program(&self, rules: Vec<Rule>) {
        self.lock().program = rules;
    }

    pub(super) fn program(&self) -> Vec<Rule> {
        self.lock().program.clone()
    }

    pub(super) fn books(&self) -> Books {
        self.lock().books.clone()
    }

    /// Books a request, and decides what becomes of it. An effect is booked here, before the answer leaves.
    pub(super) fn receive(&self, key: &str, request_id: &str, prompt: &str) -> Act {
        let mut inner = self.lock();
        let stored = inner.stored.get(key).cloned();
        let rule = program::take(&mut inner.program, prompt);
        let at = Instant::now() + Duration::from_millis(rule.delay_ms);
        let works = matches!(
            rule.behaviour,
            Behaviour::Answer | Behaviour::Output(_) | Behaviour::Cut
        );
        let effect = works && stored.is_none();
        inner.books.requests.push(Request {
            key: key.to_owned(),
            request_id: request_id.to_owned(),
            prompt: prompt.to_owned(),
            duplicate: stored.is_some(),
            effect,
            behaviour: rule.behaviour.clone(),
        });
        if stored.as_ref().is_some_and(|s| s.prompt != prompt) {
            return Act::KeyReused;
        }
        let body = match stored {
            Some(stored) if works => {
                return match rule.behaviour {
                    Behaviour::Cut => Act::Cut {
                        body: stored.body,
                        at,
                    },
                    Behaviour::Answer
                    | Behaviour::Output(_)
                    | Behaviour::Status { .. }
                    | Behaviour::Hang
                    | Behaviour::Garbage => Act::Answer {
                        body: stored.body,
                        at: stored.at.max(at),
                    },
                };
            }
            Some(_) | None => generate(&rule.behaviour, prompt, inner.books.effects.len()),
        };
        if effect {
            inner.books.effects.push(Effect {
                key: key.to_owned(),
                prompt: prompt.to_owned(),
            });
            if !key.is_empty() {
                inner.stored.insert(
                    key.to_owned(),
                    Stored {
                        prompt: prompt.to_owned(),
                        body: body.clone(),
                        at,
                    },
                );
            }
        }
        match rule.behaviour {
            Behaviour::Answer | Behaviour::Output(_) => Act::Answer { body, at },
            Behaviour::Cut => Act::Cut { body, at },
            Behaviour::Status { code, retry_after } => Act::Status {
                code,
                retry_after,
                at,
            },
            Behaviour::Garbage => Act::Garbage { at },
            Behaviour::Hang => Act::Hang,
        }
    }
}

/// Makes up an answer. The text depends on the prompt only; `id` numbers the effects.
fn generate(behaviour: &Behaviour, prompt: &str, number: usize) -> Value {
    let output = match behaviour {
        Behaviour::Output(output) => output.clone(),
        Behaviour::Answer
        | Behaviour::Cut
        | Behaviour::Status { .. }
        | Behaviour::Hang
        | Behaviour::Garbage => {
            let start: String = prompt.chars().take(200).collect();
            Value::String(format!("You said: {start}"))
        }
    };
    let words = prompt.split_whitespace().count();
    json!({
        "id": format!("gen-{}", number + 1),
        "output": output,
        "model": "double-1",
        "usage": { "input_tokens": words, "output_tokens": words + 2 },
    })
}
