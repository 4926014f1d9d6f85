create table orders (
    id uuid not null,
    order_number text collate "C" not null,
    user_id uuid not null,
    plan_id text collate "C" not null,
    plan_version integer not null,
    device_id text,
    -- Minor units: the plan's price, what is to be paid, and what went back.
    amount bigint not null,
    final_amount bigint not null,
    refunded_amount bigint not null default 0,
    currency text not null,
    status text not null default 'PENDING',
    -- Set while its payments are being closed: why. With SAGA no payment is taken any more; otherwise one that was faster is.
    cancelling text,
    -- What cancel_reason becomes then.
    cancelling_reason text,
    cancel_reason text,
    saga_id uuid not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    paid_at timestamptz,
    completed_at timestamptz,
    cancelled_at timestamptz,
    refunded_at timestamptz,
    constraint orders_pkey primary key (id),
    constraint orders_number unique (order_number),
    constraint orders_plan foreign key (plan_id, plan_version) references plan_versions (plan_id, version),
    constraint orders_amount check (amount > 0 and final_amount between 1 and amount),
    constraint orders_refunded check (refunded_amount between 0 and final_amount),
    constraint orders_cancelling check (cancelling in ('USER', 'EXPIRED', 'SAGA')),
    constraint orders_reason check ((cancel_reason is not null) = (status = 'CANCELLED')),
    constraint orders_status check (
        case status
            when 'PENDING' then paid_at is null and completed_at is null and cancelled_at is null and refunded_at is null
                and refunded_amount = 0
            when 'PAID' then paid_at is not null and completed_at is null and cancelled_at is null and refunded_at is null
            when 'COMPLETED' then paid_at is not null and completed_at is not null and cancelled_at is null
                and refunded_at is null and refunded_amount < final_amount
            when 'CANCELLED' then paid_at is null and completed_at is null and cancelled_at is not null
                and refunded_at is null and refunded_amount = 0
            when 'REFUNDED' then paid_at is not null and cancelled_at is null and refunded_at is not null
                and refunded_amount = final_amount
            else false
        end
    )
);
-- Ids are derived from what the buyer names: they say nothing of age.
create index orders_by_user on orders (user_id, created_at desc, id desc);
create index orders_open on orders (expires_at, id) where status = 'PENDING' and cancelling is null;
create index orders_cancelling on orders (id) where status = 'PENDING' and cancelling is not null;
create trigger orders_transition before update of status on orders
    for each row when (old.status is distinct from new.status) execute function check_transition();

-- What an order grants.
create table order_lines (
    order_id uuid not null,
    line integer not null,
    kind text not null,
    title text not null,
    -- Units of quota, or days.
    quantity bigint not null,
    tier text collate "C",
    -- QUOTA: days until what was granted is lost; 0: never.
    expires_after_days integer not null default 0,
    constraint order_lines_pkey primary key (order_id, line),
    constraint order_lines_order foreign key (order_id) references orders (id),
    constraint order_lines_line check (line between 0 and 999),
    constraint order_lines_quantity check (quantity > 0),
    constraint order_lines_kind check (
        case kind when 'QUOTA' then tier is null when 'MEMBERSHIP' then tier is not null else false end
    )
);
create trigger order_lines_append_only before update or delete or truncate on order_lines
    for each statement execute function refuse_change();

-- Rights to a tier; a cache of the periods below.
create table memberships (
    user_id uuid not null,
    tier text collate "C" not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    updated_at timestamptz not null default clock_timestamp(),
    constraint memberships_pkey primary key (user_id, tier),
    constraint memberships_time check (starts_at <= ends_at)
);

-- What each order has added. Those of one user and tier follow each other without overlap.
create table membership_periods (
    order_id uuid not null,
    user_id uuid not null,
    tier text collate "C" not null,
    days integer not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    -- When what was left of it was taken back; ends_at is that moment or earlier then.
    revoked_at timestamptz,
    refund_id uuid,
    constraint membership_periods_pkey primary key (order_id, tier),
    constraint membership_periods_of foreign key (user_id, tier) references memberships (user_id, tier),
    constraint membership_periods_order foreign key (order_id) references orders (id),
    constraint membership_periods_days check (days > 0),
    constraint membership_periods_time check (starts_at <= ends_at),
    constraint membership_periods_revoked check ((revoked_at is null) = (refund_id is null))
);
create index membership_periods_by_user on membership_periods (user_id, tier, starts_at);

-- Every change of a membership. Append-only.
create table membership_history (
    id uuid not null,
    user_id uuid not null,
    tier text collate "C" not null,
    kind text not null,
    order_id uuid not null,
    refund_id uuid,
    ends_before timestamptz,
    ends_after timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint membership_history_pkey primary key (id),
    constraint membership_history_kind check (
        case kind
            when 'opened' then refund_id is null
            when 'extended' then refund_id is null and ends_before is not null
            when 'revoked' then refund_id is not null and ends_before is not null
            else false
        end
    )
);
create index membership_history_by_user on membership_history (user_id, id desc);
create trigger membership_history_append_only before update or delete or truncate on membership_history
    for each statement execute function refuse_change();
