-- The tables that a service with an outbox and a consumer has, and one for the effects of a handler.
create schema shop;
create table shop.outbox (
    id uuid not null,
    topic text not null,
    key text not null,
    data jsonb not null,
    traceparent text,
    created_at timestamptz not null default clock_timestamp(),
    published_at timestamptz,
    seq bigint generated always as identity,
    attributes jsonb,
    next_try timestamptz,
    tries int not null default 0,
    constraint outbox_pkey primary key (id)
);
create index outbox_unpublished on shop.outbox (seq) where published_at is null;
create index outbox_unpublished_by_key on shop.outbox (key, seq) where published_at is null;
create table shop.inbox (
    consumer text not null,
    source text not null,
    event_id text not null,
    done_at timestamptz not null default clock_timestamp(),
    constraint inbox_pkey primary key (consumer, source, event_id)
);
create table shop.effect (
    place bigint generated always as identity,
    event_id text not null,
    topic text not null,
    key text,
    data jsonb not null,
    constraint effect_amount check (data ->> 'bad' is null)
);
