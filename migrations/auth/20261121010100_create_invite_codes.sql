-- Invite codes, made ahead. `user_id` is whose code it is; null while it is free.
create table invite_code (
    code text collate "C" not null,
    user_id uuid,
    created_at timestamptz not null default clock_timestamp(),
    claimed_at timestamptz,
    constraint invite_code_pkey primary key (code),
    constraint invite_code_user_key unique (user_id),
    constraint invite_code_form check (code ~ '^[2-9BCDFGHJKMNPQRSTVWXYZ]{8}$'),
    constraint invite_code_claim check ((user_id is null) = (claimed_at is null))
);
create index invite_code_free on invite_code (code) where user_id is null;
