//! Listeners and channels with certificates.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use process::Shutdown;
use process::grpc::{self, Limits, Listener};
use process::health::Health;
use proto::bench::v1::bench_steps_client::BenchStepsClient;
use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use rpc::channel::{self, Dialer};
use rpc::outcome::{self, Verdict};
use tempfile::TempDir;
use test_support::eventually;
use tls::authority::{Issued, Subject};
use tls::{Authority, Config, Leaf, Mutual};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::transport::{self, Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

const LONG: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

fn authority() -> Authority {
    let now = SystemTime::now();
    Authority::new(now - HOUR, now + 10 * HOUR).unwrap()
}

fn issue(authority: &Authority, until: SystemTime) -> Issued {
    let subject = Subject {
        uri: Some("spiffe://evenkeel/bench"),
        hosts: &["127.0.0.1".to_owned(), "bench".to_owned()],
        from: until - 20 * HOUR,
        until,
    };
    authority.issue(&subject).unwrap()
}

/// A process with certificate files, which it watches.
struct Party {
    dir: TempDir,
    mutual: Mutual,
    stop: CancellationToken,
}

impl Party {
    fn new(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            certificate: Some(dir.path().join("certificate")),
            key: Some(dir.path().join("key")),
            trust: Some(dir.path().join("trust")),
            reload: Duration::from_millis(100),
        };
        fs::write(dir.path().join("trust"), authority.certificate()).unwrap();
        let issued = issue(authority, SystemTime::now() + HOUR);
        write(&dir, &issued);
        let mutual = Mutual::open(&config, "bench").unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(mutual.clone().watch(stop.clone()));
        Self { dir, mutual, stop }
    }

    /// Replaces the files, and waits until they are used.
    async fn renew(&self, authority: &Authority) {
        let before = self.mutual.generation();
        write(&self.dir, &issue(authority, SystemTime::now() + 2 * HOUR));
        eventually(LONG, || async { self.mutual.generation() > before }).await;
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn write(dir: &TempDir, issued: &Issued) {
    fs::write(dir.path().join("certificate"), &issued.certificate).unwrap();
    fs::write(dir.path().join("key"), issued.key.as_bytes()).unwrap();
}

/// Answers with the last second of the client's certificate; waits before, if it is told to.
#[derive(Debug, Clone)]
struct Double {
    entered: Arc<Semaphore>,
    go_on: Arc<Notify>,
}

#[tonic::async_trait]
impl BenchSteps for Double {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let connection = request
            .extensions()
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .and_then(TlsConnectInfo::peer_certs)
            .ok_or_else(|| Status::internal("a client without a certificate was let in"))?;
        let leaf = Leaf::read(&connection[0]).map_err(|error| Status::internal(error.to_string()))?;
        if request.get_ref().payload == "wait" {
            self.entered.add_permits(1);
            self.go_on.notified().await;
        }
        let payload = leaf.not_after().to_string();
        Ok(Response::new(WorkResponse { payload }))
    }

    async fn undo(&self, _: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

/// Serves until the test ends; returns the port.
async fn serve(party: &Party, double: &Double) -> u16 {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.secured(party.mutual.clone());
    assert_eq!(listener.scheme(), "https");
    let port = listener.local_addr().port();
    let (double, health, shutdown) = (double.clone(), Health::new().await, Shutdown::new(LONG));
    tokio::spawn(async move {
        let routes = Routes::new(BenchStepsServer::new(double));
        grpc::serve("bench", listener, routes, &health, &shutdown, &Limits::default()).await
    });
    port
}

fn double() -> Double {
    Double {
        entered: Arc::new(Semaphore::new(0)),
        go_on: Arc::new(Notify::new()),
    }
}

async fn work<C>(channel: C, payload: &str) -> Result<String, Status>
where
    C: tonic::client::GrpcService<tonic::body::Body>,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    C::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as tonic::codegen::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let request = WorkRequest {
        payload: payload.to_owned(),
        ..WorkRequest::default()
    };
    let reply = BenchStepsClient::new(channel).work(request).await?;
    Ok(reply.into_inner().payload)
}

fn dial(party: &Party, port: u16) -> channel::Channel {
    let dialer = Dialer::mutual(party.mutual.clone());
    dialer.lazy(&format!("https://127.0.0.1:{port}")).unwrap()
}

#[tokio::test]
async fn new_files_are_used_without_a_call_that_fails() {
    let authority = authority();
    let (server, client) = (Party::new(&authority), Party::new(&authority));
    let double = double();
    let port = serve(&server, &double).await;
    let channel = dial(&client, port);

    let first = work(channel.clone(), "").await.unwrap();
    let waiting = tokio::spawn(work(channel.clone(), "wait"));
    double.entered.acquire().await.unwrap().forget();
    let calls = tokio::spawn({
        let (channel, stop) = (channel.clone(), client.stop.clone());
        async move {
            let mut made = 0;
            while !stop.is_cancelled() {
                work(channel.clone(), "").await?;
                made += 1;
            }
            Ok::<_, Status>(made)
        }
    });

    server.renew(&authority).await;
    client.renew(&authority).await;
    let second = work(channel.clone(), "").await.unwrap();
    assert_ne!(first, second, "the new certificate was not shown");
    client.stop.cancel();
    assert!(calls.await.unwrap().unwrap() > 0);
    double.go_on.notify_one();
    assert_eq!(
        waiting.await.unwrap().unwrap(),
        first,
        "a call in flight was lost"
    );
}

#[tokio::test]
async fn a_new_authority_is_believed_and_the_old_one_is_not_any_more() {
    let (old, new) = (authority(), authority());
    let (server, client, late) = (Party::new(&old), Party::new(&old), Party::new(&old));
    let port = serve(&server, &double()).await;
    work(dial(&client, port), "").await.unwrap();
    for party in [&server, &client] {
        // Trust first, then certificates: as it is done where nothing may fail.
        let both = format!("{}{}", old.certificate(), new.certificate());
        fs::write(party.dir.path().join("trust"), both).unwrap();
        eventually(LONG, || async { party.mutual.generation() == 1 }).await;
    }
    for party in [&server, &client] {
        party.renew(&new).await;
    }
    work(dial(&client, port), "").await.unwrap();
    fs::write(server.dir.path().join("trust"), new.certificate()).unwrap();
    eventually(LONG, || async { server.mutual.generation() == 3 }).await;
    work(dial(&client, port), "").await.unwrap();
    assert!(work(dial(&late, port), "").await.is_err());
}

#[tokio::test]
async fn a_listener_of_this_process_is_reached_by_whatever_address() {
    let authority = authority();
    let party = Party::new(&authority);
    let port = serve(&party, &double()).await;
    let dialer = Dialer::mutual(party.mutual.clone());
    // `localhost` is not in the certificate.
    let url = format!("https://localhost:{port}");
    let status = work(dialer.lazy(&url).unwrap(), "").await.unwrap_err();
    assert!(format!("{status:?}").contains("NotValidForName"), "{status:?}");
    work(dialer.lazy_to_own(&url).unwrap(), "").await.unwrap();
}

/// Calls as somebody who need not have a usable certificate.
async fn stranger(authority: &Authority, port: u16, shown: Option<Issued>) -> Status {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.certificate()));
    if let Some(issued) = shown {
        tls = tls.identity(Identity::from_pem(issued.certificate, issued.key.as_bytes()));
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    work(channel, "").await.unwrap_err()
}

#[tokio::test]
async fn who_has_no_good_certificate_reaches_no_handler() {
    let (ours, theirs) = (authority(), authority());
    let server = Party::new(&ours);
    let port = serve(&server, &double()).await;
    let now = SystemTime::now();
    let cases = [
        (None, "CertificateRequired"),
        (Some(issue(&theirs, now + HOUR)), "UnknownCA"),
        (Some(issue(&ours, now - HOUR)), "CertificateExpired"),
        (Some(issue(&ours, now + 21 * HOUR)), "CertificateExpired"),
    ];
    for (shown, alert) in cases {
        let status = stranger(&ours, port, shown).await;
        assert!(format!("{status:?}").contains(alert), "{alert}: {status:?}");
    }
    work(dial(&server, port), "").await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_refused_by_either_side_has_carried_nothing() {
    let (ours, theirs) = (authority(), authority());
    let server = Party::new(&ours);
    let port = serve(&server, &double()).await;
    let both = format!("{}{}", ours.certificate(), theirs.certificate());
    let (stranger, distrustful) = (Party::new(&theirs), Party::new(&theirs));
    fs::write(stranger.dir.path().join("trust"), both).unwrap();
    eventually(LONG, || async { stranger.mutual.generation() == 1 }).await;
    let nobody = {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.local_addr().port()
    };
    let cases = [
        (&stranger, port, "UnknownCA"),
        (&distrustful, port, "UnknownIssuer"),
        (&server, nobody, "ConnectionRefused"),
    ];
    for (party, port, why) in cases {
        let status = work(dial(party, port), "").await.unwrap_err();
        assert!(format!("{status:?}").contains(why), "{why}: {status:?}");
        assert_eq!(outcome::classify(&status, "any"), Verdict::Unsent, "{status:?}");
    }
}

#[tokio::test]
async fn a_plain_client_is_told_that_the_port_speaks_tls() {
    let server = Party::new(&authority());
    let port = serve(&server, &double()).await;
    let channel: transport::Channel = channel::lazy(&format!("http://127.0.0.1:{port}")).unwrap();
    let status = work(channel, "").await.unwrap_err();
    let text = format!("{status:?}");
    assert!(
        text.contains("INADEQUATE_SECURITY") && text.contains("this port speaks TLS: use https://"),
        "{text}"
    );
}

#[tokio::test]
async fn a_silent_client_holds_up_nobody() {
    let server = Party::new(&authority());
    let port = serve(&server, &double()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    work(dial(&server, port), "").await.unwrap();
}
