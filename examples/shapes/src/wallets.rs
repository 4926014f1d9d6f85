//! Accounts: money is set aside or expected first (try), then moved (confirm) or left where it is (cancel).

use barrier::{Done, Stop};
use rpc::step::StepCall;
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};

use crate::v1::wallet_steps_server::WalletSteps;
use crate::v1::{
    DeductRequest, DeductResponse, DepositRequest, DepositResponse, ExpectRequest, ExpectResponse,
    ForgetRequest, ForgetResponse, FreezeRequest, FreezeResponse, UnfreezeRequest, UnfreezeResponse,
};
use crate::{DOMAIN, no};

pub(crate) struct Wallets {
    pub(crate) pool: PgPool,
}

const TAKE: &str = "take";
const GIVE: &str = "give";

#[tonic::async_trait]
impl WalletSteps for Wallets {
    async fn freeze(&self, request: Request<FreezeRequest>) -> Result<Response<FreezeResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let spendable = spendable(conn, &request.account).await?;
            if request.amount_minor <= 0 || spendable < request.amount_minor {
                let wanted = request.amount_minor;
                return Err(no(
                    "FUNDS_INSUFFICIENT",
                    format!("{wanted} wanted, {spendable} there"),
                ));
            }
            change(conn, &request.account, 0, request.amount_minor).await?;
            try_side(
                conn,
                &request.transfer_id,
                TAKE,
                &request.account,
                request.amount_minor,
            )
            .await?;
            Ok::<_, Stop>(Done::Reply(FreezeResponse {
                available_minor: spendable - request.amount_minor,
            }))
        })
        .await
    }

    async fn deduct(&self, request: Request<DeductRequest>) -> Result<Response<DeductResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let (account, amount) = settle(conn, &request.transfer_id, TAKE, "confirmed")
                .await?
                .ok_or_else(|| no("NOT_TRIED", "nothing was set aside"))?;
            change(conn, &account, -amount, -amount).await?;
            Ok::<_, Stop>(Done::Reply(DeductResponse {}))
        })
        .await
    }

    async fn unfreeze(
        &self,
        request: Request<UnfreezeRequest>,
    ) -> Result<Response<UnfreezeResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            if let Some((account, amount)) = settle(conn, &request.transfer_id, TAKE, "cancelled").await? {
                change(conn, &account, 0, -amount).await?;
            }
            Ok::<_, Stop>(Done::Reply(UnfreezeResponse {}))
        })
        .await
    }

    async fn expect(&self, request: Request<ExpectRequest>) -> Result<Response<ExpectResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            spendable(conn, &request.account).await?;
            try_side(
                conn,
                &request.transfer_id,
                GIVE,
                &request.account,
                request.amount_minor,
            )
            .await?;
            Ok::<_, Stop>(Done::Reply(ExpectResponse {}))
        })
        .await
    }

    async fn deposit(&self, request: Request<DepositRequest>) -> Result<Response<DepositResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let (account, amount) = settle(conn, &request.transfer_id, GIVE, "confirmed")
                .await?
                .ok_or_else(|| no("NOT_TRIED", "nothing is expected"))?;
            change(conn, &account, amount, 0).await?;
            Ok::<_, Stop>(Done::Reply(DepositResponse {}))
        })
        .await
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            settle(conn, &request.transfer_id, GIVE, "cancelled").await?;
            Ok::<_, Stop>(Done::Reply(ForgetResponse {}))
        })
        .await
    }
}

/// Locks an account and returns what is there to spend.
async fn spendable(conn: &mut PgConnection, account: &str) -> Result<i64, Stop> {
    let sql = "select balance_minor - frozen_minor from account where id = $1 for update";
    let found = sqlx::query_scalar(sql).bind(account).fetch_optional(conn).await?;
    found.ok_or_else(|| no("ACCOUNT_NOT_FOUND", format!("there is no account {account}")))
}

async fn change(conn: &mut PgConnection, account: &str, balance: i64, frozen: i64) -> Result<(), Stop> {
    sqlx::query(
        "update account set balance_minor = balance_minor + $2, frozen_minor = frozen_minor + $3 where id = $1",
    )
    .bind(account)
    .bind(balance)
    .bind(frozen)
    .execute(conn)
    .await?;
    Ok(())
}

async fn try_side(
    conn: &mut PgConnection,
    transfer_id: &str,
    side: &str,
    account: &str,
    amount_minor: i64,
) -> Result<(), Stop> {
    sqlx::query(
        "insert into movement (transfer_id, side, account, amount_minor, state) values ($1, $2, $3, $4, 'tried')",
    )
    .bind(transfer_id)
    .bind(side)
    .bind(account)
    .bind(amount_minor)
    .execute(conn)
    .await?;
    Ok(())
}

/// Settles what was tried, once; nothing if nothing was.
async fn settle(
    conn: &mut PgConnection,
    transfer_id: &str,
    side: &str,
    state: &str,
) -> Result<Option<(String, i64)>, Stop> {
    let sql = "update movement set state = $3 where transfer_id = $1 and side = $2 and state = 'tried' \
               returning account, amount_minor";
    let settled = sqlx::query_as(sql).bind(transfer_id).bind(side).bind(state);
    Ok(settled.fetch_optional(conn).await?)
}
