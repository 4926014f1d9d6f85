//! Publishing the next version of a plan.

use super::super::App;
use crate::domain::Offer;
use crate::error::Error;
use crate::store::plans::{self, Plan};

/// Publishes the next version of a plan and offers it. The content that is offered already makes no version; the plan is
/// on sale again.
pub(crate) async fn publish_plan(app: &App, plan_id: &str, offer: &Offer) -> Result<Plan, Error> {
    App::transaction(&app.pool, async |conn| {
        // The row of the plan is locked until the end, so that two publishers take turns.
        let version = match plans::make_or_lock(conn, plan_id).await? {
            None => 1,
            Some(version) => {
                let offered = plans::find(&mut *conn, plan_id, Some(version))
                    .await?
                    .ok_or(Error::Broken("a plan has no version"))?;
                if offered.offer == *offer {
                    plans::put_on_sale(conn, plan_id, version).await?;
                    return find(conn, plan_id).await;
                }
                version + 1
            }
        };
        plans::insert_version(conn, plan_id, version, offer).await?;
        plans::put_on_sale(conn, plan_id, version).await?;
        find(conn, plan_id).await
    })
    .await
}

async fn find(conn: &mut sqlx::PgConnection, plan_id: &str) -> Result<Plan, Error> {
    plans::find(conn, plan_id, None)
        .await?
        .ok_or(Error::Broken("a plan that was published is not there"))
}
