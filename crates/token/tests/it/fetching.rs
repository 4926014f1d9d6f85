//! Keys that are not at hand.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::body::Body;
use futures::future::join_all;
use http::Request;
use proto::auth::v1::{GetJwksRequest, GetJwksResponse};
use token::{Caller, Error, Role, SigningKey, UserKeys, Verifier};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::Grpc;
use tonic::service::Routes;
use tonic_prost::ProstCodec;

use crate::support::{Counter, Platform, name};

/// The one method of the auth service that is needed here. It ends when it is dropped.
struct Auth {
    keys: Arc<Mutex<Vec<SigningKey>>>,
    asked: Counter,
    url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Auth {
    async fn serve(keys: Vec<SigningKey>) -> Self {
        let (keys, asked) = (Arc::new(Mutex::new(keys)), Counter::default());
        let method = {
            let (keys, asked) = (Arc::clone(&keys), asked.clone());
            tower::service_fn(move |request: Request<Body>| {
                let (keys, asked) = (Arc::clone(&keys), asked.clone());
                async move {
                    let answer = tower::service_fn(move |_: tonic::Request<GetJwksRequest>| {
                        asked.count();
                        let keys = keys.lock().unwrap().iter().map(|key| key.jwk().into()).collect();
                        std::future::ready(Ok(tonic::Response::new(GetJwksResponse { keys })))
                    });
                    let codec = ProstCodec::<GetJwksResponse, GetJwksRequest>::default();
                    Ok::<_, Infallible>(Grpc::new(codec).unary(answer, request).await)
                }
            })
        };
        let router = axum::Router::new().route_service("/evenkeel.auth.v1.AuthService/GetJwks", method);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_routes(Routes::from(router))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            keys,
            asked,
            url,
            serving,
        }
    }

    fn verifier(&self, platform: &Platform) -> Verifier {
        let channel = rpc::channel::lazy(&self.url).unwrap();
        Verifier::new(name("quota"), platform.services(), UserKeys::fetched(channel))
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_however_many_wait_for_it() {
    let platform = Platform::new();
    let auth = Auth::serve(vec![platform.auth.clone()]).await;
    let verifier = auth.verifier(&platform);
    let tokens: Vec<String> = (0..50).map(|_| platform.access(Role::User, 0).1).collect();
    for result in join_all(tokens.iter().map(|token| verifier.verify(token))).await {
        assert!(matches!(result, Ok(Caller::User(_))), "{result:?}");
    }
    assert_eq!(auth.asked.seen(), 1);
}

#[tokio::test]
async fn keys_of_nobody_do_not_make_a_flood() {
    let platform = Platform::new();
    let auth = Auth::serve(vec![platform.auth.clone()]).await;
    let verifier = auth.verifier(&platform);
    for _ in 0..20 {
        let stranger = Platform::new();
        let (_, token) = stranger.access(Role::User, 0);
        assert_eq!(verifier.verify(&token).await, Err(Error::UnknownKey));
    }
    assert_eq!(auth.asked.seen(), 1);
    assert!(verifier.verify(&platform.access(Role::User, 0).1).await.is_ok());
}

#[tokio::test]
async fn known_keys_go_on_working_while_the_auth_service_is_away() {
    let platform = Platform::new();
    let auth = Auth::serve(vec![platform.auth.clone()]).await;
    let verifier = auth.verifier(&platform);
    assert!(verifier.verify(&platform.access(Role::User, 0).1).await.is_ok());
    drop(auth);
    assert!(verifier.verify(&platform.access(Role::User, 0).1).await.is_ok());
}

#[tokio::test]
async fn a_key_that_cannot_be_asked_for_is_no_wrong_key() {
    let platform = Platform::new();
    let auth = Auth::serve(Vec::new()).await;
    let (url, verifier) = (auth.url.clone(), auth.verifier(&platform));
    drop(auth);
    let (_, token) = platform.access(Role::User, 0);
    assert_eq!(
        verifier.verify(&token).await,
        Err(Error::KeysUnavailable),
        "{url}"
    );
    // Services are believed without it.
    assert!(verifier.verify(&platform.service("task")).await.is_ok());
}

#[tokio::test]
async fn a_set_that_is_too_large_is_not_believed() {
    let platform = Platform::new();
    let auth = Auth::serve(vec![platform.auth.clone()]).await;
    let many = std::iter::repeat_with(|| SigningKey::generate().unwrap()).take(17);
    auth.keys.lock().unwrap().extend(many);
    let verifier = auth.verifier(&platform);
    let (_, token) = platform.access(Role::User, 0);
    assert_eq!(verifier.verify(&token).await, Err(Error::KeysUnavailable));
}

/// Waits until the directory may be read again. The interval is real time, 5 s.
async fn known_at_last(verifier: &Verifier, token: &str) {
    test_support::eventually(crate::support::LONG, || async {
        verifier.verify_at(token, SystemTime::now()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_new_service_and_a_new_key_are_known_without_a_restart() {
    let platform = Platform::new();
    let verifier = platform.verifier();
    platform.add("device");
    for file in ["task.key.pem", "task.pub.pem"] {
        std::fs::remove_file(platform.dir.path().join(file)).unwrap();
    }
    platform.add("task");
    known_at_last(&verifier, &platform.service("device")).await;
    known_at_last(&verifier, &platform.service("task")).await;
}
