//! The two public services: decode, run, encode.

mod auth;
mod encode;
mod user;

use std::net::IpAddr;
use std::str::FromStr;

use ids::{ParseIdError, UserId};
use token::{Caller, caller};
use tonic::Request;
use tonic::metadata::MetadataMap;

pub(crate) use auth::Auth;
pub(crate) use user::Users;

use crate::app::{Admin, Client};
use crate::domain::{Device, SessionId};
use crate::error::Error;
use crate::password::Password;
use crate::phone::Phone;
use rpc::CLIENT_IP_HEADER;

/// Longest code and password that are looked at, in bytes; longer ones are wrong without being read.
const MAX_SECRET_BYTES: usize = 1024;

/// A user who calls, with its session.
#[derive(Debug, Clone, Copy)]
struct Me {
    user_id: UserId,
    session_id: SessionId,
}

/// Returns the user who calls.
fn me<T>(request: &Request<T>) -> Result<Me, Error> {
    match caller(request) {
        Caller::User(user) => Ok(Me {
            user_id: user.user_id,
            // We have made the token.
            session_id: user
                .session_id
                .parse()
                .map_err(|_| Error::Broken("an access token of ours names no session of ours"))?,
        }),
        Caller::Anonymous => Err(Error::Nobody),
        Caller::Service { .. } => Err(Error::Denied("a service has no account of its own")),
    }
}

/// Returns who administers.
fn admin<T>(request: &Request<T>) -> Admin {
    let caller = caller(request);
    Admin {
        actor: caller.actor(request.metadata()),
        user_id: match caller {
            Caller::User(user) => Some(user.user_id),
            Caller::Anonymous | Caller::Service { .. } => None,
        },
    }
}

/// Reads what a client says of itself.
fn client(metadata: &MetadataMap, device: String) -> Result<Client, Error> {
    Ok(Client {
        device: Device::new(device)?,
        ip: client_ip(metadata),
    })
}

/// Returns the address of the client as the gateway has seen it; empty if nobody says.
fn client_ip(metadata: &MetadataMap) -> String {
    metadata
        .get(CLIENT_IP_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<IpAddr>().ok())
        .map(|ip| ip.to_canonical().to_string())
        .unwrap_or_default()
}

fn phone(text: &str) -> Result<Phone, Error> {
    if text.is_empty() {
        return Err(Error::invalid("phone", "is missing"));
    }
    Phone::parse(text).map_err(|_| {
        Error::invalid(
            "phone",
            "must be 11 digits of a mobile number in mainland China, or + and 7 to 15 digits (E.164)",
        )
    })
}

/// Reads a code or a password, which must be there.
fn secret(field: &'static str, text: String) -> Result<String, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is missing"));
    }
    if text.len() > MAX_SECRET_BYTES {
        return Err(Error::invalid(field, "has more than 1024 bytes"));
    }
    Ok(text)
}

/// Reads a password that is to be set.
fn new_password(field: &'static str, text: &str) -> Result<Password, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is missing"));
    }
    Ok(Password::chosen(text)?)
}

fn id<T: FromStr<Err = ParseIdError>>(field: &'static str, text: &str) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is missing"));
    }
    text.parse().map_err(|source| Error::Id { field, source })
}
