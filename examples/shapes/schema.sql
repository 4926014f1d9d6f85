-- Tables of the example. The barrier's own come from the barrier crate.
create table booking (
    trip_id text not null,
    booking integer not null,
    booking_no text not null,
    state text not null,
    constraint booking_pkey primary key (trip_id, booking),
    constraint booking_state check (state in ('booked', 'cancelled', 'issued'))
);

create table payment (
    trip_id text not null,
    payment_no text not null,
    price_minor bigint not null,
    constraint payment_pkey primary key (trip_id),
    constraint payment_price check (price_minor > 0)
);

create table account (
    id text not null,
    balance_minor bigint not null,
    frozen_minor bigint not null default 0,
    constraint account_pkey primary key (id),
    constraint account_covered check (frozen_minor between 0 and balance_minor)
);

create table movement (
    transfer_id text not null,
    side text not null,
    account text not null,
    amount_minor bigint not null,
    state text not null,
    constraint movement_pkey primary key (transfer_id, side),
    constraint movement_side check (side in ('take', 'give')),
    constraint movement_amount check (amount_minor > 0),
    constraint movement_state check (state in ('tried', 'confirmed', 'cancelled'))
);

create table loan (
    loan_id text not null,
    state text not null,
    device_id text,
    constraint loan_pkey primary key (loan_id),
    constraint loan_state check (state in ('open', 'closed', 'handed over')),
    constraint loan_device check ((device_id is not null) = (state = 'handed over'))
);

-- One row a loan. A release that comes before the request leaves its row, too, so that the request finds it.
create table device (
    loan_id text not null,
    device_id text not null,
    state text not null,
    constraint device_pkey primary key (loan_id),
    constraint device_state check (state in ('allocated', 'released'))
);

-- What was applied of others' events, and what is to be published: the tables that the crate `events` works on.
create table inbox (
    consumer text not null,
    source text not null,
    event_id text not null,
    done_at timestamptz not null default clock_timestamp(),
    constraint inbox_pkey primary key (consumer, source, event_id)
);

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
    constraint outbox_pkey primary key (id)
);
create index outbox_unpublished on outbox (seq) where published_at is null;
create index outbox_unpublished_by_key on outbox (key, seq) where published_at is null;
