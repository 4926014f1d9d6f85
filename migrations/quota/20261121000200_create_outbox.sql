-- Facts for other services, written in the transaction that makes them true.
create table outbox (
    id uuid not null,
    topic text not null,
    key text not null,
    data jsonb not null,
    traceparent text,
    created_at timestamptz not null default clock_timestamp(),
    published_at timestamptz,
    constraint outbox_pkey primary key (id)
);
create index outbox_unpublished on outbox (id) where published_at is null;
