//! PlanService.

use ids::UserId;
use proto::billing::v1 as pb;
use proto::billing::v1::plan_service_server::PlanService;
use tonic::{Request, Response, Status};

use super::encode;
use crate::DOMAIN;
use crate::app::{App, memberships, plans};
use crate::domain::{Offer, plan_id};
use crate::error::Error;
use crate::store::memberships::{Membership, Period};
use crate::store::plans::Plan;

/// The service.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) app: App,
}

#[tonic::async_trait]
impl PlanService for Plans {
    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        let with_retired = request.get_ref().include_retired;
        if with_retired && !token::caller(&request).is_privileged() {
            return Err(Error::Confined("plans that are off sale").into());
        }
        let plans = plans::list_plans(&self.app, with_retired).await?;
        Ok(Response::new(pb::ListPlansResponse {
            plans: plans.into_iter().map(plan).collect(),
        }))
    }

    async fn get_plan(
        &self,
        request: Request<pb::GetPlanRequest>,
    ) -> Result<Response<pb::GetPlanResponse>, Status> {
        let request = request.into_inner();
        let plan_id = plan_id(request.plan_id)?;
        let version = match request.version {
            0 => None,
            version => Some(i32::try_from(version).map_err(|_| Error::NoPlan)?),
        };
        let found = plans::get_plan(&self.app, &plan_id, version).await?;
        Ok(Response::new(pb::GetPlanResponse {
            plan: Some(plan(found)),
        }))
    }

    async fn publish_plan(
        &self,
        request: Request<pb::PublishPlanRequest>,
    ) -> Result<Response<pb::PublishPlanResponse>, Status> {
        let request = request.into_inner();
        let plan_id = plan_id(request.plan_id.clone())?;
        let offer = Offer::new(request)?;
        let published = plans::publish_plan(&self.app, &plan_id, &offer).await?;
        Ok(Response::new(pb::PublishPlanResponse {
            plan: Some(plan(published)),
        }))
    }

    async fn retire_plan(
        &self,
        request: Request<pb::RetirePlanRequest>,
    ) -> Result<Response<pb::RetirePlanResponse>, Status> {
        let plan_id = plan_id(request.into_inner().plan_id)?;
        let retired = plans::retire_plan(&self.app, &plan_id).await?;
        Ok(Response::new(pb::RetirePlanResponse {
            plan: Some(plan(retired)),
        }))
    }

    async fn list_memberships(
        &self,
        request: Request<pb::ListMembershipsRequest>,
    ) -> Result<Response<pb::ListMembershipsResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let found = memberships::list_memberships(&self.app, user_id).await?;
        Ok(Response::new(pb::ListMembershipsResponse {
            memberships: found
                .into_iter()
                .map(|(membership, periods)| encode(user_id, membership, periods))
                .collect(),
        }))
    }
}

fn plan(plan: Plan) -> pb::Plan {
    let offer = plan.offer;
    pb::Plan {
        plan_id: plan.plan_id,
        // CHECKs keep these three at 0 or above.
        version: plan.version.unsigned_abs(),
        quota_days: offer.quota_days.unsigned_abs(),
        membership_days: offer.membership_days.unsigned_abs(),
        kind: pb::PlanKind::from(offer.kind).into(),
        title: offer.title,
        description: offer.description,
        price: Some(pb::Money {
            amount_minor: offer.amount,
            currency: plan.currency,
        }),
        quota: offer.quota,
        tier: offer.tier.unwrap_or_default(),
        needs_device: offer.needs_device,
        on_sale: plan.on_sale,
        published_at: Some(encode::time(plan.published_at)),
    }
}

fn encode(user_id: UserId, membership: Membership, periods: Vec<Period>) -> pb::Membership {
    let periods = periods.into_iter().map(|period| pb::MembershipPeriod {
        order_id: period.order_id.to_string(),
        days: period.days.unsigned_abs(),
        starts_at: Some(encode::time(period.starts_at)),
        ends_at: Some(encode::time(period.ends_at)),
        revoked_at: period.revoked_at.map(encode::time),
    });
    pb::Membership {
        user_id: user_id.to_string(),
        tier: membership.tier,
        starts_at: Some(encode::time(membership.starts_at)),
        ends_at: Some(encode::time(membership.ends_at)),
        active: membership.active,
        periods: periods.collect(),
    }
}
