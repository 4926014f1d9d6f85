-- Facts for other services, written in the transaction that makes them true.
create table outbox (
    id uuid not null,
    seq bigint generated always as identity,
    topic text not null,
    key text not null,
    data jsonb not null,
    attributes jsonb,
    traceparent text,
    created_at timestamptz not null default clock_timestamp(),
    published_at timestamptz,
    next_try timestamptz,
    tries int not null default 0,
    constraint outbox_pkey primary key (id),
    constraint outbox_tries check (tries >= 0)
);
create index outbox_unpublished on outbox (seq) where published_at is null;
create index outbox_unpublished_by_key on outbox (key, seq) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;
