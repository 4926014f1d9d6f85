-- Lock order everywhere: the row of an account, then its sessions, then the rest.

-- A user. Not named `user`: that is a reserved word, and `select * from user` without quotes answers something else.
--
-- Phone and WeChat ids are encrypted. The blind index beside each is a keyed hash of it, by which it is found.
create table account (
    user_id uuid not null,
    phone_sealed bytea,
    phone_blind bytea,
    wechat_openid_sealed bytea,
    wechat_openid_blind bytea,
    wechat_unionid_sealed bytea,
    wechat_unionid_blind bytea,
    password_hash text,
    role text not null default 'user',
    state text not null default 'active',
    nickname text not null default '',
    avatar text not null default '',
    gender text not null default 'unspecified',
    referrer_id uuid,
    -- Access tokens that carry a lower one are refused for admin calls.
    epoch bigint not null default 0,
    -- When the epoch rose. While tokens from before may live, a job keeps it in the key-value store.
    epoch_at timestamptz,
    -- Rises with every change of the row; orders what caches hold.
    version bigint not null default 1,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint account_pkey primary key (user_id),
    constraint account_phone unique (phone_blind),
    constraint account_wechat_openid unique (wechat_openid_blind),
    constraint account_wechat_unionid unique (wechat_unionid_blind),
    constraint account_referrer foreign key (referrer_id) references account (user_id),
    constraint account_referrer_other check (referrer_id <> user_id),
    constraint account_phone_pair check ((phone_sealed is null) = (phone_blind is null)),
    constraint account_wechat_openid_pair check ((wechat_openid_sealed is null) = (wechat_openid_blind is null)),
    constraint account_wechat_unionid_pair check ((wechat_unionid_sealed is null) = (wechat_unionid_blind is null)),
    constraint account_identity check (
        phone_blind is not null or wechat_openid_blind is not null or wechat_unionid_blind is not null
    ),
    constraint account_password check (password_hash is null or phone_blind is not null),
    constraint account_role check (role in ('user', 'admin')),
    constraint account_state check (state in ('active', 'banned')),
    constraint account_gender check (gender in ('unspecified', 'female', 'male', 'other')),
    constraint account_nickname check (char_length(nickname) <= 64),
    constraint account_avatar check (char_length(avatar) <= 500),
    constraint account_epoch check (epoch >= 0 and (epoch = 0) = (epoch_at is null)),
    constraint account_version check (version >= 1)
);
create index account_by_epoch_at on account (epoch_at, user_id) where epoch_at is not null;
create index account_by_referrer on account (referrer_id) where referrer_id is not null;
-- For the lists of administrators, newest first (ids sort by creation).
create index account_by_role on account (role, user_id desc) where role <> 'user';
create index account_by_state on account (state, user_id desc) where state <> 'active';

-- A referrer exists before whom it refers, and is never changed: so there are no cycles.
create function refuse_referrer_change() returns trigger language plpgsql as $$
begin
    raise exception 'a referrer is named at registration only'
        using errcode = 'restrict_violation', constraint = 'account_referrer_fixed';
end
$$;
create trigger account_referrer_fixed before update of referrer_id on account
    for each row when (old.referrer_id is distinct from new.referrer_id)
    execute function refuse_referrer_change();

-- Users by the names that people know. `password` is a bcrypt hash; phone, openid and unionid are encrypted, in base64.
create view users as
select
    user_id as id,
    encode(phone_sealed, 'base64') as phone,
    password_hash as password,
    role,
    state as status,
    encode(wechat_openid_sealed, 'base64') as wechat_openid,
    encode(wechat_unionid_sealed, 'base64') as wechat_unionid,
    nickname,
    avatar,
    gender,
    referrer_id,
    created_at,
    updated_at
from account;
