-- One row per operation whose effect is outside the database. Written by the barrier crate only.
create table barrier_claim (
    saga_id uuid not null,
    step text not null,
    idx integer not null,
    op text not null,
    -- Number of the claim: rises by one each time the right to call is taken again.
    fence bigint not null,
    -- No call starts after this instant.
    valid_until timestamptz not null,
    -- No call that started before has a new effect after this instant.
    quiet_at timestamptz not null,
    -- A success that the saga has given up and that was not undone (yet): somebody should look.
    late_reply bytea,
    claimed_at timestamptz not null default now(),
    constraint barrier_claim_pkey primary key (saga_id, step, idx, op),
    constraint barrier_claim_operation foreign key (saga_id, step, idx, op)
        references barrier (saga_id, step, idx, op) on delete cascade,
    constraint barrier_claim_fence check (fence > 0),
    constraint barrier_claim_order check (valid_until <= quiet_at),
    constraint barrier_claim_late check (late_reply is null or op = 'action')
);
