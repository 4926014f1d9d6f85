-- What providers told, once for each event. Applied by a worker after it was committed here.
create table notify_inbox (
    id uuid not null,
    channel text not null,
    event_id text collate "C" not null,
    -- Our number, and what it is a number of.
    subject text not null,
    number text collate "C" not null,
    event jsonb not null,
    state text not null default 'PENDING',
    -- Why it is HELD.
    detail text,
    tries integer not null default 0,
    next_at timestamptz not null default clock_timestamp(),
    received_at timestamptz not null default clock_timestamp(),
    applied_at timestamptz,
    constraint notify_inbox_pkey primary key (id),
    constraint notify_inbox_event unique (channel, event_id),
    constraint notify_inbox_channel check (channel in ('wechat', 'alipay')),
    constraint notify_inbox_subject check (subject in ('payment', 'refund', 'withdrawal')),
    constraint notify_inbox_state check (
        case state
            when 'PENDING' then applied_at is null
            when 'APPLIED' then applied_at is not null
            when 'UNCHANGED' then applied_at is not null
            when 'HELD' then applied_at is not null and detail is not null
            else false
        end
    )
);
create index notify_inbox_due on notify_inbox (next_at) where state = 'PENDING';
create index notify_inbox_by_number on notify_inbox (number);

-- Every delivery, for people: what came, and what was made of it.
create table notify_receipts (
    id uuid not null,
    channel text not null,
    outcome text not null,
    reason text,
    detail text,
    event_id text collate "C",
    number text collate "C",
    body_sha256 bytea not null,
    received_at timestamptz not null default clock_timestamp(),
    constraint notify_receipts_pkey primary key (id),
    constraint notify_receipts_channel check (channel in ('wechat', 'alipay')),
    constraint notify_receipts_outcome check (
        case outcome
            when 'TAKEN' then reason is null and event_id is not null
            when 'DUPLICATE' then reason is null and event_id is not null
            when 'REFUSED' then reason is not null
            else false
        end
    ),
    constraint notify_receipts_body check (octet_length(body_sha256) = 32)
);
create index notify_receipts_by_number on notify_receipts (number, id desc) where number is not null;
create index notify_receipts_age on notify_receipts (received_at);
