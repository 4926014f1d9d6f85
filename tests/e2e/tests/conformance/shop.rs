//! The Rust example, and shops in memory that keep the rules but for one.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use proto::quota::v1::{Balance, GetBalanceRequest, GetBalanceResponse};
use rpc::error::Reason;
use rpc::step::{self, StepCall};
use rust_participant::pb;
use rust_participant::pb::shop_steps_server::{ShopSteps, ShopStepsServer};
use sqlx::PgPool;
use test_support::{Scratch, TestDatabase};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::{Report, evenkeel};

pub(crate) const DOMAIN: &str = "shop.acme";
/// Items at the beginning.
const STOCK: i64 = 1_000;
/// A call waits so long for another one of the same operation.
const COMPANY: Duration = Duration::from_millis(300);

/// A rule that a shop does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Every call takes items, and the reply does not show it.
    NoBarrier,
    /// A repeated call takes nothing, and is answered with another number each time.
    RepliesAnew,
    /// It looks whether a call came before, and only then notes it.
    LooksFirst,
    /// Items that were never taken are put back.
    NoNullCompensation,
    /// An action that comes after its compensation takes items.
    NoTombstone,
    /// It asks to be asked again, without saying when.
    SaysNotWhen,
}

type Key = (String, u32, String);

#[derive(Debug, Default)]
struct Books {
    taken: i64,
    replies: HashMap<Key, i64>,
    requests: HashMap<Key, pb::ReserveStockRequest>,
    given_back: HashSet<Key>,
    /// Calls that were answered anew, and whether one was put off.
    repeated: i64,
    put_off: bool,
}

#[derive(Debug)]
struct FlawedShop {
    flaw: Flaw,
    books: Mutex<Books>,
    company: Notify,
}

/// A shop that answers, and where.
pub(crate) struct Open {
    pub(crate) folder: Scratch,
    pub(crate) url: String,
    pub(crate) database: Option<TestDatabase>,
}

/// Opens the example, on a database of its own.
pub(crate) async fn example() -> Open {
    let database = TestDatabase::create(&[]).await;
    let shop = rust_participant::open(&database.url())
        .await
        .expect("the shop opens");
    sqlx::raw_sql("update shop.stock set available = 1000; update shop.wallet set balance_minor = 1000000")
        .execute(database.admin())
        .await
        .expect("the database answers");
    let pool = database.admin().clone();
    let count = move || available(pool.clone());
    serve(shop, count, Some(database)).await
}

async fn available(pool: PgPool) -> i64 {
    let available = sqlx::query_scalar("select available from shop.stock where item = 'kettle'");
    available.fetch_one(&pool).await.expect("the database answers")
}

/// Opens a shop with a flaw.
pub(crate) async fn flawed(flaw: Flaw) -> Open {
    let shop = Arc::new(FlawedShop {
        flaw,
        books: Mutex::default(),
        company: Notify::new(),
    });
    let counted = Arc::clone(&shop);
    let count = move || std::future::ready(STOCK - counted.books().taken);
    serve(ShopStepsServer::from_arc(shop), count, None).await
}

/// Serves the steps, and what is left in stock as somebody's balance.
async fn serve<S, F>(
    shop: ShopStepsServer<S>,
    count: impl Fn() -> F + Clone + Send + Sync + 'static,
    database: Option<TestDatabase>,
) -> Open
where
    S: ShopSteps,
    F: Future<Output = i64> + Send + 'static,
{
    let counting = tower::service_fn(move |request: http::Request<Body>| {
        let count = count.clone();
        async move {
            let answer = tower::service_fn(move |_: Request<GetBalanceRequest>| {
                let count = count.clone();
                async move {
                    let balance = Balance {
                        available: count().await,
                        ..Balance::default()
                    };
                    Ok(Response::new(GetBalanceResponse {
                        balance: Some(balance),
                    }))
                }
            });
            let codec = ProstCodec::<GetBalanceResponse, GetBalanceRequest>::default();
            Ok::<_, Infallible>(tonic::server::Grpc::new(codec).unary(answer, request).await)
        }
    });
    let router = Routes::new(shop)
        .into_axum_router()
        .route_service("/evenkeel.quota.v1.QuotaService/GetBalance", counting);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    let serving = tonic::transport::Server::builder()
        .add_routes(Routes::from(router))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(serving);
    let folder = Scratch::new().expect("a directory can be made");
    let descriptors = e2e::descriptors("examples/rust-participant/proto/acme/shop/v1/shop.proto");
    std::fs::write(folder.path().join("shop.binpb"), descriptors).expect("the directory can be written");
    Open {
        folder,
        url,
        database,
    }
}

impl Open {
    /// Checks the stock, with a look at what is left.
    pub(crate) async fn check(&self, more: &[&str]) -> Report {
        let mut args = vec![
            "participant",
            "check",
            "--url",
            &self.url,
            "--error-domain",
            DOMAIN,
        ];
        args.extend(["--descriptors", "shop.binpb"]);
        args.extend(["--action", "acme.shop.v1.ShopSteps/ReserveStock"]);
        args.extend(["--request", r#"{"item": "kettle", "quantity": 2}"#]);
        args.extend(["--compensation", "acme.shop.v1.ShopSteps/ReleaseStock"]);
        args.extend(more);
        evenkeel(self.folder.path(), &args).await
    }

    /// The same, and what is left is read over gRPC.
    pub(crate) async fn check_and_count(&self, more: &[&str]) -> Report {
        let counting = [
            "--count-method",
            "evenkeel.quota.v1.QuotaService/GetBalance",
            "--count-path",
            "balance.available",
        ];
        let all: Vec<&str> = counting.into_iter().chain(more.iter().copied()).collect();
        self.check(&all).await
    }
}

impl FlawedShop {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for another call, but not for ever.
    async fn wait_for_company(&self) {
        self.company.notify_waiters();
        // Nobody came.
        let _ = tokio::time::timeout(COMPANY, self.company.notified()).await;
    }
}

fn key(call: &StepCall) -> Key {
    (call.saga_id.to_string(), call.index, call.step.clone())
}

fn left(left: i64) -> Response<pb::ReserveStockResponse> {
    let mut response = Response::new(pb::ReserveStockResponse { left });
    step::set_stored(response.metadata_mut());
    response
}

#[tonic::async_trait]
impl ShopSteps for FlawedShop {
    async fn reserve_stock(
        &self,
        request: Request<pb::ReserveStockRequest>,
    ) -> Result<Response<pb::ReserveStockResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let (key, quantity) = (key(&call), request.get_ref().quantity);
        if self.flaw == Flaw::SaysNotWhen && !std::mem::replace(&mut self.books().put_off, true) {
            let mut response = Response::new(pb::ReserveStockResponse::default());
            let metadata = response.metadata_mut();
            metadata.insert(step::PENDING_HEADER, "soon".parse().expect("ASCII"));
            return Ok(response);
        }
        if self.flaw == Flaw::LooksFirst && !self.books().replies.contains_key(&key) {
            self.wait_for_company().await;
            self.books().replies.remove(&key);
        }
        let mut books = self.books();
        if self.flaw == Flaw::NoBarrier {
            books.taken += quantity;
            return Ok(left(STOCK));
        }
        if books
            .requests
            .get(&key)
            .is_some_and(|first| first != request.get_ref())
        {
            return Err(Reason::BarrierMismatch.status(DOMAIN, "another request"));
        }
        if let Some(&reply) = books.replies.get(&key) {
            if self.flaw == Flaw::RepliesAnew {
                books.repeated += 1;
            }
            return Ok(left(reply - books.repeated));
        }
        if books.given_back.contains(&key) && self.flaw != Flaw::NoTombstone {
            return Err(Reason::Superseded.status(DOMAIN, "it was given back"));
        }
        books.taken += quantity;
        let reply = STOCK - books.taken;
        books.replies.insert(key.clone(), reply);
        books.requests.insert(key, request.into_inner());
        Ok(left(reply))
    }

    async fn release_stock(
        &self,
        request: Request<pb::ReleaseStockRequest>,
    ) -> Result<Response<pb::ReleaseStockResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let (key, quantity) = (key(&call), request.get_ref().quantity);
        let mut books = self.books();
        let first = books.given_back.insert(key.clone());
        let taken = books.replies.contains_key(&key) || self.flaw == Flaw::NoBarrier;
        if first && (taken || self.flaw == Flaw::NoNullCompensation) {
            books.taken -= quantity;
        }
        Ok(Response::new(pb::ReleaseStockResponse {}))
    }

    async fn take_payment(
        &self,
        _: Request<pb::TakePaymentRequest>,
    ) -> Result<Response<pb::TakePaymentResponse>, Status> {
        Ok(Response::new(pb::TakePaymentResponse {}))
    }

    async fn refund_payment(
        &self,
        _: Request<pb::RefundPaymentRequest>,
    ) -> Result<Response<pb::RefundPaymentResponse>, Status> {
        Ok(Response::new(pb::RefundPaymentResponse {}))
    }

    async fn book_parcel(
        &self,
        _: Request<pb::BookParcelRequest>,
    ) -> Result<Response<pb::BookParcelResponse>, Status> {
        Ok(Response::new(pb::BookParcelResponse {}))
    }
}
