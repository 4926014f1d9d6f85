use std::time::Duration;

use process::grpc::{Limits, Listener};
use process::health::Health;
use process::{Shutdown, Supervisor};
use proto::auth::v1 as pb;
use proto::quota::v1 as quota;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::quota_service_server::{QuotaService, QuotaServiceServer};
use rpc::channel::Channel;
use rpc::error::Reason;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::support::{World, as_user, phone, reason};

/// A quota service that knows one thing to say.
#[derive(Debug, Clone, Copy)]
enum Quota {
    /// The caller has so much.
    Has(i64),
    NoAccount,
    Fails,
    Hangs,
}

#[tonic::async_trait]
impl QuotaService for Quota {
    async fn get_balance(
        &self,
        request: Request<quota::GetBalanceRequest>,
    ) -> Result<Response<quota::GetBalanceResponse>, Status> {
        // In the user's own name.
        assert!(request.metadata().contains_key("authorization"));
        assert_eq!(request.get_ref().user_id, "");
        match self {
            Self::Has(available) => Ok(Response::new(quota::GetBalanceResponse {
                balance: Some(quota::Balance {
                    available: *available,
                    ..quota::Balance::default()
                }),
            })),
            Self::NoAccount => Err(Reason::QuotaAccountNotFound.status("quota.evenkeel", "no account")),
            Self::Fails => Err(Status::internal("defect")),
            Self::Hangs => std::future::pending().await,
        }
    }

    async fn claw_back_grants(
        &self,
        _: Request<quota::ClawBackGrantsRequest>,
    ) -> Result<Response<quota::ClawBackGrantsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn extend_reservation(
        &self,
        _: Request<quota::ExtendReservationRequest>,
    ) -> Result<Response<quota::ExtendReservationResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_grants(
        &self,
        _: Request<quota::ListGrantsRequest>,
    ) -> Result<Response<quota::ListGrantsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn create_grant(
        &self,
        _: Request<quota::CreateGrantRequest>,
    ) -> Result<Response<quota::CreateGrantResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn reserve_quota(
        &self,
        _: Request<quota::ReserveQuotaRequest>,
    ) -> Result<Response<quota::ReserveQuotaResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn confirm_reservation(
        &self,
        _: Request<quota::ConfirmReservationRequest>,
    ) -> Result<Response<quota::ConfirmReservationResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn cancel_reservation(
        &self,
        _: Request<quota::CancelReservationRequest>,
    ) -> Result<Response<quota::CancelReservationResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_reservation(
        &self,
        _: Request<quota::GetReservationRequest>,
    ) -> Result<Response<quota::GetReservationResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_ledger_entries(
        &self,
        _: Request<quota::ListLedgerEntriesRequest>,
    ) -> Result<Response<quota::ListLedgerEntriesResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

async fn serve(quota: Quota) -> (QuotaServiceClient<Channel>, Shutdown) {
    let shutdown = Shutdown::new(Duration::ZERO);
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let channel = rpc::channel::lazy(&format!("http://{}", listener.local_addr())).unwrap();
    let (health, stop) = (Health::new().await, shutdown.clone());
    let routes = Routes::new(QuotaServiceServer::new(quota));
    Supervisor::new(shutdown.clone()).spawn("quota", async move {
        process::grpc::serve("quota", listener, routes, &health, &stop, &Limits::default()).await
    });
    (QuotaServiceClient::new(channel.into()), shutdown)
}

#[tokio::test]
async fn a_profile_shows_what_is_left_as_far_as_that_is_known() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    assert_eq!(world.auth.me(&tokens).await.unwrap().quota_remaining, None);
    for (quota, shown) in [
        (Quota::Has(7), Some(7)),
        (Quota::NoAccount, Some(0)),
        (Quota::Fails, None),
        (Quota::Hangs, None),
    ] {
        let (client, stop) = serve(quota).await;
        let auth = world.with_quota(client).await;
        let me = auth.me(&tokens).await.unwrap();
        assert_eq!(me.quota_remaining, shown, "{quota:?}");
        stop.trigger();
    }
}

#[tokio::test]
async fn what_is_not_given_stays() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let update = async |request: pb::UpdateMeRequest| {
        let answer = world
            .auth
            .users
            .clone()
            .update_me(as_user(&tokens, request))
            .await;
        answer.unwrap().into_inner().user.unwrap()
    };
    let first = update(pb::UpdateMeRequest {
        nickname: Some("小王".to_owned()),
        avatar: Some("https://pictures.example/1.png".to_owned()),
        gender: Some(pb::Gender::Female.into()),
    })
    .await;
    assert_eq!(first.nickname, "小王");
    let second = update(pb::UpdateMeRequest {
        avatar: Some(String::new()),
        ..pb::UpdateMeRequest::default()
    })
    .await;
    assert_eq!(
        (second.nickname.as_str(), second.avatar.as_str(), second.gender()),
        ("小王", "", pb::Gender::Female)
    );
    let same = update(pb::UpdateMeRequest::default()).await;
    assert_eq!(same, second);
    let topics = world.auth.topics(&tokens.user_id).await;
    assert_eq!(topics.iter().filter(|topic| *topic == "user.updated").count(), 2);
}

#[tokio::test]
async fn only_administrators_see_whole_phone_numbers() {
    let world = World::new().await;
    let phone = phone();
    let user = world.auth.register(&phone).await;
    let admin = world.auth.admin().await;
    let hidden = format!("+86138****{}", &phone[7..]);
    assert_eq!(world.auth.me(&user).await.unwrap().phone, hidden);
    let request = pb::GetUserRequest {
        user_id: user.user_id.clone(),
    };
    let mut users = world.auth.users.clone();
    let shown = users.get_user(as_user(&admin, request.clone())).await.unwrap();
    assert_eq!(shown.into_inner().user.unwrap().phone, format!("+86{phone}"));
    let shown = users.get_user(world.as_service("gateway", request.clone())).await;
    assert_eq!(shown.unwrap().into_inner().user.unwrap().phone, hidden);
    let own = users.get_user(as_user(&user, request)).await;
    assert_eq!(reason(own), "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_service_has_no_profile() {
    let world = World::new().await;
    let request = world.as_service("gateway", pb::GetMeRequest {});
    assert_eq!(
        reason(world.auth.users.clone().get_me(request).await),
        "PERMISSION_DENIED"
    );
}
