-- One login, from its tokens to its end. Whether it goes on is decided here; the key-value store holds which of its
-- refresh tokens is the good one.
create table session (
    session_id uuid not null,
    user_id uuid not null,
    method text not null,
    device text not null default '',
    ip text not null default '',
    created_at timestamptz not null default clock_timestamp(),
    refreshed_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    constraint session_pkey primary key (session_id),
    constraint session_account foreign key (user_id) references account (user_id),
    constraint session_method check (method in ('code', 'password', 'registration', 'wechat')),
    constraint session_device check (char_length(device) <= 100),
    constraint session_ip check (char_length(ip) <= 45),
    constraint session_expiry check (expires_at > created_at),
    constraint session_end check ((ended_at is null) = (end_reason is null)),
    constraint session_end_reason check (
        end_reason in (
            'logout', 'logout_everywhere', 'revoked', 'replaced', 'reuse', 'lost', 'password_changed', 'banned'
        )
    )
);
create index session_open on session (user_id, session_id desc) where ended_at is null;
create index session_over on session (least(coalesce(ended_at, expires_at), expires_at));
