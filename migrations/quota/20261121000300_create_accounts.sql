-- Lock order everywhere: barrier rows, then the account row, then the rest.

-- What a user has. A cache of the ledger.
create table account (
    user_id uuid not null,
    granted bigint not null default 0,
    available bigint not null default 0,
    reserved bigint not null default 0,
    consumed bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint account_pkey primary key (user_id),
    constraint account_available check (available >= 0),
    constraint account_reserved check (reserved >= 0),
    constraint account_consumed check (consumed >= 0),
    constraint account_granted check (granted >= 0 and granted = available + reserved + consumed)
);

-- What was given to a user, and how much of it is not reserved or consumed.
create table quota_grant (
    grant_id text not null,
    user_id uuid not null,
    amount bigint not null,
    remaining bigint not null,
    priority integer not null default 100,
    source text not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint quota_grant_pkey primary key (grant_id),
    constraint quota_grant_user foreign key (user_id) references account (user_id),
    constraint quota_grant_id check (char_length(grant_id) between 1 and 200),
    constraint quota_grant_amount check (amount between 1 and 1000000000000),
    constraint quota_grant_remaining check (remaining between 0 and amount)
);
-- In the order in which they are burnt.
create index quota_grant_open on quota_grant (user_id, priority, created_at, grant_id) where remaining > 0;

-- One row per task: its reservation, or the mark of a cancel that came before any reserve.
create table quota_transactions (
    id uuid not null,
    task_id uuid not null,
    user_id uuid,
    amount bigint not null,
    phase text not null,
    -- True as soon as the effect of the current phase is committed; here the two are one commit.
    idempotent_done boolean not null default true,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint quota_transactions_pkey primary key (id),
    constraint quota_transactions_task unique (task_id),
    constraint quota_transactions_user foreign key (user_id) references account (user_id),
    constraint quota_transactions_phase check (phase in ('reserved', 'confirmed', 'cancelled', 'expired')),
    constraint quota_transactions_amount check (
        case when user_id is null
            then phase = 'cancelled' and amount = 0
            else amount between 1 and 1000000000000
        end
    )
);
create index quota_transactions_by_user on quota_transactions (user_id, created_at);

-- Which grants a reservation was taken from.
create table reservation_part (
    task_id uuid not null,
    grant_id text not null,
    amount bigint not null,
    constraint reservation_part_pkey primary key (task_id, grant_id),
    constraint reservation_part_task foreign key (task_id) references quota_transactions (task_id),
    constraint reservation_part_grant foreign key (grant_id) references quota_grant (grant_id),
    constraint reservation_part_amount check (amount > 0)
);

-- Every movement. Append-only.
create table ledger (
    entry_id uuid not null,
    user_id uuid not null,
    kind text not null,
    granted_delta bigint not null,
    available_delta bigint not null,
    reserved_delta bigint not null,
    consumed_delta bigint not null,
    task_id uuid,
    grant_id text,
    created_at timestamptz not null default clock_timestamp(),
    constraint ledger_pkey primary key (entry_id),
    constraint ledger_sum check (granted_delta = available_delta + reserved_delta + consumed_delta),
    constraint ledger_kind check (
        case kind
            when 'granted' then grant_id is not null and granted_delta > 0 and available_delta = granted_delta
                and reserved_delta = 0
            when 'reserved' then task_id is not null and reserved_delta > 0 and available_delta = -reserved_delta
                and consumed_delta = 0
            when 'confirmed' then task_id is not null and consumed_delta > 0 and reserved_delta = -consumed_delta
                and available_delta = 0
            when 'cancelled' then task_id is not null and available_delta > 0 and reserved_delta = -available_delta
                and consumed_delta = 0
            else false
        end
    )
);
create index ledger_by_user on ledger (user_id, entry_id desc);
-- No movement twice, whatever the code does.
create unique index ledger_once_per_task on ledger (task_id, kind) where task_id is not null;
create unique index ledger_once_per_grant on ledger (grant_id) where grant_id is not null;

create function refuse_ledger_change() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger ledger_append_only before update or delete or truncate on ledger
    for each statement execute function refuse_ledger_change();
