-- Keys that access tokens are signed with. The private part is encrypted, and forgotten when the key retires.
--
-- next: published, not used yet. active: signs. retired: published until the last token it signed has expired; then the
-- row goes.
create table signing_key (
    kid text not null,
    -- The public key as in a JWK (RFC 8037): 32 bytes, base64url.
    public_x text not null,
    private_sealed bytea,
    state text not null,
    created_at timestamptz not null default clock_timestamp(),
    activated_at timestamptz,
    retired_at timestamptz,
    constraint signing_key_pkey primary key (kid),
    constraint signing_key_public check (char_length(public_x) = 43),
    constraint signing_key_state check (
        case state
            when 'next' then activated_at is null and retired_at is null and private_sealed is not null
            when 'active' then activated_at is not null and retired_at is null and private_sealed is not null
            when 'retired' then activated_at is not null and retired_at is not null and private_sealed is null
            else false
        end
    )
);
create unique index signing_key_one_next on signing_key (state) where state = 'next';
create unique index signing_key_one_active on signing_key (state) where state = 'active';
