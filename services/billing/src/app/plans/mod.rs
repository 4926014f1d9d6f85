//! Plans: what can be bought. Versions never change; what an order costs is that of its version.

mod publish;

pub(crate) use publish::publish_plan;

use super::App;
use crate::error::Error;
use crate::store::plans::{self, Plan};

/// Lists the plans on sale, or all.
pub(crate) async fn list_plans(app: &App, with_retired: bool) -> Result<Vec<Plan>, Error> {
    Ok(plans::list(&app.pool, with_retired).await?)
}

/// Returns a plan in one of its versions; in the one that is offered if none is named.
pub(crate) async fn get_plan(app: &App, plan_id: &str, version: Option<i32>) -> Result<Plan, Error> {
    plans::find(&app.pool, plan_id, version)
        .await?
        .ok_or(Error::NoPlan)
}

/// Takes a plan off sale.
pub(crate) async fn retire_plan(app: &App, plan_id: &str) -> Result<Plan, Error> {
    plans::retire(&app.pool, plan_id).await?;
    get_plan(app, plan_id, None).await
}
