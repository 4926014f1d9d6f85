-- The keys that completion tokens are made with.
create table saga.token_key (
    created_at timestamptz not null default clock_timestamp(),
    number smallint not null,
    key bytea not null,
    constraint token_key_pkey primary key (number),
    constraint token_key_number check (number between 1 and 255),
    constraint token_key_length check (octet_length(key) = 32)
);

comment on table saga.token_key is
    'HMAC-SHA256 keys of completion tokens. Instances read them at their start; the highest number signs, all verify. Number 1 is made by the first instance. Secret: whoever reads it can answer for a participant.';
