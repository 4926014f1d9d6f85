//! Pages and documents: the contract, a page to read it, and what each reason means.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use rpc::error::Reason;
use serde_json::json;
use transcode::{OpenApiVersion, Transcoder};
use utoipa_swagger_ui::{Config as SwaggerConfig, Url};

use crate::context::Context;
use crate::spec;

/// Nothing of a page comes from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/// A document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route<'a> {
    /// The contract, OpenAPI 3.1.
    OpenApi,
    /// The contract, OpenAPI 3.0.
    OpenApi30,
    /// `/docs`, which leads to `/docs/`.
    Docs,
    /// A file of the reading page.
    Asset(&'a str),
    /// What a reason means.
    Error(&'a str),
}

/// Finds the document of a path.
pub(crate) fn find(path: &str) -> Option<Route<'_>> {
    match path {
        "/openapi.json" => Some(Route::OpenApi),
        "/openapi-3.0.json" => Some(Route::OpenApi30),
        "/docs" => Some(Route::Docs),
        _ => {
            let one = |rest: &&str| !rest.contains('/');
            let asset = path.strip_prefix("/docs/").filter(one).map(Route::Asset);
            asset.or_else(|| path.strip_prefix("/errors/").filter(one).map(Route::Error))
        }
    }
}

impl Route<'_> {
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::OpenApi => "/openapi.json",
            Self::OpenApi30 => "/openapi-3.0.json",
            Self::Docs | Self::Asset(_) => "/docs",
            Self::Error(_) => "/errors/{reason}",
        }
    }
}

/// All documents, written once.
pub(crate) struct Pages {
    openapi: Bytes,
    openapi_30: Bytes,
    swagger: Arc<SwaggerConfig<'static>>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

impl Pages {
    /// Writes the documents; with the routes of notifications if there are any.
    pub(crate) fn new(transcoder: &Transcoder, notifies: bool) -> Self {
        let write = |version| spec::document(transcoder, version, notifies).to_string().into();
        let urls = [
            Url::new("OpenAPI 3.1", "/openapi.json"),
            Url::new("OpenAPI 3.0", "/openapi-3.0.json"),
        ];
        Self {
            openapi: write(OpenApiVersion::V3_1),
            openapi_30: write(OpenApiVersion::V3_0),
            swagger: Arc::new(SwaggerConfig::new(urls)),
        }
    }

    pub(crate) fn openapi(&self) -> &[u8] {
        &self.openapi
    }

    pub(crate) fn get(&self, route: Route<'_>, head: &Parts, context: &Context) -> Response<Body> {
        match route {
            Route::OpenApi => document("application/json", self.openapi.clone()),
            Route::OpenApi30 => document("application/json", self.openapi_30.clone()),
            Route::Docs => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                let headers = response.headers_mut();
                headers.insert(header::LOCATION, HeaderValue::from_static("/docs/"));
                response
            }
            Route::Asset(name) => self.asset(name, context),
            Route::Error(name) => error(name, head, context),
        }
    }

    fn asset(&self, name: &str, context: &Context) -> Response<Body> {
        match utoipa_swagger_ui::serve(name, Arc::clone(&self.swagger)) {
            Ok(Some(file)) => {
                let bytes = match file.bytes {
                    Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                    Cow::Owned(bytes) => bytes.into(),
                };
                let mut response = document(&file.content_type, bytes);
                if file.gzpipped {
                    let headers = response.headers_mut();
                    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                response
            }
            Ok(None) => context.refuse(Reason::RouteNotFound, "the page has no such file"),
            Err(error) => {
                tracing::error!(%error, name, "the reading page cannot be made");
                context.refuse(Reason::Internal, Reason::Internal.text_en())
            }
        }
    }
}

fn document(media_type: &str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_str(media_type)
        .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(PAGE_POLICY),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Says what a reason means: to people as a page, to programs that ask for JSON as JSON.
fn error(name: &str, head: &Parts, context: &Context) -> Response<Body> {
    let Some(reason) = Reason::by_name(name) else {
        return context.refuse(Reason::RouteNotFound, "there is no such reason");
    };
    let accept = head
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("json")) {
        let known = json!({
            "reason": reason.name(),
            "code": reason.number(),
            "status": reason.http_status(),
            "grpcCode": rpc::error::code_name(reason.code()),
            "meaning": reason.meaning().trim(),
            "advice": reason.advice(),
            "texts": {"en": reason.text_en(), "zh-CN": reason.text_zh()},
        });
        return document("application/json", known.to_string());
    }
    let mut page = String::new();
    // Writing to a string does not fail; the texts are the catalogue's and hold no markup.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}}</style>\
         <h1>{name}</h1><p>{} <span lang=\"zh-CN\">{}</span></p>\
         <p>{}</p><p>{}</p><p>HTTP {}, gRPC {}, number {}.</p></html>",
        reason.text_en(),
        reason.text_zh(),
        reason.meaning().trim(),
        reason.advice(),
        reason.http_status(),
        rpc::error::code_name(reason.code()),
        reason.number(),
    );
    document("text/html; charset=utf-8", page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_by_their_whole_path() {
        assert!(matches!(find("/openapi.json"), Some(Route::OpenApi)));
        assert!(matches!(
            find("/docs/swagger-ui.css"),
            Some(Route::Asset("swagger-ui.css"))
        ));
        assert!(matches!(find("/errors/INTERNAL"), Some(Route::Error("INTERNAL"))));
        for other in ["/", "/docs/a/b", "/errors/a/b", "/openapi", "/doc", "/errors"] {
            assert!(find(other).is_none(), "{other}");
        }
    }
}
