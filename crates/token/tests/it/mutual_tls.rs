//! Services known by the certificates of their connections.

use std::time::{Duration, SystemTime};

use rpc::error::info;
use tls::Authority;
use tls::authority::Subject;
use token::{Caller, Guard, Role, certificate_uri};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Status};

use proto::quota::v1::quota_steps_client::QuotaStepsClient;
use proto::quota::v1::quota_steps_server::{QuotaSteps, QuotaStepsServer};
use proto::quota::v1::{
    CancelRequest, CancelResponse, ClawBackOrderRequest, ClawBackOrderResponse, ConfirmRequest,
    ConfirmResponse, GrantForOrderRequest, GrantForOrderResponse, ReserveRequest, ReserveResponse,
    RestoreOrderRequest, RestoreOrderResponse,
};

use crate::support::{Platform, name};

/// Answers whom it sees, as a message of a status.
struct Steps;

fn seen<T>(request: &tonic::Request<T>) -> Status {
    match token::caller(request) {
        Caller::Service { name } => Status::aborted(name.to_string()),
        other @ (Caller::Anonymous | Caller::User(_)) => Status::aborted(other.kind()),
    }
}

#[tonic::async_trait]
impl QuotaSteps for Steps {
    async fn reserve(
        &self,
        request: tonic::Request<ReserveRequest>,
    ) -> Result<tonic::Response<ReserveResponse>, Status> {
        Err(seen(&request))
    }

    async fn cancel(
        &self,
        request: tonic::Request<CancelRequest>,
    ) -> Result<tonic::Response<CancelResponse>, Status> {
        Err(seen(&request))
    }

    async fn confirm(
        &self,
        request: tonic::Request<ConfirmRequest>,
    ) -> Result<tonic::Response<ConfirmResponse>, Status> {
        Err(seen(&request))
    }

    async fn grant_for_order(
        &self,
        request: tonic::Request<GrantForOrderRequest>,
    ) -> Result<tonic::Response<GrantForOrderResponse>, Status> {
        Err(seen(&request))
    }

    async fn claw_back_order(
        &self,
        request: tonic::Request<ClawBackOrderRequest>,
    ) -> Result<tonic::Response<ClawBackOrderResponse>, Status> {
        Err(seen(&request))
    }

    async fn restore_order(
        &self,
        request: tonic::Request<RestoreOrderRequest>,
    ) -> Result<tonic::Response<RestoreOrderResponse>, Status> {
        Err(seen(&request))
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn authority() -> Authority {
    let now = SystemTime::now();
    Authority::new(now - HOUR, now + HOUR).unwrap()
}

fn root(authority: &Authority) -> Certificate {
    Certificate::from_pem(authority.certificate())
}

/// A certificate of a service, or of nobody.
fn issue(authority: &Authority, service: Option<&str>) -> Identity {
    let uri = service.map(|service| certificate_uri(&name(service)));
    let now = SystemTime::now();
    let subject = Subject {
        uri: uri.as_deref(),
        hosts: &["localhost".to_owned()],
        from: now - HOUR,
        until: now + HOUR,
    };
    let issued = authority.issue(&subject).unwrap();
    Identity::from_pem(issued.certificate, issued.key.as_bytes())
}

/// Serves the steps of quota; clients may show a certificate.
async fn serve(authority: &Authority, guard: &Guard) -> u16 {
    let tls = ServerTlsConfig::new()
        .identity(issue(authority, Some("quota")))
        .client_ca_root(root(authority))
        .client_auth_optional(true);
    let layer = guard.layer(&["evenkeel.quota.v1.QuotaSteps"]).unwrap();
    let routes = layer.guard(Routes::new(QuotaStepsServer::new(Steps)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = Server::builder().tls_config(tls).unwrap();
    tokio::spawn(
        server
            .add_routes(routes)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    port
}

async fn connect(authority: &Authority, port: u16, identity: Option<Identity>) -> Channel {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(root(authority))
        .domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

/// Whom the handler saw, or the reason of the refusal.
async fn reserve(channel: &Channel, token: Option<&str>) -> String {
    let mut request = Request::new(ReserveRequest::default());
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    let mut client = QuotaStepsClient::new(channel.clone());
    let status = client.reserve(request).await.unwrap_err();
    match info(&status) {
        Some(info) => info.reason,
        None => {
            assert_eq!(status.code(), Code::Aborted, "{status:?}");
            status.message().to_owned()
        }
    }
}

#[tokio::test]
async fn certificate_and_token_together_say_who_calls() {
    let platform = Platform::new();
    let authority = authority();
    let port = serve(&authority, &Guard::new(platform.verifier())).await;
    let saga = connect(&authority, port, Some(issue(&authority, Some("saga")))).await;
    let task = connect(&authority, port, Some(issue(&authority, Some("task")))).await;
    let unnamed = connect(&authority, port, Some(issue(&authority, None))).await;
    let nobody = connect(&authority, port, None).await;

    let token = platform.service("saga");
    let (_, user) = platform.access(Role::User, 0);
    // Steps are for the orchestrator: a user is known, and may not; nobody is not known.
    let table = [
        (&saga, None, "saga"),
        (&saga, Some(&token), "saga"),
        (&saga, Some(&user), "PERMISSION_DENIED"),
        (&task, None, "PERMISSION_DENIED"),
        (&task, Some(&token), "TOKEN_INVALID"),
        (&unnamed, None, "UNAUTHENTICATED"),
        (&unnamed, Some(&token), "saga"),
        (&nobody, None, "UNAUTHENTICATED"),
        (&nobody, Some(&token), "saga"),
    ];
    for (row, (channel, token, expected)) in table.into_iter().enumerate() {
        let seen = reserve(channel, token.map(String::as_str)).await;
        assert_eq!(seen, expected, "row {row}");
    }
    let broken = "a.b.c";
    assert_eq!(reserve(&saga, Some(broken)).await, "TOKEN_INVALID");
}
