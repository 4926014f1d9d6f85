//! Gateway: HTTP/JSON, WebSocket and SSE in front of the services.
