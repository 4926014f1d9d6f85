//! What stands before the handlers of a listener.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Request, Response};
use kv::Kv;
use tonic::Status;
use tonic::service::Routes;
use tower::Service;

use crate::access::{self, AccessError, Rule};
use crate::caller::Caller;
use crate::error::{Error, Refusal};
use crate::verifier::Verifier;
use crate::{epoch, metric, peer};

/// Services of the machinery, which say nothing about anybody: whether the process lives, and what the contract is.
const LET_THROUGH: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

/// Makes the layers of a service's listeners. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct Guard {
    verifier: Verifier,
    epochs: Option<Kv>,
}

impl Guard {
    /// Makes a guard that refuses administrators (`UNAVAILABLE`), because it cannot tell whether their tokens are current.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        metric::describe();
        Self {
            verifier,
            epochs: None,
        }
    }

    /// Lets it look up the epochs of administrators.
    #[must_use]
    pub fn with_epochs(mut self, epochs: Kv) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// Makes the layer for a listener that serves these services, by full name. Every other path is answered
    /// `UNIMPLEMENTED`, except health and reflection.
    ///
    /// # Errors
    /// A service is not in the contract, or one of its methods does not say who may call it.
    pub fn layer(&self, services: &[&str]) -> Result<Layer, AccessError> {
        Ok(Layer(Arc::new(Shared {
            rules: access::rules(&proto::descriptor_pool(), services)?,
            guard: self.clone(),
        })))
    }

    /// Decides on one request, for servers that are not gRPC: who calls, and whether it may. `operation` is for the log.
    ///
    /// # Errors
    /// Nobody calls where somebody must, the token is not believed, or its owner may not.
    pub async fn admit(
        &self,
        rule: Rule,
        operation: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, Refusal> {
        let caller = match self.identify(headers, extensions).await {
            Ok(caller) => caller,
            // Who logs in again may well send an old token along.
            Err(_) if rule == Rule::Public => Caller::Anonymous,
            Err(refusal) => {
                metric::refused(&refusal, metric::UNKNOWN);
                return Err(refusal);
            }
        };
        match self.check(rule, &caller).await {
            Ok(()) => {
                metric::allowed(caller.kind());
                Ok(caller)
            }
            Err(refusal) => {
                metric::refused(&refusal, caller.kind());
                tracing::debug!(operation, caller = caller.kind(), %refusal, "a call was refused");
                Err(refusal)
            }
        }
    }

    /// Returns when the token of a request stops being believed; `None` if it has none.
    ///
    /// # Errors
    /// It is not believed now.
    pub async fn valid_until(&self, headers: &HeaderMap) -> Result<Option<SystemTime>, Refusal> {
        match bearer(headers)? {
            Some(token) => Ok(Some(self.verifier.valid_until(token, SystemTime::now()).await?)),
            None => Ok(None),
        }
    }

    /// Finds out who calls (the table in docs/adr/0015).
    async fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Refusal> {
        let peer = || peer::service(extensions, SystemTime::now());
        let Some(token) = bearer(headers)? else {
            return Ok(peer().map_or(Caller::Anonymous, |name| Caller::Service { name }));
        };
        let caller = self.verifier.verify(token).await?;
        // A user's token is passed on by services; a service's is shown by nobody else.
        if let Caller::Service { name } = &caller
            && peer().is_some_and(|peer| peer != *name)
        {
            return Err(Error::Certificate.into());
        }
        Ok(caller)
    }

    async fn check(&self, rule: Rule, caller: &Caller) -> Result<(), Refusal> {
        rule.check(caller, self.verifier.audience())?;
        // Also where any user would do: an administrator may name others there.
        if rule != Rule::Public {
            epoch::check(self.epochs.as_ref(), caller).await?;
        }
        Ok(())
    }
}

/// Finds out who calls, lets in whom the contract lets in, and tells the handler ([`caller`](crate::caller)). Refusals are
/// answered without a body read, with `ErrorInfo` of the domain `access.evenkeel`.
#[derive(Debug, Clone)]
pub struct Layer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: HashMap<String, Rule>,
    guard: Guard,
}

impl Layer {
    /// Puts the layer before all of `routes`.
    #[must_use]
    pub fn guard(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(self))
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

/// A service behind the [`Layer`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone stays for the next request; the one that was polled ready handles this one.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let admitted = shared
                .admit(parts.uri.path(), &parts.headers, &parts.extensions)
                .await;
            match admitted {
                Ok(caller) => {
                    parts.extensions.insert(caller);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => Ok(Status::from(refusal).into_http()),
            }
        })
    }
}

impl Shared {
    async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, Refusal> {
        if LET_THROUGH.iter().any(|prefix| path.starts_with(prefix)) {
            return Ok(Caller::Anonymous);
        }
        let Some(&rule) = self.rules.get(path) else {
            return Err(Refusal::NoMethod);
        };
        self.guard.admit(rule, path, headers, extensions).await
    }
}

/// Returns the token of a request (RFC 6750, 2.1); `None` if it has no `authorization`.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Of two, each could be read by somebody else.
    if values.next().is_some() {
        return Err(Refusal::Header);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(Refusal::Header)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Refusal::Header);
    }
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_bearer_token_is_read() {
        assert_eq!(bearer(&headers(&[])), Ok(None));
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])), Ok(Some("a.b.c")));
        assert_eq!(bearer(&headers(&["bearer a.b.c"])), Ok(Some("a.b.c")));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            &["Basic YTpi"][..],
            &["Bearer"],
            &["Bearer "],
            &["a.b.c"],
            &[""],
            &["Bearer a.b.c", "Bearer d.e.f"],
        ] {
            assert_eq!(bearer(&headers(wrong)), Err(Refusal::Header), "{wrong:?}");
        }
    }
}
