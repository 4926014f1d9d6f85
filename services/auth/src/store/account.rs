use std::time::Duration;

use ids::UserId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use super::named;
use crate::domain::{Account, Filter, Gender, Page, Profile, Role, State};

/// A value that is stored encrypted, and found by a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) sealed: Vec<u8>,
    pub(crate) blind: Vec<u8>,
}

/// A user to be made.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) user_id: UserId,
    pub(crate) phone: Option<Sealed>,
    pub(crate) openid: Option<Sealed>,
    pub(crate) unionid: Option<Sealed>,
    pub(crate) password_hash: Option<String>,
    pub(crate) referrer_id: Option<UserId>,
}

impl New {
    /// A user of whom nothing is known yet, with an id of its own.
    pub(crate) fn unknown() -> Self {
        Self {
            user_id: UserId::new(),
            phone: None,
            openid: None,
            unionid: None,
            password_hash: None,
            referrer_id: None,
        }
    }
}

/// What a login by phone is decided by.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user_id: UserId,
    pub(crate) state: State,
    pub(crate) password_hash: Option<String>,
}

/// What changes are decided by, read under the lock.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) password_hash: Option<String>,
    pub(crate) version: i64,
}

/// A user as a login through WeChat finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByWechat {
    pub(crate) user_id: UserId,
    /// It is known by this very unionid.
    pub(crate) by_unionid: bool,
    pub(crate) has_openid: bool,
}

/// Reads what may be shown of a user.
pub(crate) async fn find(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Account>, sqlx::Error> {
    let row = sqlx::query(
        "select a.user_id, a.phone_sealed, a.role, a.state, a.nickname, a.avatar, a.gender, a.referrer_id, \
             a.password_hash is not null as has_password, \
             coalesce(a.wechat_openid_blind, a.wechat_unionid_blind) is not null as has_wechat, \
             a.epoch, a.version, a.created_at, a.updated_at, i.code as invite_code \
         from account a left join invite_code i on i.user_id = a.user_id \
         where a.user_id = $1",
    )
    .bind(user_id.uuid())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(account).transpose()
}

/// Reads a page of users, newest first, and one more.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    page: Page,
) -> Result<Vec<Account>, sqlx::Error> {
    // Without a page token: the largest UUID. Not kept: which index serves depends on the filter.
    let rows = sqlx::query(
        "select a.user_id, a.phone_sealed, a.role, a.state, a.nickname, a.avatar, a.gender, a.referrer_id, \
             a.password_hash is not null as has_password, \
             coalesce(a.wechat_openid_blind, a.wechat_unionid_blind) is not null as has_wechat, \
             a.epoch, a.version, a.created_at, a.updated_at, i.code as invite_code \
         from account a left join invite_code i on i.user_id = a.user_id \
         where a.user_id < $1 and ($2::bytea is null or a.phone_blind = $2) \
             and ($3::text is null or a.role = $3) and ($4::text is null or a.state = $4) \
         order by a.user_id desc limit $5",
    )
    .persistent(false)
    .bind(page.before.map_or(Uuid::max(), UserId::uuid))
    .bind(&filter.phone_blind)
    .bind(filter.role.map(Role::name))
    .bind(filter.state.map(State::name))
    .bind(i64::from(page.size) + 1)
    .fetch_all(db)
    .await?;
    rows.iter().map(account).collect()
}

/// Finds the user with a phone number.
pub(crate) async fn by_phone(
    db: impl PgExecutor<'_>,
    phone_blind: &[u8],
) -> Result<Option<Login>, sqlx::Error> {
    let row = sqlx::query("select user_id, state, password_hash from account where phone_blind = $1")
        .bind(phone_blind)
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(Login {
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            state: state(&row)?,
            password_hash: row.try_get("password_hash")?,
        })
    })
    .transpose()
}

/// What a new password is decided by.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) password_hash: Option<String>,
    pub(crate) has_phone: bool,
}

/// Reads what a user logs in with.
pub(crate) async fn credentials(
    db: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<Credentials>, sqlx::Error> {
    let row = sqlx::query(
        "select password_hash, phone_blind is not null as has_phone from account where user_id = $1",
    )
    .bind(user_id.uuid())
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Credentials {
            password_hash: row.try_get("password_hash")?,
            has_phone: row.try_get("has_phone")?,
        })
    })
    .transpose()
}

/// Finds the user whom WeChat knows by a unionid, or else by an openid.
pub(crate) async fn by_wechat(
    db: impl PgExecutor<'_>,
    openid_blind: &[u8],
    unionid_blind: Option<&[u8]>,
) -> Result<Option<ByWechat>, sqlx::Error> {
    let row = sqlx::query(
        "select user_id, wechat_openid_blind is not null as has_openid, \
             coalesce(wechat_unionid_blind = $2, false) as by_unionid \
         from account where wechat_openid_blind = $1 or wechat_unionid_blind = $2 \
         order by coalesce(wechat_unionid_blind = $2, false) desc limit 1",
    )
    .bind(openid_blind)
    .bind(unionid_blind)
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(ByWechat {
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            by_unionid: row.try_get("by_unionid")?,
            has_openid: row.try_get("has_openid")?,
        })
    })
    .transpose()
}

/// Makes a user, unless the phone number or a WeChat id is taken. Waits for a transaction that is taking it.
/// Returns whether it did.
pub(crate) async fn insert(conn: &mut PgConnection, new: &New) -> Result<bool, sqlx::Error> {
    let sealed = |value: &Option<Sealed>| value.as_ref().map(|value| value.sealed.clone());
    let blind = |value: &Option<Sealed>| value.as_ref().map(|value| value.blind.clone());
    let done = sqlx::query(
        "insert into account (user_id, phone_sealed, phone_blind, wechat_openid_sealed, wechat_openid_blind, \
             wechat_unionid_sealed, wechat_unionid_blind, password_hash, referrer_id) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
    )
    .bind(new.user_id.uuid())
    .bind(sealed(&new.phone))
    .bind(blind(&new.phone))
    .bind(sealed(&new.openid))
    .bind(blind(&new.openid))
    .bind(sealed(&new.unionid))
    .bind(blind(&new.unionid))
    .bind(&new.password_hash)
    .bind(new.referrer_id.map(UserId::uuid))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes what WeChat has told: an openid where there is none, a unionid that is new.
///
/// # Errors
/// A unique violation if somebody else has it.
pub(crate) async fn link_wechat(
    conn: &mut PgConnection,
    user_id: UserId,
    openid: Option<&Sealed>,
    unionid: Option<&Sealed>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set wechat_openid_sealed = coalesce($2, wechat_openid_sealed), \
             wechat_openid_blind = coalesce($3, wechat_openid_blind), \
             wechat_unionid_sealed = coalesce($4, wechat_unionid_sealed), \
             wechat_unionid_blind = coalesce($5, wechat_unionid_blind), \
             version = version + 1, updated_at = clock_timestamp() \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .bind(openid.map(|value| &value.sealed))
    .bind(openid.map(|value| &value.blind))
    .bind(unionid.map(|value| &value.sealed))
    .bind(unionid.map(|value| &value.blind))
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells whether a user is there and active, and keeps it so until the transaction ends.
pub(crate) async fn lock_active(conn: &mut PgConnection, user_id: UserId) -> Result<bool, sqlx::Error> {
    let found: Option<i32> =
        sqlx::query_scalar("select 1 from account where user_id = $1 and state = 'active' for share")
            .bind(user_id.uuid())
            .fetch_optional(conn)
            .await?;
    Ok(found.is_some())
}

/// Locks a user for a change.
pub(crate) async fn lock(conn: &mut PgConnection, user_id: UserId) -> Result<Option<Locked>, sqlx::Error> {
    let row = sqlx::query(
        "select role, state, password_hash, version from account where user_id = $1 for no key update",
    )
    .bind(user_id.uuid())
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Locked {
            role: role(&row)?,
            state: state(&row)?,
            password_hash: row.try_get("password_hash")?,
            version: row.try_get("version")?,
        })
    })
    .transpose()
}

/// Changes the profile.
pub(crate) async fn set_profile(
    conn: &mut PgConnection,
    user_id: UserId,
    profile: &Profile,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set nickname = coalesce($2, nickname), avatar = coalesce($3, avatar), \
             gender = coalesce($4, gender), version = version + 1, updated_at = clock_timestamp() \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .bind(&profile.nickname)
    .bind(&profile.avatar)
    .bind(profile.gender.map(Gender::name))
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes what the user may do. The epoch is raised apart.
pub(crate) async fn set_role(
    conn: &mut PgConnection,
    user_id: UserId,
    role: Role,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set role = $2, version = version + 1, updated_at = clock_timestamp() \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .bind(role.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Bans a user, or ends a ban. The epoch is raised apart.
pub(crate) async fn set_state(
    conn: &mut PgConnection,
    user_id: UserId,
    state: State,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set state = $2, version = version + 1, updated_at = clock_timestamp() \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .bind(state.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets another password. The epoch is raised apart.
pub(crate) async fn set_password(
    conn: &mut PgConnection,
    user_id: UserId,
    hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set password_hash = $2, version = version + 1, updated_at = clock_timestamp() \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .bind(hash)
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the hash of a password by another hash of the same one, unless the password was changed meanwhile. Nothing that
/// is shown changes, so the version stays.
pub(crate) async fn rehash(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    old: &str,
    new: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update account set password_hash = $3 where user_id = $1 and password_hash = $2")
        .bind(user_id.uuid())
        .bind(old)
        .bind(new)
        .execute(db)
        .await?;
    Ok(())
}

/// Marks a change that is made elsewhere, such as an invite code.
pub(crate) async fn bump_version(conn: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set version = version + 1, updated_at = clock_timestamp() where user_id = $1",
    )
    .bind(user_id.uuid())
    .execute(conn)
    .await?;
    Ok(())
}

/// Raises the epoch: access tokens made before are refused for admin calls.
pub(crate) async fn raise_epoch(conn: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set epoch = epoch + 1, epoch_at = clock_timestamp(), version = version + 1 \
         where user_id = $1",
    )
    .bind(user_id.uuid())
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads the epochs that were raised within `window`, a page in the order of user ids: user, epoch, version.
pub(crate) async fn raised_epochs(
    db: impl PgExecutor<'_>,
    window: Duration,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<(UserId, i64, i64)>, sqlx::Error> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "select user_id, epoch, version from account \
         where epoch_at > statement_timestamp() - $1::interval and user_id > $2 order by user_id limit $3",
    )
    .bind(window)
    .bind(after.map_or(Uuid::nil(), UserId::uuid))
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, epoch, version)| (UserId::from_uuid(id), epoch, version))
        .collect())
}

fn account(row: &PgRow) -> Result<Account, sqlx::Error> {
    Ok(Account {
        user_id: row.try_get("user_id")?,
        phone_sealed: row.try_get("phone_sealed")?,
        role: role(row)?,
        state: state(row)?,
        nickname: row.try_get("nickname")?,
        avatar: row.try_get("avatar")?,
        gender: named("gender", row.try_get("gender")?, Gender::from_name)?,
        referrer_id: row.try_get("referrer_id")?,
        invite_code: row.try_get("invite_code")?,
        has_password: row.try_get("has_password")?,
        has_wechat: row.try_get("has_wechat")?,
        epoch: row.try_get("epoch")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn role(row: &PgRow) -> Result<Role, sqlx::Error> {
    named("role", row.try_get("role")?, Role::from_name)
}

fn state(row: &PgRow) -> Result<State, sqlx::Error> {
    named("state", row.try_get("state")?, State::from_name)
}
