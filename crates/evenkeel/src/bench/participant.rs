//! The participant: answers at once, keeps nothing.

use std::net::SocketAddr;

use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use rpc::error::Reason;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::exit::Failure;
use crate::output;

/// Domain of the participant's refusals.
pub(crate) const DOMAIN: &str = "bench.evenkeel";

struct Participant;

#[tonic::async_trait]
impl BenchSteps for Participant {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let request = request.into_inner();
        if request.refuse_step != 0 && request.refuse_step == request.step {
            return Err(Reason::PipelineFailed.status(DOMAIN, "refused, as the load asked for"));
        }
        Ok(Response::new(WorkResponse {
            payload: request.payload,
        }))
    }

    async fn undo(&self, _: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        Ok(Response::new(UndoResponse {}))
    }
}

/// Serves until the process is ended. Prints its address first.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Failure> {
    let failed = |e: &dyn std::error::Error| Failure::unavailable("the participant cannot listen").because(e);
    let listener = TcpListener::bind(listen).await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    output::emit(&format!("listening on {address}\n"))?;
    tonic::transport::Server::builder()
        .add_service(BenchStepsServer::new(Participant))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .map_err(|e| failed(&e))
}
