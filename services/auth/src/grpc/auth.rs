use proto::auth::v1 as pb;
use proto::auth::v1::auth_service_server::AuthService;
use tonic::{Request, Response, Status};

use super::{client, client_ip, encode, id, me, new_password, phone, secret};
use crate::app::{self, App, Proof, Referral, Registration};
use crate::error::Error;
use crate::limits::Purpose;

/// Who is calling: registration, login, tokens, sessions.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) app: App,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn send_sms_code(
        &self,
        request: Request<pb::SendSmsCodeRequest>,
    ) -> Result<Response<pb::SendSmsCodeResponse>, Status> {
        let ip = client_ip(request.metadata());
        let request = request.get_ref();
        let purpose = purpose(request.purpose)?;
        let resend_after = app::send_sms_code(&self.app, &phone(&request.phone)?, purpose, &ip).await?;
        Ok(Response::new(pb::SendSmsCodeResponse {
            resend_after_seconds: encode::seconds(resend_after),
        }))
    }

    async fn login(&self, request: Request<pb::LoginRequest>) -> Result<Response<pb::LoginResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let phone = phone(&request.phone)?;
        let proof = match (request.code.is_empty(), request.password.is_empty()) {
            (false, true) => Proof::Code(secret("code", request.code)?),
            (true, false) => Proof::Password(secret("password", request.password)?),
            (true, true) | (false, false) => {
                return Err(Error::invalid("code", "or password must be given, and not both").into());
            }
        };
        let client = client(&metadata, request.device)?;
        let issued = app::login(&self.app, &phone, &proof, &client).await?;
        Ok(Response::new(pb::LoginResponse {
            tokens: Some(encode::tokens(issued)),
        }))
    }

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let phone = phone(&request.phone)?;
        let password = new_password("password", &request.password)?;
        let referral = match (request.referrer_id.is_empty(), request.invite_code.is_empty()) {
            (true, true) => Referral::Nobody,
            (false, true) => Referral::User(id("referrer_id", &request.referrer_id)?),
            (true, false) => Referral::InviteCode(secret("invite_code", request.invite_code)?),
            (false, false) => {
                return Err(Error::invalid("invite_code", "and referrer_id must not both be given").into());
            }
        };
        let client = client(&metadata, request.device)?;
        let wanted = Registration {
            phone,
            password,
            referral,
        };
        let issued = app::register(&self.app, &wanted, &client).await?;
        Ok(Response::new(pb::RegisterResponse {
            tokens: Some(encode::tokens(issued)),
        }))
    }

    async fn wechat_login(
        &self,
        request: Request<pb::WechatLoginRequest>,
    ) -> Result<Response<pb::WechatLoginResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let code = secret("code", request.code)?;
        let client = client(&metadata, request.device)?;
        let issued = app::wechat_login(&self.app, &code, &client).await?;
        Ok(Response::new(pb::WechatLoginResponse {
            tokens: Some(encode::tokens(issued)),
        }))
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        let token = secret("refresh_token", request.into_inner().refresh_token)?;
        let issued = app::refresh(&self.app, &token).await?;
        Ok(Response::new(pb::RefreshResponse {
            tokens: Some(encode::tokens(issued)),
        }))
    }

    async fn logout(
        &self,
        request: Request<pb::LogoutRequest>,
    ) -> Result<Response<pb::LogoutResponse>, Status> {
        if request.get_ref().refresh_token.is_empty() {
            let me = me(&request)?;
            app::logout(&self.app, me.user_id, me.session_id).await?;
        } else {
            let token = secret("refresh_token", request.into_inner().refresh_token)?;
            app::logout_token(&self.app, &token).await?;
        }
        Ok(Response::new(pb::LogoutResponse {}))
    }

    async fn logout_everywhere(
        &self,
        request: Request<pb::LogoutEverywhereRequest>,
    ) -> Result<Response<pb::LogoutEverywhereResponse>, Status> {
        let me = me(&request)?;
        let sessions_ended = app::logout_everywhere(&self.app, me.user_id).await?;
        Ok(Response::new(pb::LogoutEverywhereResponse { sessions_ended }))
    }

    async fn reset_password(
        &self,
        request: Request<pb::ResetPasswordRequest>,
    ) -> Result<Response<pb::ResetPasswordResponse>, Status> {
        let ip = client_ip(request.metadata());
        let request = request.into_inner();
        let phone = phone(&request.phone)?;
        let code = secret("code", request.code)?;
        let password = new_password("new_password", &request.new_password)?;
        app::reset_password(&self.app, &phone, &code, &password, &ip).await?;
        Ok(Response::new(pb::ResetPasswordResponse {}))
    }

    async fn get_jwks(
        &self,
        _: Request<pb::GetJwksRequest>,
    ) -> Result<Response<pb::GetJwksResponse>, Status> {
        let keys = self.app.keys.jwks().await.map_err(Error::from)?;
        Ok(Response::new(pb::GetJwksResponse {
            keys: keys.into_iter().map(pb::Jwk::from).collect(),
        }))
    }
}

/// A login by code registers, so a code that was asked for to register is one for logging in.
fn purpose(value: i32) -> Result<Purpose, Error> {
    match pb::SmsPurpose::try_from(value) {
        Ok(pb::SmsPurpose::Unspecified | pb::SmsPurpose::Login | pb::SmsPurpose::Register) => {
            Ok(Purpose::Login)
        }
        Ok(pb::SmsPurpose::ResetPassword) => Ok(Purpose::ResetPassword),
        Err(_) => Err(Error::invalid("purpose", "is none of those that there are")),
    }
}
