//! `BENCH_FOUR`: what `evenkeel bench` runs. Its participant keeps nothing; this one keeps books.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use rpc::step::StepCall;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use e2e::Platform;

use crate::generic::{Started, Subject};

const PACKAGE: &str = "evenkeel.bench.v1";
const DOMAIN: &str = "bench.evenkeel";

/// For each saga and step: was it done, was it undone.
type Books = Arc<Mutex<BTreeMap<(String, String), (bool, bool)>>>;

#[derive(Clone, Default)]
struct Participant {
    books: Books,
}

impl Participant {
    fn note<T>(&self, request: &Request<T>, undone: bool) -> Result<(), Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = books.entry((call.saga_id.to_string(), call.step)).or_default();
        if undone {
            entry.1 = true;
        } else {
            entry.0 = true;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl BenchSteps for Participant {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        self.note(&request, false)?;
        let payload = request.into_inner().payload;
        Ok(Response::new(WorkResponse { payload }))
    }

    async fn undo(&self, request: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        self.note(&request, true)?;
        Ok(Response::new(UndoResponse {}))
    }
}

pub(crate) struct BenchFour {
    next: AtomicU32,
    books: Books,
}

impl Subject for BenchFour {
    const SAGA: &'static str = "BENCH_FOUR";

    async fn prepare(platform: &mut Platform) -> Self {
        let participant = Participant::default();
        let books = Arc::clone(&participant.books);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(BenchStepsServer::new(participant))
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        platform.with_participant(PACKAGE, url).await;
        Self {
            next: AtomicU32::new(0),
            books,
        }
    }

    fn domains() -> BTreeMap<String, String> {
        [(PACKAGE.to_owned(), DOMAIN.to_owned())].into()
    }

    fn definition() -> Option<String> {
        Some(include_str!("../../../../../crates/evenkeel/src/bench/BENCH_FOUR.yaml").to_owned())
    }

    fn next(&self) -> Started {
        let business_id = format!("bench-{}", self.next.fetch_add(1, Ordering::Relaxed));
        Started {
            business_id,
            input: json!({ "payload": "x" }),
        }
    }

    /// Of a saga that was undone, everything that was done and can be undone is.
    async fn assert_settled(&self, platform: &Platform) {
        let undone = "select id from saga_instances where status = 'COMPENSATED'";
        let undone: Vec<String> = sqlx::query_scalar(undone)
            .fetch_all(platform.sql())
            .await
            .expect("the database answers");
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        for ((saga, step), (done, is_undone)) in books.iter() {
            if undone.contains(saga) && step != "FOUR" {
                assert!(!done || *is_undone, "{step} of {saga} was left done");
            } else if !undone.contains(saga) {
                assert!(!is_undone, "{step} of {saga} was undone");
            }
        }
    }
}
