-- What a person has to look at.
create table cases (
    id uuid not null,
    kind text not null,
    channel text not null,
    subject text not null,
    subject_id uuid not null,
    number text collate "C" not null,
    detail text not null,
    opened_at timestamptz not null default clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text,
    note text,
    constraint cases_pkey primary key (id),
    constraint cases_kind check (
        kind in ('UNKNOWN_OUTCOME', 'ABNORMAL_REFUND', 'AMOUNT_MISMATCH', 'REFUND_FAILED', 'CONTRADICTION')
    ),
    constraint cases_subject check (subject in ('payment', 'refund', 'withdrawal')),
    constraint cases_resolved check (
        (resolved_at is null) = (resolved_by is null) and (resolved_at is null) = (note is null)
    )
);
-- One open case of a kind for each thing.
create unique index cases_open on cases (kind, subject, subject_id) where resolved_at is null;

-- Days of providers' bills that were compared with our books.
create table statements (
    -- For page tokens.
    id uuid not null,
    channel text not null,
    day date not null,
    lines integer not null,
    paid_minor bigint not null,
    refunded_minor bigint not null,
    currency text not null,
    -- The last import; differences that it did not find are gone.
    import_id uuid not null,
    imported_at timestamptz not null default clock_timestamp(),
    constraint statements_pkey primary key (channel, day),
    constraint statements_id unique (id),
    constraint statements_sums check (lines >= 0 and paid_minor >= 0 and refunded_minor >= 0),
    constraint statements_channel check (channel in ('wechat', 'alipay'))
);

create table statement_differences (
    id uuid not null,
    channel text not null,
    day date not null,
    kind text not null,
    subject text not null,
    number text collate "C" not null,
    ours_minor bigint,
    theirs_minor bigint,
    detail text not null,
    import_id uuid not null,
    found_at timestamptz not null default clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text,
    note text,
    constraint statement_differences_pkey primary key (id),
    constraint statement_differences_of foreign key (channel, day) references statements (channel, day),
    constraint statement_differences_once unique (channel, day, kind, subject, number),
    constraint statement_differences_kind check (
        case kind
            when 'MISSING_THERE' then ours_minor is not null and theirs_minor is null
            when 'MISSING_HERE' then ours_minor is null and theirs_minor is not null
            when 'AMOUNT' then ours_minor is not null and theirs_minor is not null
            when 'STATUS' then ours_minor is not null and theirs_minor is not null
            else false
        end
    ),
    constraint statement_differences_subject check (subject in ('payment', 'refund')),
    constraint statement_differences_resolved check (
        (resolved_at is null) = (resolved_by is null) and (resolved_at is null) = (note is null)
    )
);
create index statement_differences_open on statement_differences (id desc) where resolved_at is null;
create index statements_by_day on statements (day desc, channel desc);

-- What a statement is compared with.
create index payments_by_day on payments (channel, paid_at, id) where paid_at is not null;
create index refunds_by_day on refunds (ended_at, id) where status = 'SUCCEEDED';
