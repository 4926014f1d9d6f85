create table payments (
    id uuid not null,
    payment_no text collate "C" not null,
    order_id uuid not null,
    user_id uuid not null,
    channel text not null,
    -- The number under which the channel knows it: fixed before the channel is called.
    channel_order_no text collate "C" not null,
    -- The channel's own number, once it is paid.
    provider_no text collate "C",
    payment_url text,
    amount bigint not null,
    currency text not null,
    refunded_amount bigint not null default 0,
    refunding_amount bigint not null default 0,
    refunds integer not null default 0,
    status text not null default 'PENDING',
    -- Set while it is to be closed at the channel: why.
    closing text,
    -- Why it is CLOSED or FAILED.
    reason text,
    -- It was paid after it could be: it is no payment of its order, and goes back.
    late boolean not null default false,
    saga_id uuid not null,
    saga_step text,
    expires_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    paid_at timestamptz,
    closed_at timestamptz,
    constraint payments_pkey primary key (id),
    constraint payments_no unique (payment_no),
    constraint payments_channel_order_no unique (channel, channel_order_no),
    constraint payments_order foreign key (order_id) references orders (id),
    constraint payments_channel check (channel in ('wechat', 'alipay')),
    constraint payments_amount check (amount > 0),
    constraint payments_refunds check (refunds between 0 and 50),
    -- Never more back than was paid.
    constraint payments_refunded check (
        refunded_amount >= 0 and refunding_amount >= 0 and refunded_amount + refunding_amount <= amount
    ),
    constraint payments_refunding check ((status = 'REFUNDING') = (refunding_amount > 0)),
    constraint payments_paid check ((status in ('SUCCESS', 'REFUNDING', 'REFUNDED')) = (paid_at is not null)),
    constraint payments_status check (
        case status
            when 'PENDING' then refunded_amount = 0 and not late
            when 'SUCCESS' then refunded_amount < amount
            when 'REFUNDING' then true
            when 'REFUNDED' then refunded_amount = amount
            when 'CLOSED' then reason is not null and refunded_amount = 0 and not late
            when 'FAILED' then reason is not null and refunded_amount = 0 and not late
            else false
        end
    )
);
create index payments_by_order on payments (order_id);
-- Ids are derived from what the caller names: they say nothing of age.
create index payments_by_user on payments (user_id, created_at desc, id desc);
-- What a person has to be told of if it stays so.
create index payments_refunding on payments (id) where status = 'REFUNDING';
create index payments_late on payments (updated_at) where late and status = 'SUCCESS';
-- An order has one open payment for each channel, and is paid once.
create unique index payments_one_open on payments (order_id, channel) where status = 'PENDING';
create unique index payments_one_paid on payments (order_id)
    where status in ('SUCCESS', 'REFUNDING', 'REFUNDED') and not late;
create unique index payments_provider_no on payments (channel, provider_no) where provider_no is not null;
create trigger payments_transition before update of status on payments
    for each row when (old.status is distinct from new.status) execute function check_transition();

create table refunds (
    id uuid not null,
    -- The number under which the channel knows it: fixed before the channel is called.
    refund_no text collate "C" not null,
    payment_id uuid not null,
    order_id uuid not null,
    user_id uuid not null,
    amount bigint not null,
    currency text not null,
    status text not null default 'PENDING',
    cause text not null,
    reason text not null,
    requested_by text not null,
    provider_refund_no text,
    -- When the channel was heard to have taken it: from then on it is asked about, before that it is asked for.
    taken_at timestamptz,
    -- Why it is CLOSED, ABNORMAL or FAILED; while it is PROCESSING, the refusal that has to be heard once more.
    error text,
    saga_id uuid not null,
    saga_step text,
    -- True once the payment has taken it into account.
    booked boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    constraint refunds_pkey primary key (id),
    constraint refunds_no unique (refund_no),
    constraint refunds_payment foreign key (payment_id) references payments (id),
    constraint refunds_order foreign key (order_id) references orders (id),
    constraint refunds_amount check (amount > 0),
    constraint refunds_cause check (cause in ('REQUESTED', 'LATE', 'COMPENSATION')),
    constraint refunds_status check (
        case status
            when 'PENDING' then ended_at is null
            when 'PROCESSING' then ended_at is null
            when 'ABNORMAL' then ended_at is null and error is not null
            when 'SUCCEEDED' then ended_at is not null
            when 'CLOSED' then ended_at is not null and error is not null
            when 'FAILED' then ended_at is not null and error is not null
            else false
        end
    ),
    constraint refunds_booked check (not booked or status = 'SUCCEEDED')
);
create index refunds_by_payment on refunds (payment_id, created_at, id);
-- One refund of a payment at a time.
create unique index refunds_one_open on refunds (payment_id) where status in ('PENDING', 'PROCESSING', 'ABNORMAL');
create trigger refunds_transition before update of status on refunds
    for each row when (old.status is distinct from new.status) execute function check_transition();

-- What has to be asked of, or told to, a provider, and when. A row is there as long as the outcome is open.
create table provider_checks (
    subject text not null,
    subject_id uuid not null,
    channel text not null,
    next_at timestamptz not null default clock_timestamp(),
    -- Answers that told nothing new since the last one that did; says how long to wait for the next.
    tries integer not null default 0,
    -- Since when the outcome of a call is unknown.
    unknown_since timestamptz,
    last_error text,
    -- Who works on it, until when; a worker that lost its lease writes nothing.
    lease_token uuid,
    lease_until timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    constraint provider_checks_pkey primary key (subject, subject_id),
    constraint provider_checks_subject check (subject in ('payment', 'refund', 'withdrawal')),
    constraint provider_checks_channel check (channel in ('wechat', 'alipay')),
    constraint provider_checks_tries check (tries >= 0),
    constraint provider_checks_lease check ((lease_token is null) = (lease_until is null))
);
create index provider_checks_due on provider_checks (next_at);

-- Sagas that a transaction has made due: started afterwards, once for each business id.
create table saga_starts (
    type text collate "C" not null,
    business_id text collate "C" not null,
    input_type text not null,
    input bytea not null,
    next_at timestamptz not null default clock_timestamp(),
    tries integer not null default 0,
    last_error text,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    saga_id uuid,
    constraint saga_starts_pkey primary key (type, business_id),
    constraint saga_starts_started check ((started_at is null) = (saga_id is null))
);
create index saga_starts_due on saga_starts (next_at) where started_at is null;
