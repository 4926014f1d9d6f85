//! The promises of Idempotency-Key, played through a whole platform: `make idempotency-demo`.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use proto::quota::v1::CreateGrantRequest;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::identity::{self, Identity};
use crate::output::{self, Tone};
use crate::own::{NOT_INHERITED, Scratch};
use crate::wiring::database;

/// The platform is there after this time, or it is not coming.
const START: Duration = Duration::from_secs(60);
/// It ends within this time, or is killed.
const STOP: Duration = Duration::from_secs(20);
/// Longest time for an answer, repetitions included.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
const GRANTED: i64 = 100;
const TASKS: &str = "/api/v1/tasks";

/// Plays the story; false if a promise was broken.
///
/// # Errors
/// The platform cannot be started, or does not answer.
pub(super) async fn run() -> Result<bool, Failure> {
    let begun = Instant::now();
    let scratch = Scratch::new("bench")?;
    output::emit(
        "Starting a platform of its own: all services, a private Postgres that keeps the keys, too.\n",
    )?;
    let dev = Dev::start(&scratch).await?;
    let told = Box::pin(tell(&dev, &scratch)).await;
    dev.stop().await;
    let broken = told?;
    let tone = if broken == 0 { Tone::Good } else { Tone::Bad };
    let text = match broken {
        0 => "Every promise was kept.".to_owned(),
        broken => format!("{broken} promises were broken."),
    };
    let took = begun.elapsed().as_secs_f64();
    output::emit(&format!(
        "\n{} It took {took:.1} s.\n",
        tone.paint(&text, output::colour())
    ))?;
    Ok(broken == 0)
}

async fn tell(dev: &Dev, scratch: &Scratch) -> Result<u32, Failure> {
    let client = Client::register(dev.place("gateway")?).await?;
    grant(scratch, dev.place("quota")?, &client.user_id).await?;
    let mut story = Story { broken: 0 };
    let (key, other_key) = (new_key(), new_key());
    let body = json!({"featureId": "summarize", "inputData": {"text": "A long text."}}).to_string();

    story.part("The same POST three times: twice at once on two connections, and once after")?;
    let other = client.on_another_connection()?;
    let (one, two) = tokio::join!(client.create(&key, &body), other.create(&key, &body));
    let (one, two, three) = (one?, two?, client.create(&key, &body).await?);
    for (name, answer) in [("first", &one), ("second", &two), ("third", &three)] {
        story.say(&format!("{name:<6}  {answer}"))?;
    }
    let first_runs = [&one, &two].iter().filter(|answer| !answer.replayed).count();
    story.promise(
        [&one, &two, &three]
            .iter()
            .all(|answer| answer.status == StatusCode::OK),
        "all three succeed",
    )?;
    story.promise(
        first_runs == 1,
        "one of the two at once runs, the other waits for its answer",
    )?;
    story.promise(three.replayed, "the third is marked Idempotency-Replayed: true")?;
    story.promise(
        one.body == two.body && one.body == three.body,
        "all three have the same body, byte for byte",
    )?;
    let price = one.json()["amount"].as_i64().unwrap_or_default();
    story.once(&client, &one, price).await?;

    story.part("Another body under the same key")?;
    let changed = json!({"featureId": "summarize", "inputData": {"text": "Another text."}}).to_string();
    let refused = client.create(&key, &changed).await?;
    story.say(&refused.to_string())?;
    let is_reused = refused.status == StatusCode::UNPROCESSABLE_ENTITY
        && refused.json()["reason"] == "IDEMPOTENCY_KEY_REUSED";
    story.promise(is_reused, "it is refused with 422, IDEMPOTENCY_KEY_REUSED")?;
    story.once(&client, &one, price).await?;

    story.part("The store of keys is emptied, and the first request comes again")?;
    flush(dev.place("database")?).await?;
    let again = client.create(&key, &body).await?;
    story.say(&again.to_string())?;
    story.promise(!again.replayed, "it runs: nobody remembers the answer")?;
    story.promise(
        again.task() == one.task(),
        "the database knows the request: it answers with the same task",
    )?;
    story.once(&client, &one, price).await?;

    story.part("A new key is a new request")?;
    let new = client.create(&other_key, &body).await?;
    story.say(&new.to_string())?;
    let is_new = new.status == StatusCode::OK && !new.replayed && new.task() != one.task();
    story.promise(is_new, "it makes a task of its own")?;
    let (tasks, reserved, available) = client.books().await?;
    let paid = available == GRANTED - 2 * price;
    story.promise(
        tasks == 2 && reserved == 2 && paid,
        "there are two tasks and two deductions",
    )?;
    Ok(story.broken)
}

/// Prints, and counts broken promises.
struct Story {
    broken: u32,
}

impl Story {
    fn part(&self, title: &str) -> Result<(), Failure> {
        output::emit(&format!("\n{}\n", Tone::Bold.paint(title, output::colour())))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        output::emit(&format!("   {}\n", output::printable(text)))
    }

    fn promise(&mut self, kept: bool, text: &str) -> Result<(), Failure> {
        let colour = output::colour();
        let word = if kept {
            Tone::Good.paint("ok    ", colour)
        } else {
            self.broken += 1;
            Tone::Bad.paint("FAILED", colour)
        };
        output::emit(&format!("   {word}  {text}\n"))
    }

    /// Promises that what was asked for has happened once: one task, one reservation, one price.
    async fn once(&mut self, client: &Client, answer: &Answer, price: i64) -> Result<(), Failure> {
        let (tasks, reserved, available) = client.books().await?;
        let text = format!("one task ({tasks}), one deduction ({reserved}): {available} of {GRANTED} left");
        let kept = tasks == 1 && reserved == 1 && price > 0 && available == GRANTED - price;
        self.promise(kept && answer.task().is_some(), &text)
    }
}

/// What came back.
struct Answer {
    status: StatusCode,
    replayed: bool,
    /// How often it was 409 or 503 before: come again later.
    repeated: u32,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Id of the task.
    fn task(&self) -> Option<String> {
        self.json()["taskId"].as_str().map(str::to_owned)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(task) = self.task() {
            write!(f, "  {task}")?;
        } else if let Some(reason) = self.json()["reason"].as_str() {
            write!(f, "  {reason}")?;
        }
        if self.replayed {
            write!(f, "  Idempotency-Replayed: true")?;
        }
        if self.repeated > 0 {
            write!(f, "  (told to come again {} times before)", self.repeated)?;
        }
        Ok(())
    }
}

/// A person who has registered, on a connection.
struct Client {
    http: reqwest::Client,
    gateway: String,
    bearer: String,
    user_id: String,
}

impl Client {
    async fn register(gateway: &str) -> Result<Self, Failure> {
        let body = json!({"phone": "+8613800138000", "password": "three blue whales"});
        let mut client = Self {
            http: http()?,
            gateway: gateway.to_owned(),
            bearer: String::new(),
            user_id: String::new(),
        };
        let answer = client
            .post("/api/v1/auth/register", &new_key(), &body.to_string())
            .await?;
        let tokens = answer.json();
        let text = |name: &str| tokens[name].as_str().map(str::to_owned);
        let (Some(token), Some(user_id)) = (text("accessToken"), text("userId")) else {
            return Err(Failure::new(Code::Failed, "nobody can register").detail(answer.to_string()));
        };
        (client.bearer, client.user_id) = (format!("Bearer {token}"), user_id);
        Ok(client)
    }

    fn on_another_connection(&self) -> Result<Self, Failure> {
        Ok(Self {
            http: http()?,
            gateway: self.gateway.clone(),
            bearer: self.bearer.clone(),
            user_id: self.user_id.clone(),
        })
    }

    async fn create(&self, key: &str, body: &str) -> Result<Answer, Failure> {
        self.post(TASKS, key, body).await
    }

    /// Sends a request until the answer is not "come again", as every client should.
    async fn post(&self, path: &str, key: &str, body: &str) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let mut repeated = 0;
        loop {
            let request = self
                .http
                .post(format!("{}{path}", self.gateway))
                .header("content-type", "application/json")
                .header("idempotency-key", key)
                .body(body.to_owned());
            let mut answer = self.send(request).await?;
            let later = [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status);
            if !later || begun.elapsed() > PATIENCE {
                answer.repeated = repeated;
                return Ok(answer);
            }
            repeated += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        let answer = self
            .send(self.http.get(format!("{}{path}", self.gateway)))
            .await?;
        if answer.status == StatusCode::OK {
            return Ok(answer.json());
        }
        Err(Failure::new(Code::Failed, format!("GET {path} failed")).detail(answer.to_string()))
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let failed = |e: reqwest::Error| Failure::unavailable("the gateway does not answer").because(&e);
        if !self.bearer.is_empty() {
            request = request.header("authorization", &self.bearer);
        }
        let response = request.timeout(PATIENCE).send().await.map_err(failed)?;
        let replayed = response.headers().get("idempotency-replayed");
        Ok(Answer {
            status: response.status(),
            replayed: replayed.is_some_and(|value| value == "true"),
            repeated: 0,
            body: response.text().await.map_err(failed)?,
        })
    }

    /// Reads how many tasks there are, how many reservations were ever made, and the quota that is left.
    async fn books(&self) -> Result<(usize, usize, i64), Failure> {
        let tasks = self.get(TASKS).await?;
        let ledger = self.get("/api/v1/quota/ledger").await?;
        let balance = self.get("/api/v1/quota").await?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let reserved = list(&ledger["entries"])
            .iter()
            .filter(|entry| entry["kind"] == "reserved")
            .count();
        let available = balance["available"].as_i64().unwrap_or(-1);
        Ok((list(&tasks["tasks"]).len(), reserved, available))
    }
}

fn http() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .build()
        .map_err(|e| Failure::unavailable("there is no HTTP client").because(&e))
}

fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Gives the user quota, as the operator.
async fn grant(scratch: &Scratch, quota: &str, user_id: &str) -> Result<(), Failure> {
    let operator = Identity::operator(Some(&scratch.keys()))?;
    let request = CreateGrantRequest {
        grant_id: format!("demo-{user_id}"),
        user_id: user_id.to_owned(),
        amount: GRANTED,
        note: "the demo".to_owned(),
        ..CreateGrantRequest::default()
    };
    QuotaServiceClient::new(operator.channel(quota, "quota")?)
        .create_grant(client::request(request, CALL_TIMEOUT))
        .await
        .map_err(|status| client::failure(&status, quota))?;
    Ok(())
}

/// Empties the store of keys, as a Redis without persistence is after a restart.
async fn flush(url: &str) -> Result<(), Failure> {
    let mut connection = database::connect(url).await?;
    sqlx::query("truncate kv.entry")
        .execute(&mut connection)
        .await
        .map_err(|e| Failure::unavailable("the store cannot be emptied").because(&e))?;
    Ok(())
}

/// `evenkeel dev` on free ports, with all its data in a directory.
struct Dev {
    child: Child,
    places: BTreeMap<String, String>,
}

impl Dev {
    async fn start(scratch: &Scratch) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::unavailable("cannot start `evenkeel dev`").because(&e);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        for name in NOT_INHERITED
            .into_iter()
            .chain(["DATABASE_URL", identity::VARIABLE])
        {
            command.env_remove(name);
        }
        let mut child = command
            .args(["dev", "--port-base", "0", "--data-dir"])
            .arg(scratch.path())
            .env("EVENKEEL_TELEMETRY__LEVEL", "error")
            // Ctrl-C at the terminal reaches both.
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().expect("it was asked for above");
        let mut lines = BufReader::new(stdout).lines();
        let mut places = BTreeMap::new();
        let read = async {
            while let Some(line) = lines.next_line().await.map_err(failed)? {
                if line.starts_with("What is wrong") {
                    return Ok(true);
                }
                let mut words = line.split_whitespace();
                if let (Some(name), Some(place)) = (words.next(), words.next()) {
                    places.insert(name.to_owned(), place.to_owned());
                }
            }
            Ok(false)
        };
        match tokio::time::timeout(START, read).await {
            Ok(Ok(true)) => {}
            Ok(Err(failure)) => return Err(failure),
            Ok(Ok(false)) | Err(_) => return Err(Failure::unavailable("`evenkeel dev` did not start")),
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, places })
    }

    /// Where a part is.
    fn place(&self, name: &str) -> Result<&str, Failure> {
        let place = self.places.get(name).map(String::as_str);
        place.ok_or_else(|| Failure::unavailable(format!("`evenkeel dev` does not say where {name} is")))
    }

    /// Ends it in order, so that its database ends, too.
    async fn stop(mut self) {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
