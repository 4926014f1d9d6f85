use ids::UserId;
use proto::auth::v1 as pb;
use proto::auth::v1::user_service_server::UserService;
use token::{Caller, caller};
use tonic::{Request, Response, Status};

use super::encode::Sight;
use super::{admin, encode, id, me, new_password, phone, secret};
use crate::app::{self, App};
use crate::domain::{Account, Filter, Gender, Key, Page, Profile, Reason, Role, State, Value};
use crate::error::Error;

/// Shows and changes users.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) app: App,
}

impl Users {
    fn encode(&self, account: &Account, sight: Sight) -> Result<pb::User, Error> {
        encode::user(&self.app, account, sight)
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_me(
        &self,
        request: Request<pb::GetMeRequest>,
    ) -> Result<Response<pb::GetMeResponse>, Status> {
        let me = me(&request)?;
        let authorization = request.metadata().get("authorization");
        // Side by side: the balance may take its whole patience.
        let (account, quota_remaining) = tokio::join!(
            app::me(&self.app, me.user_id),
            app::quota_remaining(&self.app, authorization)
        );
        let mut user = self.encode(&account?, Sight::Masked)?;
        user.quota_remaining = quota_remaining;
        Ok(Response::new(pb::GetMeResponse { user: Some(user) }))
    }

    async fn update_me(
        &self,
        request: Request<pb::UpdateMeRequest>,
    ) -> Result<Response<pb::UpdateMeResponse>, Status> {
        let me = me(&request)?;
        let request = request.into_inner();
        let gender = request.gender.map(gender).transpose()?;
        let profile = Profile::new(request.nickname, request.avatar, gender)?;
        let account = app::update_me(&self.app, me.user_id, &profile).await?;
        Ok(Response::new(pb::UpdateMeResponse {
            user: Some(self.encode(&account, Sight::Masked)?),
        }))
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        let me = me(&request)?;
        let request = request.into_inner();
        let new = new_password("new_password", &request.new_password)?;
        // Empty where there is none yet.
        let old = if request.old_password.is_empty() {
            request.old_password
        } else {
            secret("old_password", request.old_password)?
        };
        app::change_password(&self.app, me.user_id, me.session_id, &old, &new).await?;
        Ok(Response::new(pb::ChangePasswordResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let me = me(&request)?;
        let sessions = app::list_sessions(&self.app, me.user_id).await?;
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: sessions
                .into_iter()
                .map(|session| encode::session(session, me.session_id))
                .collect(),
        }))
    }

    async fn revoke_session(
        &self,
        request: Request<pb::RevokeSessionRequest>,
    ) -> Result<Response<pb::RevokeSessionResponse>, Status> {
        let me = me(&request)?;
        let session_id = id("session_id", &request.get_ref().session_id)?;
        app::revoke_session(&self.app, me.user_id, session_id).await?;
        Ok(Response::new(pb::RevokeSessionResponse {}))
    }

    async fn get_configuration(
        &self,
        _: Request<pb::GetConfigurationRequest>,
    ) -> Result<Response<pb::GetConfigurationResponse>, Status> {
        let entries = app::public_configuration(&self.app).await?;
        Ok(Response::new(pb::GetConfigurationResponse {
            entries: entries.into_iter().map(encode::entry).collect(),
        }))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let sight = sight(&request);
        let account = app::get_user(&self.app, user_id(&request.get_ref().user_id)?).await?;
        Ok(Response::new(pb::GetUserResponse {
            user: Some(self.encode(&account, sight)?),
        }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let sight = sight(&request);
        let request = request.get_ref();
        let filter = Filter {
            phone_blind: match request.phone.as_str() {
                "" => None,
                text => Some(self.app.blind_phone(&phone(text)?)),
            },
            role: role(request.role)?,
            state: state(request.state)?,
        };
        let page = Page::new(&filter, request.page_size, &request.page_token)?;
        let (users, next) = app::list_users(&self.app, &filter, page).await?;
        let users = users
            .iter()
            .map(|user| self.encode(user, sight))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(pb::ListUsersResponse {
            users,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn ban_user(
        &self,
        request: Request<pb::BanUserRequest>,
    ) -> Result<Response<pb::BanUserResponse>, Status> {
        let (admin, sight) = (admin(&request), sight(&request));
        let request = request.get_ref();
        let (user_id, reason) = (user_id(&request.user_id)?, Reason::new(&request.reason)?);
        let account = app::set_state(&self.app, &admin, user_id, State::Banned, &reason).await?;
        Ok(Response::new(pb::BanUserResponse {
            user: Some(self.encode(&account, sight)?),
        }))
    }

    async fn unban_user(
        &self,
        request: Request<pb::UnbanUserRequest>,
    ) -> Result<Response<pb::UnbanUserResponse>, Status> {
        let (admin, sight) = (admin(&request), sight(&request));
        let request = request.get_ref();
        let (user_id, reason) = (user_id(&request.user_id)?, Reason::new(&request.reason)?);
        let account = app::set_state(&self.app, &admin, user_id, State::Active, &reason).await?;
        Ok(Response::new(pb::UnbanUserResponse {
            user: Some(self.encode(&account, sight)?),
        }))
    }

    async fn set_role(
        &self,
        request: Request<pb::SetRoleRequest>,
    ) -> Result<Response<pb::SetRoleResponse>, Status> {
        let (admin, sight) = (admin(&request), sight(&request));
        let request = request.get_ref();
        let (user_id, reason) = (user_id(&request.user_id)?, Reason::new(&request.reason)?);
        let role = role(request.role)?.ok_or(Error::invalid("role", "is missing"))?;
        let account = app::set_role(&self.app, &admin, user_id, role, &reason).await?;
        Ok(Response::new(pb::SetRoleResponse {
            user: Some(self.encode(&account, sight)?),
        }))
    }

    async fn set_configuration(
        &self,
        request: Request<pb::SetConfigurationRequest>,
    ) -> Result<Response<pb::SetConfigurationResponse>, Status> {
        let admin = admin(&request);
        let request = request.get_ref();
        let (key, value) = (Key::new(&request.key)?, Value::parse(&request.value_json)?);
        let entry = app::set_configuration(&self.app, &admin, &key, &value, request.public).await?;
        Ok(Response::new(pb::SetConfigurationResponse {
            entry: Some(encode::entry(entry)),
        }))
    }
}

/// Administrators see phone numbers, whether they are users or sit at the command line; other services do not.
fn sight<T>(request: &Request<T>) -> Sight {
    let caller = caller(request);
    let is_admin = match &caller {
        Caller::User(user) => user.role == token::Role::Admin,
        Caller::Service { .. } => caller.is_service(token::OPERATOR),
        Caller::Anonymous => false,
    };
    if is_admin { Sight::Full } else { Sight::Masked }
}

fn user_id(text: &str) -> Result<UserId, Error> {
    id("user_id", text)
}

fn gender(value: i32) -> Result<Gender, Error> {
    match pb::Gender::try_from(value) {
        Ok(pb::Gender::Unspecified) => Ok(Gender::Unspecified),
        Ok(pb::Gender::Female) => Ok(Gender::Female),
        Ok(pb::Gender::Male) => Ok(Gender::Male),
        Ok(pb::Gender::Other) => Ok(Gender::Other),
        Err(_) => Err(Error::invalid("gender", "is none of those that there are")),
    }
}

fn role(value: i32) -> Result<Option<Role>, Error> {
    match pb::Role::try_from(value) {
        Ok(pb::Role::Unspecified) => Ok(None),
        Ok(pb::Role::User) => Ok(Some(Role::User)),
        Ok(pb::Role::Admin) => Ok(Some(Role::Admin)),
        Err(_) => Err(Error::invalid("role", "is none of those that there are")),
    }
}

fn state(value: i32) -> Result<Option<State>, Error> {
    match pb::UserState::try_from(value) {
        Ok(pb::UserState::Unspecified) => Ok(None),
        Ok(pb::UserState::Active) => Ok(Some(State::Active)),
        Ok(pb::UserState::Banned) => Ok(Some(State::Banned)),
        Err(_) => Err(Error::invalid("status", "is none of those that there are")),
    }
}
