-- What a user has earned. A cache of the entries below.
create table commission_accounts (
    user_id uuid not null,
    earned bigint not null default 0,
    available bigint not null default 0,
    frozen bigint not null default 0,
    withdrawn bigint not null default 0,
    currency text not null default 'CNY',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint commission_accounts_pkey primary key (user_id),
    constraint commission_accounts_parts check (available >= 0 and frozen >= 0 and withdrawn >= 0),
    constraint commission_accounts_sum check (earned = available + frozen + withdrawn)
);

-- Who gets the money of a withdrawal. Written before its saga starts; without a withdrawal it is forgotten again.
create table payees (
    withdrawal_id uuid not null,
    -- Recipient and name, sealed for this place (docs/adr/0018).
    recipient_sealed bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    -- When the withdrawal was written.
    taken_at timestamptz,
    constraint payees_pkey primary key (withdrawal_id),
    constraint payees_size check (octet_length(recipient_sealed) between 1 and 4096)
);
create index payees_untaken on payees (created_at) where taken_at is null;

create table withdrawals (
    id uuid not null,
    -- The number under which the channel knows it: fixed before the channel is called.
    withdrawal_no text collate "C" not null,
    user_id uuid not null,
    channel text not null,
    amount bigint not null,
    currency text not null,
    status text not null default 'FROZEN',
    provider_no text collate "C",
    -- WeChat: opens the page on which the recipient accepts.
    package text,
    -- Why it is FAILED.
    error text,
    saga_id uuid not null,
    saga_step text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    constraint withdrawals_pkey primary key (id),
    constraint withdrawals_no unique (withdrawal_no),
    constraint withdrawals_payee foreign key (id) references payees (withdrawal_id),
    constraint withdrawals_user foreign key (user_id) references commission_accounts (user_id),
    constraint withdrawals_channel check (channel in ('wechat', 'alipay')),
    constraint withdrawals_amount check (amount > 0),
    constraint withdrawals_status check (
        case status
            when 'FROZEN' then ended_at is null and provider_no is null and package is null and error is null
            when 'PROCESSING' then ended_at is null and error is null and saga_step is not null
            when 'SUCCEEDED' then ended_at is not null and package is null and error is null
            when 'FAILED' then ended_at is not null and package is null and error is not null
            else false
        end
    )
);
-- Ids follow from requests and do not sort by age.
create index withdrawals_by_user on withdrawals (user_id, created_at desc, id desc);
create trigger withdrawals_transition before update of status on withdrawals
    for each row when (old.status is distinct from new.status) execute function check_transition();

-- Every movement. Append-only.
create table commission_entries (
    id uuid not null,
    user_id uuid not null,
    kind text not null,
    earned_delta bigint not null,
    available_delta bigint not null,
    frozen_delta bigint not null,
    withdrawn_delta bigint not null,
    withdrawal_id uuid,
    credit_id text collate "C",
    note text,
    created_at timestamptz not null default clock_timestamp(),
    constraint commission_entries_pkey primary key (id),
    constraint commission_entries_user foreign key (user_id) references commission_accounts (user_id),
    constraint commission_entries_sum check (earned_delta = available_delta + frozen_delta + withdrawn_delta),
    constraint commission_entries_kind check (
        case kind
            when 'credited' then credit_id is not null and withdrawal_id is null
                and earned_delta > 0 and available_delta = earned_delta and frozen_delta = 0 and withdrawn_delta = 0
            when 'frozen' then withdrawal_id is not null and credit_id is null
                and frozen_delta > 0 and available_delta = -frozen_delta and earned_delta = 0 and withdrawn_delta = 0
            when 'unfrozen' then withdrawal_id is not null and credit_id is null
                and available_delta > 0 and frozen_delta = -available_delta and earned_delta = 0 and withdrawn_delta = 0
            when 'withdrawn' then withdrawal_id is not null and credit_id is null
                and withdrawn_delta > 0 and frozen_delta = -withdrawn_delta and earned_delta = 0 and available_delta = 0
            else false
        end
    )
);
create index commission_entries_by_user on commission_entries (user_id, id desc);
-- No movement twice, whatever the code does.
create unique index commission_entries_credit on commission_entries (credit_id) where credit_id is not null;
create unique index commission_entries_frozen on commission_entries (withdrawal_id) where kind = 'frozen';
create unique index commission_entries_ended on commission_entries (withdrawal_id)
    where kind in ('unfrozen', 'withdrawn');
create trigger commission_entries_append_only before update or delete or truncate on commission_entries
    for each statement execute function refuse_change();
