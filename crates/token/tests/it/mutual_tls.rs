//! Services known by the certificates of their connections.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rpc::error::info;
use token::{Caller, Guard};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Status};

use proto::quota::v1::quota_steps_client::QuotaStepsClient;
use proto::quota::v1::quota_steps_server::{QuotaSteps, QuotaStepsServer};
use proto::quota::v1::{
    CancelRequest, CancelResponse, ConfirmRequest, ConfirmResponse, ReserveRequest, ReserveResponse,
};

use crate::support::Platform;

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
}

/// An authority, and what it issues.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn root(&self) -> Certificate {
        Certificate::from_pem(self.certificate.pem())
    }

    fn issue(&self, service: &str) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let uri = format!("spiffe://evenkeel/{service}");
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

/// Serves the steps of quota; clients may show a certificate.
async fn serve(authority: &Authority, guard: &Guard) -> u16 {
    let tls = ServerTlsConfig::new()
        .identity(authority.issue("quota"))
        .client_ca_root(authority.root())
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
        .ca_certificate(authority.root())
        .domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

async fn reserve(channel: Channel) -> Status {
    let request = ReserveRequest::default();
    QuotaStepsClient::new(channel).reserve(request).await.unwrap_err()
}

#[tokio::test]
async fn a_certificate_stands_for_a_token() {
    let platform = Platform::new();
    let authority = Authority::new();
    let port = serve(&authority, &Guard::new(platform.verifier())).await;

    let saga = connect(&authority, port, Some(authority.issue("saga"))).await;
    let status = reserve(saga).await;
    assert_eq!((status.code(), status.message()), (Code::Aborted, "saga"));

    let task = connect(&authority, port, Some(authority.issue("task"))).await;
    let status = reserve(task).await;
    assert_eq!(info(&status).unwrap().reason, "PERMISSION_DENIED");

    let nobody = connect(&authority, port, None).await;
    let status = reserve(nobody).await;
    assert_eq!(info(&status).unwrap().reason, "UNAUTHENTICATED");
}
