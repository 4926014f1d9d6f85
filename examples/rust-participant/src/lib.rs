//! A minimal participant of a saga: a shop with stock, wallets and parcels, in a Postgres schema of its own.
//!
//! Each step is one transaction together with its barrier row, so that it may be called twice, late, or never. What is
//! written here is only the business; `docs/sagas.md` goes through it.

use anyhow::Context as _;
use barrier::{Again, Done, RefusalCode, Stop};
use process::PoolConfig;
use rpc::step::StepCall;
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use crate::pb::shop_steps_server::{ShopSteps, ShopStepsServer};

/// Generated from `proto/acme/shop/v1/shop.proto`.
#[expect(clippy::allow_attributes, reason = "generated; not written to our rules")]
pub mod pb {
    tonic::include_proto!("acme.shop.v1");
}

/// Schema of the participant.
pub const SCHEMA: &str = "shop";
/// Domain of its refusals: `error_domain` in the orchestrator's settings.
const DOMAIN: &str = "shop.acme";

/// The shop's tables; the first is the barrier's.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Answers the steps.
#[derive(Debug)]
pub struct Shop {
    pool: PgPool,
}

/// Opens the shop: brings its schema up to date and connects.
///
/// # Errors
/// If the database does not answer.
pub async fn open(database_url: &str) -> anyhow::Result<ShopStepsServer<Shop>> {
    process::migrate::run(database_url, SCHEMA, &MIGRATIONS)
        .await
        .context("cannot prepare the schema")?;
    let config = PoolConfig {
        url: database_url.to_owned(),
        min: 1,
        max: 10,
        ..PoolConfig::default()
    };
    let pool = process::pool::connect("shop", SCHEMA, &config)
        .await
        .context("cannot connect")?;
    Ok(ShopStepsServer::new(Shop { pool }))
}

#[tonic::async_trait]
impl ShopSteps for Shop {
    async fn reserve_stock(
        &self,
        request: Request<pb::ReserveStockRequest>,
    ) -> Result<Response<pb::ReserveStockResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.into_inner();
        let work = async |conn: &mut PgConnection, _: Again| {
            let left: Option<i64> = sqlx::query_scalar(
                "update stock set available = available - $2 \
                 where item = $1 and $2 > 0 and available >= $2 returning available",
            )
            .bind(&request.item)
            .bind(request.quantity)
            .fetch_optional(conn)
            .await?;
            match left {
                Some(left) => Ok(Done::Reply(pb::ReserveStockResponse { left })),
                // A definite no: nothing was written, and the barrier remembers the answer.
                None => Err(Stop::refuse_as(
                    RefusalCode::FailedPrecondition,
                    "OUT_OF_STOCK",
                    format!("there are not {} of {}", request.quantity, request.item),
                )),
            }
        };
        barrier::run(&self.pool, &call, &request, DOMAIN, work).await
    }

    async fn release_stock(
        &self,
        request: Request<pb::ReleaseStockRequest>,
    ) -> Result<Response<pb::ReleaseStockResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.into_inner();
        // Runs only if the stock was taken, once, and never before the action: the barrier sees to that.
        let work = async |conn: &mut PgConnection, _: Again| {
            sqlx::query("update stock set available = available + $2 where item = $1")
                .bind(&request.item)
                .bind(request.quantity)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(pb::ReleaseStockResponse {}))
        };
        barrier::run(&self.pool, &call, &request, DOMAIN, work).await
    }

    async fn take_payment(
        &self,
        request: Request<pb::TakePaymentRequest>,
    ) -> Result<Response<pb::TakePaymentResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.into_inner();
        let work = async |conn: &mut PgConnection, _: Again| {
            let paid = sqlx::query(
                "update wallet set balance_minor = balance_minor - $2 \
                 where customer = $1 and $2 > 0 and balance_minor >= $2",
            )
            .bind(&request.customer)
            .bind(request.amount_minor)
            .execute(conn)
            .await?;
            if paid.rows_affected() == 1 {
                return Ok(Done::Reply(pb::TakePaymentResponse {}));
            }
            Err(Stop::refuse_as(
                RefusalCode::FailedPrecondition,
                "WALLET_TOO_LOW",
                format!("{} cannot pay {}", request.customer, request.amount_minor),
            ))
        };
        barrier::run(&self.pool, &call, &request, DOMAIN, work).await
    }

    async fn refund_payment(
        &self,
        request: Request<pb::RefundPaymentRequest>,
    ) -> Result<Response<pb::RefundPaymentResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.into_inner();
        let work = async |conn: &mut PgConnection, _: Again| {
            sqlx::query("update wallet set balance_minor = balance_minor + $2 where customer = $1")
                .bind(&request.customer)
                .bind(request.amount_minor)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(pb::RefundPaymentResponse {}))
        };
        barrier::run(&self.pool, &call, &request, DOMAIN, work).await
    }

    async fn book_parcel(
        &self,
        request: Request<pb::BookParcelRequest>,
    ) -> Result<Response<pb::BookParcelResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.into_inner();
        let work = async |conn: &mut PgConnection, _: Again| {
            sqlx::query("insert into parcel (order_id, customer) values ($1, $2)")
                .bind(&request.order_id)
                .bind(&request.customer)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(pb::BookParcelResponse {}))
        };
        barrier::run(&self.pool, &call, &request, DOMAIN, work).await
    }
}
