//! The contract as an OpenAPI document: what the protos say, and the routes written by hand.

use serde_json::{Value, json};
use transcode::{Info, OpenApiVersion, Transcoder};

use crate::{notify, watch};

/// Media type of the frames of a watch.
const EVENT_STREAM: &str = "text/event-stream";

/// Writes the document.
pub(crate) fn document(transcoder: &Transcoder, version: OpenApiVersion, notifies: bool) -> Value {
    let info = Info {
        title: "Evenkeel".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: DESCRIPTION.to_owned(),
    };
    let mut by_hand = by_hand();
    if notifies {
        for route in notify::Route::ALL {
            by_hand["paths"][route.path()] = notification(route);
        }
    }
    transcoder.openapi(version, &info, &by_hand)
}

const DESCRIPTION: &str = "\
Accounts, quota and tasks over HTTP/JSON.

- Names are lowerCamelCase; snake_case is read as well. Times are RFC 3339, 64-bit integers are JSON numbers, enum values \
have no prefix.
- Users send `Authorization: Bearer <accessToken>`.
- POST, PUT and PATCH take an `Idempotency-Key` (1 to 255 printable ASCII characters): a repetition within 24 hours has the \
first answer and the header `Idempotency-Replayed: true`. Routes that need no token ignore it.
- Every failure is `application/problem+json` (RFC 9457) with a stable `reason`; `/errors/{reason}` says what it means. \
`Accept-Language: zh-CN` gives Chinese titles.";

/// The route of a provider's notifications. What they are made of is the provider's to say.
fn notification(route: notify::Route) -> Value {
    let provider = route.provider();
    let answer = |description: &str| {
        let text = json!({"schema": {"type": "string"}});
        json!({"description": description, "content": {"text/plain": text, "application/json": {"schema": {}}}})
    };
    json!({"post": {
        "operationId": format!("notify{}", provider.replace(' ', "")),
        "summary": format!("Takes notifications of {provider}"),
        "description": "For the provider only: the body passes as it comes, and its signature is verified.",
        "tags": ["Notifications"],
        "security": [],
        "requestBody": {"content": {"*/*": {"schema": {"type": "string"}}}},
        "responses": {
            "200": answer("Taken, or refused; the body says which."),
            "204": {"description": "Taken."},
            "400": answer("Refused."),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }})
}

fn by_hand() -> Value {
    let problem = json!({"$ref": "#/components/responses/Problem"});
    let text = |name: &str, place: &str, description: &str, schema: Value| json!({"name": name, "in": place, "description": description, "required": false, "schema": schema});
    let sequence = json!({"type": "integer", "format": "int64", "minimum": 0});
    let document = |id: &str, summary: &str| {
        json!({"get": {
            "operationId": id, "summary": summary, "tags": ["Documents"], "security": [],
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}},
                "default": problem,
            },
        }})
    };
    json!({
        "tags": [
            {"name": "Watch", "description": "What becomes of a user's tasks, and notifications, live."},
            {"name": "Notifications", "description": "What payment providers tell."},
            {"name": "Documents", "description": "The contract."},
        ],
        "paths": {
            (watch::TICKETS): {"post": {
                "operationId": "createWatchTicket",
                "summary": "Gives a ticket with which a browser watches",
                "description": "Browsers cannot send a token with a WebSocket or an EventSource. The ticket is good for one \
                                connection, for a few seconds.",
                "tags": ["Watch"],
                "responses": {
                    "200": {"description": "OK", "content": {"application/json": {"schema": {
                        "type": "object",
                        "required": ["ticket", "expiresAt"],
                        "properties": {
                            "ticket": {"type": "string"},
                            "expiresAt": {"type": "string", "format": "date-time"},
                        },
                    }}}},
                    "default": problem,
                },
            }},
            (watch::WATCH): {"get": {
                "operationId": "watchTasks",
                "summary": "Streams the caller's feed",
                "description": WATCH,
                "tags": ["Watch"],
                "security": [{"bearerAuth": []}, {}],
                "parameters": [
                    text("ticket", "query", "A ticket, instead of a token.", json!({"type": "string", "maxLength": 128})),
                    text("last_seq", "query", "`seq` of the last frame seen.", sequence.clone()),
                    text("Last-Event-ID", "header", "The same, as browsers send it; it counts if both are there.", sequence),
                ],
                "responses": {
                    "101": {"description": "A WebSocket; each text message is a frame."},
                    "200": {"description": "Server-Sent Events; `data` is a frame, `id` its `seq`, `event` its `type`.",
                            "content": {(EVENT_STREAM): {"schema": {"type": "string"}}}},
                    "default": problem,
                },
            }},
            "/openapi.json": document("getOpenApi", "This document, OpenAPI 3.1"),
            "/openapi-3.0.json": document("getOpenApi30", "This document, OpenAPI 3.0"),
            "/errors/{reason}": {"get": {
                "operationId": "getReason",
                "summary": "What a reason means",
                "tags": ["Documents"],
                "security": [],
                "parameters": [{"name": "reason", "in": "path", "required": true, "schema": {"type": "string"}}],
                "responses": {
                    "200": {"description": "OK", "content": {
                        "text/html": {"schema": {"type": "string"}},
                        "application/json": {"schema": {"type": "object"}},
                    }},
                    "default": problem,
                },
            }},
        },
    })
}

const WATCH: &str = "\
A WebSocket if the request asks for one, else Server-Sent Events. A frame is JSON: `{\"type\":\"task\",\"seq\":7,\"task\":{…}}`. \
Types are `task`, `notification`, `snapshot` (everything; replaces what the client holds) and `heartbeat` (every 15 s in which \
nothing else comes). `seq` grows by one for each event of the user; after a break a client comes back with `last_seq`, and gets \
what it missed, or a snapshot.

A WebSocket is closed with 4001 (TOKEN_EXPIRED: come back with a new token), 4008 (WATCH_TOO_SLOW: come back and resume), 1001 \
(the server is going away: come back), 1013 (the feed is not available: come back later), 1008 (the client sends what it should \
not). Server-Sent Events end with an event `close` that has the same `code` and `reason`.";
