//! What a person does over HTTP: the gateway's API as an app uses it.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::exit::{Code, Failure};

/// Every answer comes within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The gateway.
#[derive(Debug)]
pub(super) struct Web {
    http: reqwest::Client,
    url: String,
}

/// Somebody who has registered.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) user_id: String,
    pub(super) phone: String,
    access: String,
    refresh: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// It had been given before, to the same key.
    pub(super) replayed: bool,
    pub(super) body: Value,
}

impl Answer {
    /// Returns a text of the body; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Returns the body of an answer that is no failure.
    fn wanted(self, what: &str) -> Result<Value, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let told = format!("{what} answered {}: {}", self.status, self.body);
        Err(Failure::new(Code::Failed, told))
    }
}

/// The password of everybody in the stories.
const PASSWORD: &str = "an anchor and a compass";

impl Web {
    pub(super) fn open(url: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::unavailable("no HTTP client can be made").because(&error))?;
        Ok(Self {
            http,
            url: url.to_owned(),
        })
    }

    /// Registers somebody with a telephone number of its own.
    pub(super) async fn register(&self) -> Result<Person, Failure> {
        let digits = uuid::Uuid::new_v4().as_u128() % 100_000_000;
        let phone = format!("138{digits:08}");
        let body = json!({ "phone": phone, "password": PASSWORD });
        let tokens = self.post("/api/v1/auth/register", None, None, body).await?;
        self.person(phone, &tokens.wanted("register")?).await
    }

    /// Logs somebody in with the password.
    pub(super) async fn login(&self, person: &Person) -> Result<Person, Failure> {
        let body = json!({ "phone": person.phone, "password": PASSWORD });
        let tokens = self.post("/api/v1/auth/login", None, None, body).await?;
        self.person(person.phone.clone(), &tokens.wanted("login")?).await
    }

    /// Exchanges the refresh token for two new ones.
    pub(super) async fn refresh(&self, person: &Person) -> Result<Person, Failure> {
        let body = json!({ "refreshToken": person.refresh });
        let tokens = self.post("/api/v1/auth/refresh", None, None, body).await?;
        self.person(person.phone.clone(), &tokens.wanted("refresh")?)
            .await
    }

    async fn person(&self, phone: String, tokens: &Value) -> Result<Person, Failure> {
        let text = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        let mut person = Person {
            user_id: String::new(),
            phone,
            access: text("accessToken"),
            refresh: text("refreshToken"),
        };
        let me = self.get("/api/v1/users/me", &person).await?.wanted("users/me")?;
        me["userId"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut person.user_id);
        Ok(person)
    }

    pub(super) async fn get(&self, path: &str, person: &Person) -> Result<Answer, Failure> {
        let request = self.http.get(format!("{}{path}", self.url));
        self.send(request.bearer_auth(&person.access)).await
    }

    /// Posts JSON, in somebody's name and under a key if there are such.
    pub(super) async fn post(
        &self,
        path: &str,
        person: Option<&Person>,
        key: Option<&str>,
        body: Value,
    ) -> Result<Answer, Failure> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(&body);
        if let Some(person) = person {
            request = request.bearer_auth(&person.access);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    /// Asks the double of a provider, which is not behind the gateway.
    pub(super) async fn provider(
        &self,
        method: &str,
        url: &str,
        body: Option<Value>,
    ) -> Result<Answer, Failure> {
        let method = method.parse().unwrap_or(reqwest::Method::GET);
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let failed =
            |error: reqwest::Error| Failure::unavailable("the provider does not answer").because(&error);
        let response = request.send().await.map_err(failed)?;
        Ok(Answer {
            status: response.status().as_u16(),
            replayed: false,
            // A programme is taken without a body.
            body: response.json().await.unwrap_or_default(),
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let failed =
            |error: reqwest::Error| Failure::unavailable("the gateway does not answer").because(&error);
        let response = request.send().await.map_err(failed)?;
        Ok(Answer {
            status: response.status().as_u16(),
            replayed: response.headers().contains_key("idempotency-replayed"),
            body: response.json().await.map_err(failed)?,
        })
    }

    /// Begins to watch what becomes of somebody's tasks, by a ticket as a browser would.
    pub(super) async fn watch(&self, person: &Person) -> Result<Watch, Failure> {
        let ticket = self.post("/api/v1/tasks/watch-tickets", Some(person), None, json!({}));
        let ticket = ticket.await?.wanted("watch-tickets")?;
        let host = self.url.trim_start_matches("http://");
        let ticket = ticket["ticket"].as_str().unwrap_or_default();
        let url = format!("ws://{host}/api/v1/tasks/watch?ticket={ticket}");
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .map_err(|error| Failure::new(Code::Failed, "the WebSocket was refused").because(&error))?;
        Ok(Watch { socket })
    }
}

/// A WebSocket with frames.
#[derive(Debug)]
pub(super) struct Watch {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a watch has told of one task.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Its states, each once, in their order.
    pub(super) states: Vec<String>,
    /// Numbers of the frames.
    pub(super) numbers: Vec<u64>,
}

impl Watch {
    /// Reads until a task has one of two states, the good and the bad end.
    pub(super) async fn until(&mut self, task_id: &str, ends: [&str; 2]) -> Result<Told, Failure> {
        let mut told = Told::default();
        let late = Instant::now() + PATIENCE;
        loop {
            let silent = || Failure::new(Code::Failed, format!("the WebSocket told no end of {task_id}"));
            let message = tokio::time::timeout_at(late, self.socket.next()).await;
            let Ok(Some(Ok(message))) = message else {
                return Err(silent());
            };
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            if frame["type"] != "task" {
                continue;
            }
            told.numbers.extend(frame["seq"].as_u64());
            let task = &frame["task"];
            if task["taskId"] != task_id {
                continue;
            }
            let state = task["status"].as_str().unwrap_or_default().to_owned();
            let ended = ends.contains(&state.as_str());
            if told.states.last() != Some(&state) {
                told.states.push(state);
            }
            if ended {
                return Ok(told);
            }
        }
    }
}
