//! A user who has earned commission.

use doubles::pay::Transfer;
use ids::UserId;
use proto::billing::v1 as pb;
use proto::billing::v1::withdrawal_service_client::WithdrawalServiceClient;
use proto::billing::v1::{Channel, WithdrawalStatus};
use test_support::eventually;
use token::Channel as Wire;
use tonic::Status;
use uuid::Uuid;

use crate::world::{DEADLINE, World, as_user};

/// A user with the clients that it and its administrator call.
pub(crate) struct Earner {
    pub(crate) user_id: UserId,
    pub(crate) client: WithdrawalServiceClient<Wire>,
    operator: WithdrawalServiceClient<Wire>,
}

impl Earner {
    /// A user with this much commission.
    pub(crate) async fn with(world: &World, amount: i64) -> Self {
        let earner = Self {
            user_id: UserId::new(),
            client: WithdrawalServiceClient::new(world.public.clone()),
            operator: WithdrawalServiceClient::new(world.operator.clone()),
        };
        if amount > 0 {
            earner.credit(&Uuid::now_v7().to_string(), amount).await.unwrap();
        }
        earner
    }

    pub(crate) async fn credit(
        &self,
        credit_id: &str,
        amount: i64,
    ) -> Result<pb::CreditCommissionResponse, Status> {
        let request = pb::CreditCommissionRequest {
            credit_id: credit_id.to_owned(),
            user_id: self.user_id.to_string(),
            amount,
            note: "invited somebody".to_owned(),
        };
        let answer = self.operator.clone().credit_commission(request).await?;
        Ok(answer.into_inner())
    }

    /// A wish that every provider takes.
    pub(crate) fn wish(&self, channel: Channel, amount: i64) -> pb::CreateWithdrawalRequest {
        let recipient = match channel {
            Channel::Alipay => "2088102146225135",
            Channel::Unspecified | Channel::Wechat => "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        };
        pb::CreateWithdrawalRequest {
            amount,
            channel: channel.into(),
            recipient: recipient.to_owned(),
            request_id: Uuid::now_v7().to_string(),
            ..pb::CreateWithdrawalRequest::default()
        }
    }

    pub(crate) async fn create(
        &self,
        wish: pb::CreateWithdrawalRequest,
    ) -> Result<pb::CreateWithdrawalResponse, Status> {
        let request = as_user(self.user_id, wish);
        Ok(self.client.clone().create_withdrawal(request).await?.into_inner())
    }

    /// Begins a withdrawal that is frozen.
    pub(crate) async fn withdraw(&self, channel: Channel, amount: i64) -> pb::Withdrawal {
        let answer = self.create(self.wish(channel, amount)).await.unwrap();
        answer.withdrawal.expect("it is frozen within the wait")
    }

    pub(crate) async fn get(&self, withdrawal_id: &str) -> pb::Withdrawal {
        let request = pb::GetWithdrawalRequest {
            withdrawal_id: withdrawal_id.to_owned(),
        };
        let answer = self
            .client
            .clone()
            .get_withdrawal(as_user(self.user_id, request))
            .await;
        answer.unwrap().into_inner().withdrawal.unwrap()
    }

    /// What the user has: available, frozen, withdrawn.
    pub(crate) async fn commission(&self) -> (i64, i64, i64) {
        let request = as_user(self.user_id, pb::GetCommissionRequest::default());
        let answer = self.client.clone().get_commission(request).await.unwrap();
        let found = answer.into_inner().commission.unwrap();
        assert_eq!(found.earned, found.available + found.frozen + found.withdrawn);
        (found.available, found.frozen, found.withdrawn)
    }

    /// Waits until a withdrawal has a status.
    pub(crate) async fn until(&self, withdrawal_id: &str, status: WithdrawalStatus) -> pb::Withdrawal {
        eventually(DEADLINE, async || {
            let found = self.get(withdrawal_id).await;
            if found.status() == status {
                Ok(found)
            } else {
                Err(found)
            }
        })
        .await
    }

    /// Waits until the user has this much available, frozen, withdrawn.
    pub(crate) async fn until_commission(&self, wanted: (i64, i64, i64)) {
        eventually(DEADLINE, async || {
            let found = self.commission().await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Returns the kinds of the user's movements, oldest first.
    pub(crate) async fn movements(&self) -> Vec<String> {
        let request = as_user(self.user_id, pb::ListCommissionEntriesRequest::default());
        let answer = self.client.clone().list_commission_entries(request).await;
        let entries = answer.unwrap().into_inner().entries;
        entries.into_iter().rev().map(|entry| entry.kind).collect()
    }
}

/// Returns the transfers of a channel's double.
pub(crate) fn transfers(world: &World, channel: Channel) -> Vec<Transfer> {
    let books = match channel {
        Channel::Alipay => world.alipay.books(),
        Channel::Unspecified | Channel::Wechat => world.wechat.books(),
    };
    books.transfers.into_values().collect()
}

/// Gives a channel's double a programme.
pub(crate) fn program(world: &World, channel: Channel, rules: Vec<doubles::pay::Rule>) {
    match channel {
        Channel::Alipay => world.alipay.program(rules),
        Channel::Unspecified | Channel::Wechat => world.wechat.program(rules),
    }
}

/// Every account is what its entries say.
pub(crate) async fn assert_no_drift(world: &World) {
    let drifted: i64 = world
        .value(
            "select count(*) from commission_accounts a
             left join lateral (
                 select coalesce(sum(earned_delta), 0) as earned, coalesce(sum(available_delta), 0) as available,
                     coalesce(sum(frozen_delta), 0) as frozen, coalesce(sum(withdrawn_delta), 0) as withdrawn
                 from commission_entries e where e.user_id = a.user_id
             ) e on true
             where (a.earned, a.available, a.frozen, a.withdrawn)
                 is distinct from (e.earned, e.available, e.frozen, e.withdrawn)",
        )
        .await;
    assert_eq!(drifted, 0, "accounts that are not the sum of their entries");
    let frozen: bool = world
        .value(
            "select coalesce((select sum(frozen) from commission_accounts), 0)
                 = coalesce((select sum(w.amount) from withdrawals w where not exists (
                     select from commission_entries e
                     where e.withdrawal_id = w.id and e.kind in ('unfrozen', 'withdrawn'))), 0)",
        )
        .await;
    assert!(frozen, "what is frozen is not what open withdrawals have");
}
