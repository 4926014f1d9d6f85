-- Books of the allocator of devices, a double: for development and tests.

-- The devices there are. One that belongs to no order is free.
create table device (
    id text collate "C" not null,
    number int not null,
    order_id text collate "C",
    constraint device_pkey primary key (id),
    constraint device_number_once unique (number),
    constraint device_order_once unique (order_id),
    constraint device_number check (number > 0)
);
create index device_free on device (number) where order_id is null;

-- One row an order. A release that comes before its request leaves a row, too, so that the request finds it.
create table allocation (
    order_id text collate "C" not null,
    user_id text not null,
    plan_id text not null,
    state text not null,
    -- Kept after the release.
    device_id text,
    -- What was answered to an order that has none.
    reason text,
    message text,
    requests int not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    released_at timestamptz,
    constraint allocation_pkey primary key (order_id),
    constraint allocation_state check (state in ('asked', 'allocated', 'refused', 'released')),
    constraint allocation_device check (state <> 'allocated' or device_id is not null),
    constraint allocation_refusal check (
        (state = 'refused') = (reason is not null) and (reason is null) = (message is null)
    ),
    constraint allocation_release check ((state = 'released') = (released_at is not null)),
    constraint allocation_requests check (requests >= 0)
);

-- What was applied of others' events, and what is to be published: the tables that the crate `events` works on.
create table inbox (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    done_at timestamptz not null default clock_timestamp(),
    constraint inbox_pkey primary key (consumer, source, event_id)
);
create index inbox_age on inbox (done_at);

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
