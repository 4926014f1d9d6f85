//! ValidatePlan: is this for sale, at this price?

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use crate::error::Error;
use crate::store::plans;

/// Reads the plan. Only reads, so that it is the same at every call.
pub(crate) async fn validate_plan(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::ValidatePlanRequest,
    _: Again,
) -> Result<Done<pb::ValidatePlanResponse>, Error> {
    let plan = plans::find(conn, &request.plan_id, None)
        .await?
        .ok_or(Error::NoPlan)?;
    if !plan.on_sale {
        return Err(Error::PlanRetired);
    }
    if plan.offer.amount != request.amount {
        return Err(Error::Price {
            price: plan.offer.amount,
            seen: request.amount,
        });
    }
    Ok(Done::Reply(pb::ValidatePlanResponse {
        // A CHECK keeps it above 0.
        version: plan.version.unsigned_abs(),
        needs_device: plan.offer.needs_device,
    }))
}
