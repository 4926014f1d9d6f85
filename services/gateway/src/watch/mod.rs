//! Live connections: WebSocket and Server-Sent Events, fed by streams of the task service.
//!
//! ```text
//!  client ◄── socket ◄── queue (64 frames, 256 KiB) ◄── Feed ◄── gRPC stream of WatchService, resumed where it broke
//! ```
//! The feed is read as fast as it comes, so that one slow client does not hold up the others on a connection to the task
//! service; a client whose queue is full is sent away and resumes later.

mod config;
mod end;
mod feed;
mod frame;
mod queue;
mod seats;
mod sse;
mod ticket;
mod websocket;

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::Query;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use ids::UserId;
use rpc::error::Reason;
use serde::Deserialize;
use serde_json::json;
use token::{Caller, Guard, Rule};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;

pub use self::config::WatchConfig;

use self::feed::{Feed, Source};
use self::seats::Seats;
use self::ticket::{Ticket, Tickets};
use crate::config::Config;
use crate::context::Context;

/// Path of the stream.
pub(crate) const WATCH: &str = "/api/v1/tasks/watch";
/// Path where tickets for it are given.
pub(crate) const TICKETS: &str = "/api/v1/tasks/watch-tickets";
/// Header in which an EventSource says what it has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// One of the two routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Watch,
    Tickets,
}

/// Finds the route of a path.
pub(crate) fn find(path: &str) -> Option<Route> {
    match path {
        WATCH => Some(Route::Watch),
        TICKETS => Some(Route::Tickets),
        _ => None,
    }
}

impl Route {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Watch => WATCH,
            Self::Tickets => TICKETS,
        }
    }

    pub(crate) const fn method(self) -> Method {
        match self {
            Self::Watch => Method::GET,
            Self::Tickets => Method::POST,
        }
    }

    /// Tells whether a request has the right method. A WebSocket over HTTP/2 is asked for with CONNECT (RFC 8441, 4).
    pub(crate) fn takes(self, method: &Method) -> bool {
        *method == self.method() || self == Self::Watch && *method == Method::CONNECT
    }
}

/// All live connections of this process.
#[derive(Debug)]
pub(crate) struct Watches {
    config: Arc<Config>,
    guard: Guard,
    tickets: Tickets,
    source: Source,
    seats: Seats,
    open: TaskTracker,
    /// The order to end.
    stop: CancellationToken,
}

/// Who watches, and for how long.
#[derive(Debug, Clone, Copy)]
struct Watcher {
    user_id: UserId,
    until: SystemTime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    ticket: Option<String>,
    #[serde(alias = "lastSeq")]
    last_seq: Option<u64>,
}

impl Watches {
    pub(crate) fn new(config: Arc<Config>, deps: &crate::Deps) -> Self {
        Self {
            guard: deps.guard.clone(),
            tickets: Tickets::new(deps.kv.clone(), config.watch.ticket_life),
            source: Source::new(&deps.watch),
            seats: Seats::new(config.watch.max, config.watch.max_per_user),
            open: TaskTracker::new(),
            stop: deps.shutdown.token(),
            config,
        }
    }

    /// Waits until nobody watches. Watchers are sent away by the order to end.
    pub(crate) async fn ended(&self) {
        self.open.close();
        self.open.wait().await;
    }

    pub(crate) async fn answer(
        &self,
        route: Route,
        head: Parts,
        body: Body,
        context: &Context,
    ) -> Response<Body> {
        let answered = match route {
            Route::Tickets => self.give_ticket(&head, body, context).await,
            Route::Watch => self.watch(head, context).await,
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    async fn give_ticket(
        &self,
        head: &Parts,
        body: Body,
        context: &Context,
    ) -> Result<Response<Body>, Response<Body>> {
        let watcher = self.by_token(head, TICKETS, context).await?;
        let body = crate::body::read(head, body, &self.config, context).await?;
        // Nothing can be said in it; `{}` is what clients send that must send something.
        let empty = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(&body);
        if !body.is_empty() && !empty.is_ok_and(|object| object.is_empty()) {
            return Err(context.refuse(
                Reason::InvalidArgument,
                "this request has no body, or an empty object",
            ));
        }
        let ticket = Ticket {
            user_id: watcher.user_id,
            until: watcher.until,
        };
        let (text, expires_at) = self
            .tickets
            .give(&ticket)
            .await
            .map_err(|error| unavailable(&error, context))?;
        let expires_at: chrono::DateTime<chrono::Utc> = expires_at.into();
        let given = json!({
            "ticket": text,
            "expiresAt": expires_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        });
        let mut response = Response::new(Body::from(given.to_string()));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    async fn watch(&self, mut head: Parts, context: &Context) -> Result<Response<Body>, Response<Body>> {
        self.check_origin(&head, context)?;
        let parameters = parameters(&head, context)?;
        // Read before anything is spent: a ticket is good once.
        let upgrade = websocket::requested(&mut head, context).await?;
        let watcher = match &parameters.ticket {
            Some(ticket) => self.by_ticket(ticket, context).await?,
            None => self.by_token(&head, WATCH, context).await?,
        };
        let seat = self
            .seats
            .take(watcher.user_id)
            .map_err(|text| context.refuse(Reason::TooManyWatches, text))?;
        let mut feed = Feed::new(self.source.clone(), watcher.user_id, parameters.last_seq);
        feed.open().await.map_err(|status| context.failed(&status))?;
        let session = Session {
            feed,
            seat,
            open: self.open.token(),
            until: watcher.until,
            stop: self.stop.clone(),
            config: self.config.watch.clone(),
        };
        Ok(match upgrade {
            Some(upgrade) => websocket::respond(upgrade, session),
            None => sse::respond(session),
        })
    }

    /// Refuses pages of sites that are not listed: a browser sends its user's ticket for any page, and asks nobody before it
    /// opens a WebSocket. Programs send no origin.
    fn check_origin(&self, head: &Parts, context: &Context) -> Result<(), Response<Body>> {
        let Some(origin) = head.headers.get(header::ORIGIN) else {
            return Ok(());
        };
        if self.config.allows_origin(origin) || is_own(origin, head) {
            return Ok(());
        }
        Err(context.refuse(
            Reason::OriginNotAllowed,
            "the origin is not listed in gateway.origins",
        ))
    }

    async fn by_token(
        &self,
        head: &Parts,
        operation: &str,
        context: &Context,
    ) -> Result<Watcher, Response<Body>> {
        let refused = |refusal: token::Refusal| context.failed(&Status::from(refusal));
        let caller = self
            .guard
            .admit(Rule::User, operation, &head.headers, &head.extensions)
            .await
            .map_err(refused)?;
        let until = self.guard.valid_until(&head.headers).await.map_err(refused)?;
        match (caller, until) {
            (Caller::User(user), Some(until)) => Ok(Watcher {
                user_id: user.user_id,
                until,
            }),
            (Caller::User(_) | Caller::Anonymous | Caller::Service { .. }, _) => {
                Err(context.refuse(Reason::TokenInvalid, "services watch over gRPC"))
            }
        }
    }

    async fn by_ticket(&self, text: &str, context: &Context) -> Result<Watcher, Response<Body>> {
        let taken = self
            .tickets
            .take(text)
            .await
            .map_err(|error| unavailable(&error, context))?;
        let ticket = taken.ok_or_else(|| {
            context.refuse(
                Reason::WatchTicketInvalid,
                "the ticket is unknown, was used, or has expired",
            )
        })?;
        Ok(Watcher {
            user_id: ticket.user_id,
            until: ticket.until,
        })
    }
}

/// Everything that one live connection needs.
#[derive(Debug)]
struct Session {
    feed: Feed,
    seat: seats::Seat,
    open: TaskTrackerToken,
    /// When its token ends.
    until: SystemTime,
    stop: CancellationToken,
    config: WatchConfig,
}

fn unavailable(error: &kv::Error, context: &Context) -> Response<Body> {
    tracing::warn!(%error, "tickets cannot be given or taken");
    let text = "tickets cannot be given or taken now; a token in `authorization` works";
    context.refuse(Reason::Unavailable, text)
}

/// True for a page that came from this gateway, by whatever name it was reached.
fn is_own(origin: &HeaderValue, head: &Parts) -> bool {
    let host = head
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, from)), Some(host)) if from.eq_ignore_ascii_case(host))
}

fn parameters(head: &Parts, context: &Context) -> Result<Parameters, Response<Body>> {
    let refuse = |text: String| context.refuse(Reason::InvalidArgument, text);
    let Query(mut parameters) =
        Query::<Parameters>::try_from_uri(&head.uri).map_err(|error| refuse(error.body_text()))?;
    if let Some(seen) = head.headers.get(LAST_EVENT_ID) {
        let number = seen.to_str().ok().and_then(|text| text.parse().ok());
        parameters.last_seq =
            Some(number.ok_or_else(|| refuse("Last-Event-ID must be the seq of a frame".to_owned()))?);
    }
    Ok(parameters)
}
