-- One row per operation of a step. Written by the barrier crate only.
create table barrier (
    saga_id uuid not null,
    step text not null,
    idx integer not null,
    op text not null,
    request_digest bytea,
    state text not null,
    reply bytea,
    refusal_code integer,
    refusal_reason text,
    refusal_message text,
    refusal_facts jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint barrier_pkey primary key (saga_id, step, idx, op),
    constraint barrier_idx check (idx >= 0),
    constraint barrier_op check (op in ('action', 'compensation')),
    constraint barrier_state check (state in ('pending', 'succeeded', 'refused', 'superseded')),
    -- Only the marker that a compensation leaves in place of an action that never came has no digest.
    constraint barrier_digest check (
        case when request_digest is null then state = 'superseded' else octet_length(request_digest) = 32 end
    ),
    constraint barrier_reply check ((reply is not null) = (state = 'succeeded')),
    constraint barrier_refusal check (
        (state = 'refused')
        = (refusal_code is not null and refusal_reason is not null
           and refusal_message is not null and refusal_facts is not null)
    ),
    constraint barrier_compensation check (op = 'action' or state in ('pending', 'succeeded'))
);
