//! Who may see whose quota.

use ids::UserId;
use proto::quota::v1 as pb;
use rpc::error::info;
use test_support::identities;
use token::Role;
use tonic::{Request, Status};

use crate::support::Fixture;

/// A request with the token of a user.
fn by<T>(user: UserId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = identities().bearer(user, Role::User);
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    request
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String) {
    let info = info(&result.unwrap_err()).unwrap();
    (info.reason, info.domain)
}

#[tokio::test]
async fn a_user_sees_its_own_balance_without_naming_itself() {
    let f = Fixture::new().await;
    let user = f.user_with(7).await;
    let mut public = f.quota.public.clone();
    for named in [String::new(), user.to_string()] {
        let request = pb::GetBalanceRequest { user_id: named };
        let answer = public.get_balance(by(user, request)).await.unwrap().into_inner();
        let balance = answer.balance.unwrap();
        assert_eq!((balance.user_id, balance.available), (user.to_string(), 7));
    }
    let request = pb::ListLedgerEntriesRequest::default();
    let answer = public.list_ledger_entries(by(user, request)).await.unwrap();
    assert_eq!(answer.into_inner().entries.len(), 1);
    let request = pb::ListGrantsRequest::default();
    let answer = public.list_grants(by(user, request)).await.unwrap();
    assert_eq!(answer.into_inner().grants.len(), 1);
}

#[tokio::test]
async fn a_user_sees_and_moves_nobody_elses() {
    let f = Fixture::new().await;
    let (user, other) = (f.user_with(7).await, f.user_with(7).await);
    let mut public = f.quota.public.clone();
    let denied = ("PERMISSION_DENIED".to_owned(), token::DOMAIN.to_owned());
    let request = pb::GetBalanceRequest {
        user_id: other.to_string(),
    };
    assert_eq!(refusal(public.get_balance(by(user, request)).await), denied);
    let request = pb::ListLedgerEntriesRequest {
        user_id: other.to_string(),
        ..pb::ListLedgerEntriesRequest::default()
    };
    assert_eq!(
        refusal(public.list_ledger_entries(by(user, request)).await),
        denied
    );
    let request = pb::ListGrantsRequest {
        user_id: other.to_string(),
        ..pb::ListGrantsRequest::default()
    };
    assert_eq!(refusal(public.list_grants(by(user, request)).await), denied);
    let request = pb::ClawBackGrantsRequest {
        clawback_id: "mine".to_owned(),
        user_id: other.to_string(),
        ..pb::ClawBackGrantsRequest::default()
    };
    assert_eq!(refusal(public.claw_back_grants(by(user, request)).await), denied);
    let request = crate::support::grant("mine", user, 1_000, 0);
    assert_eq!(refusal(public.create_grant(by(user, request)).await), denied);
    assert_eq!(f.quota.balance(user).await, [7, 7, 0, 0]);
}
