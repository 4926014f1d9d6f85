//! A service in the place of quota: answers GetBalance after a fixed time, whoever asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use proto::quota::v1::{Balance, GetBalanceRequest, GetBalanceResponse};
use tokio::net::TcpListener;
use tonic::server::Grpc;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

use crate::exit::Failure;
use crate::output;

/// Serves until the process is ended. Prints its address first.
///
/// # Errors
/// If the address cannot be listened on.
pub(super) async fn serve(listen: SocketAddr, delay: Duration) -> Result<(), Failure> {
    let failed = |e: &dyn std::error::Error| Failure::unavailable("the backend cannot listen").because(e);
    let method = tower::service_fn(move |request: http::Request<Body>| async move {
        let answer = tower::service_fn(move |_: tonic::Request<GetBalanceRequest>| async move {
            // A thread's sleep, not a timer of the runtime: that one ends at whole milliseconds, which is more than what
            // is measured, and would let callers fall into step with it.
            tokio::task::spawn_blocking(move || std::thread::sleep(delay))
                .await
                .map_err(|e| tonic::Status::internal(e.to_string()))?;
            Ok::<_, tonic::Status>(tonic::Response::new(GetBalanceResponse {
                balance: Some(Balance::default()),
            }))
        });
        let codec = ProstCodec::<GetBalanceResponse, GetBalanceRequest>::default();
        Ok::<_, Infallible>(Grpc::new(codec).unary(answer, request).await)
    });
    let router = axum::Router::new().route_service("/evenkeel.quota.v1.QuotaService/GetBalance", method);
    let listener = TcpListener::bind(listen).await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    output::emit(&format!("listening on {address}\n"))?;
    tonic::transport::Server::builder()
        .add_routes(Routes::from(router))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .map_err(|e| failed(&e))
}
