//! One who watches, goes away from time to time without a word, and comes back with the number it has seen.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::events::Told;
use crate::exit::{Code, Failure};

/// Buffers of a socket: two thousand of the usual 128 KiB would be most of this process.
const BUFFER_BYTES: usize = 4 * 1024;
/// Pause after a refusal: the gateway may be starting, or still count the connection that was left.
const PAUSE: Duration = Duration::from_millis(200);
/// Refusals in a row, after which it counts as not possible.
const MAX_REFUSALS: u32 = 50;

pub(super) type Socket = WebSocketStream<TcpStream>;

/// What all watchers do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Others are still opening theirs.
    Open,
    /// Events come; go away and come back.
    Reconnect,
    /// No more events come; read the rest, until this moment.
    Finish(tokio::time::Instant),
}

/// What a watcher has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) frames: u64,
    /// Frames of events that came about while the socket was closed.
    pub(super) resumed: u64,
    pub(super) reconnects: u64,
    /// Attempts to reconnect that were refused at first.
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// From the beginning of an event's transaction to its frame, of events that came about while the socket was open.
    pub(super) live: Vec<Duration>,
}

impl Found {
    pub(super) fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.resumed += other.resumed;
        self.reconnects += other.reconnects;
        self.refused += other.refused;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.live.extend(other.live);
    }

    /// Notes the number of a frame after `last`; returns the number seen last.
    fn note(&mut self, last: u64, seq: u64) -> u64 {
        self.frames += 1;
        if seq <= last {
            self.doubled += 1;
            return last;
        }
        self.lost += seq - last - 1;
        seq
    }
}

/// The parts of a frame that matter here.
#[derive(Debug, Deserialize)]
struct Frame {
    r#type: String,
    seq: u64,
}

pub(super) struct Watcher {
    pub(super) place: usize,
    pub(super) sockets: usize,
    /// Reconnects a second of all watchers together.
    pub(super) reconnects: u32,
    pub(super) bearer: String,
    /// URL of the gateway.
    pub(super) url: String,
    pub(super) told: Told,
    pub(super) plan: watch::Receiver<Plan>,
}

/// Why reading has paused.
enum Pause {
    Reconnect,
    Replan,
    End,
}

impl Watcher {
    /// Opens a socket that begins after an event. Returns how often that was refused before, too.
    ///
    /// # Errors
    /// It is refused for 10 s.
    pub(super) async fn connect(&self, last: u64) -> Result<(Socket, u32), Failure> {
        let mut refusals = 0;
        loop {
            match self.try_connect(last).await {
                Ok(socket) => return Ok((socket, refusals)),
                Err(failure) if refusals >= MAX_REFUSALS => return Err(failure),
                Err(_) => {
                    refusals += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn try_connect(&self, last: u64) -> Result<Socket, Failure> {
        let failed = |e: &dyn std::error::Error| Failure::unavailable("a watch is refused").because(e);
        let address = self.url.trim_start_matches("http://");
        let url = format!("ws://{address}/api/v1/tasks/watch?last_seq={last}");
        let mut request = url.into_client_request().map_err(|e| failed(&e))?;
        let bearer = self.bearer.parse().expect("tokens are ASCII");
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0);
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, _) = opened.map_err(|e| {
            let failure = failed(&e);
            let Error::Http(answer) = &e else { return failure };
            let body = answer.body().as_deref().unwrap_or_default();
            failure.detail(String::from_utf8_lossy(body).into_owned())
        })?;
        Ok(socket)
    }

    /// Watches until the last event has come, or the time for it is over.
    ///
    /// # Errors
    /// A frame cannot be read, or the gateway does not take the watcher back.
    pub(super) async fn run(mut self, mut socket: Socket) -> Result<Found, Failure> {
        let mut found = Found::default();
        let mut last = 0;
        let mut opened = Instant::now();
        let mut leave = None;
        loop {
            let plan = *self.plan.borrow_and_update();
            if plan == Plan::Reconnect && leave.is_none() {
                leave = self.first_leave();
            }
            match self
                .read(&mut socket, plan, leave, opened, &mut last, &mut found)
                .await?
            {
                Pause::Replan => {}
                Pause::Reconnect => {
                    // Without a farewell, as a phone in a tunnel.
                    drop(socket);
                    let (again, refusals) = self.connect(last).await?;
                    socket = again;
                    found.reconnects += 1;
                    found.refused += u64::from(refusals);
                    opened = Instant::now();
                    leave = leave
                        .and(self.period())
                        .map(|period| tokio::time::Instant::now() + period);
                }
                Pause::End => {
                    found.lost += self.told.last().saturating_sub(last);
                    return Ok(found);
                }
            }
        }
    }

    async fn read(
        &mut self,
        socket: &mut Socket,
        plan: Plan,
        leave: Option<tokio::time::Instant>,
        opened: Instant,
        last: &mut u64,
        found: &mut Found,
    ) -> Result<Pause, Failure> {
        let end = match plan {
            Plan::Finish(_) if self.told.last() <= *last => return Ok(Pause::End),
            Plan::Finish(end) => Some(end),
            Plan::Open | Plan::Reconnect => None,
        };
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                _ = self.plan.changed() => return Ok(Pause::Replan),
                () = at(leave.filter(|_| plan == Plan::Reconnect)) => return Ok(Pause::Reconnect),
                () = at(end) => return Ok(Pause::End),
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {
                    continue;
                }
                // Sent away: come back, as a client does.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(Pause::Reconnect),
            };
            let frame: Frame = serde_json::from_str(&text)
                .map_err(|e| Failure::new(Code::Failed, "a frame cannot be read").because(&e))?;
            // A snapshot would stand for events that did not come.
            if frame.r#type == "heartbeat" {
                continue;
            }
            let now = Instant::now();
            *last = found.note(*last, frame.seq);
            match self.told.began(frame.seq) {
                Some(began) if began >= opened => found.live.push(now - began),
                Some(_) => found.resumed += 1,
                None => {
                    return Err(Failure::new(
                        Code::Failed,
                        "a frame tells of an event that was not written",
                    ));
                }
            }
            if end.is_some() && self.told.last() <= *last {
                return Ok(Pause::End);
            }
        }
    }

    /// How long a watcher stays; `None`: for ever.
    fn period(&self) -> Option<Duration> {
        let all = u32::try_from(self.sockets).unwrap_or(u32::MAX);
        let per_second = Some(self.reconnects).filter(|n| *n > 0)?;
        Some(Duration::from_secs(1) * all / per_second)
    }

    /// When a watcher leaves for the first time: one after another.
    fn first_leave(&self) -> Option<tokio::time::Instant> {
        let share = f64::from(u32::try_from(self.place).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(self.sockets).unwrap_or(u32::MAX));
        Some(tokio::time::Instant::now() + self.period()?.mul_f64(share))
    }
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_lost_and_repetitions_are_doubled() {
        let mut found = Found::default();
        let mut last = 0;
        for seq in [1, 2, 2, 5, 4, 6] {
            last = found.note(last, seq);
        }
        assert_eq!((last, found.frames, found.lost, found.doubled), (6, 6, 2, 2));
    }
}
