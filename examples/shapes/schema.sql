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
