-- What can be bought. Lock order everywhere: barrier rows, the order, its payments, its refunds, everything else; of a
-- withdrawal the commission account, then the withdrawal.

-- Which statuses may follow each other; read by the triggers below, and compared with the code's tables by a test.
create table transition (
    machine text collate "C" not null,
    from_status text collate "C" not null,
    to_status text collate "C" not null,
    constraint transition_pkey primary key (machine, from_status, to_status)
);
insert into transition (machine, from_status, to_status) values
    ('orders', 'PENDING', 'PAID'), ('orders', 'PENDING', 'CANCELLED'),
    ('orders', 'PAID', 'COMPLETED'), ('orders', 'PAID', 'REFUNDED'), ('orders', 'COMPLETED', 'REFUNDED'),
    -- CLOSED to SUCCESS: the payer was faster than the close. FAILED to SUCCESS: than the refusal.
    ('payments', 'PENDING', 'SUCCESS'), ('payments', 'PENDING', 'CLOSED'), ('payments', 'PENDING', 'FAILED'),
    ('payments', 'CLOSED', 'SUCCESS'), ('payments', 'FAILED', 'SUCCESS'),
    ('payments', 'SUCCESS', 'REFUNDING'), ('payments', 'REFUNDING', 'SUCCESS'), ('payments', 'REFUNDING', 'REFUNDED'),
    ('refunds', 'PENDING', 'PROCESSING'), ('refunds', 'PENDING', 'FAILED'),
    ('refunds', 'PROCESSING', 'SUCCEEDED'), ('refunds', 'PROCESSING', 'CLOSED'),
    ('refunds', 'PROCESSING', 'ABNORMAL'), ('refunds', 'PROCESSING', 'FAILED'),
    ('refunds', 'ABNORMAL', 'SUCCEEDED'), ('refunds', 'ABNORMAL', 'CLOSED'),
    ('withdrawals', 'FROZEN', 'PROCESSING'), ('withdrawals', 'FROZEN', 'FAILED'),
    ('withdrawals', 'PROCESSING', 'SUCCEEDED'), ('withdrawals', 'PROCESSING', 'FAILED');

create function check_transition() returns trigger language plpgsql as $$
begin
    if not exists (
        select 1 from transition
        where machine = tg_table_name and from_status = old.status and to_status = new.status
    ) then
        raise exception '% % cannot become %', tg_table_name, old.status, new.status
            using errcode = 'check_violation', constraint = tg_table_name || '_transition';
    end if;
    return new;
end
$$;

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end
$$;

create table plans (
    id text collate "C" not null,
    -- The version that is offered.
    version integer not null,
    on_sale boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint plans_pkey primary key (id),
    constraint plans_id check (id ~ '^[a-z][a-z0-9-]{0,62}$')
);

create table plan_versions (
    plan_id text collate "C" not null,
    version integer not null,
    kind text not null,
    title text not null,
    description text not null,
    amount bigint not null,
    currency text not null,
    quota bigint not null,
    quota_days integer not null,
    tier text collate "C",
    membership_days integer not null,
    needs_device boolean not null,
    published_at timestamptz not null default clock_timestamp(),
    constraint plan_versions_pkey primary key (plan_id, version),
    constraint plan_versions_plan foreign key (plan_id) references plans (id) deferrable initially deferred,
    constraint plan_versions_version check (version between 1 and 1000000),
    constraint plan_versions_kind check (
        case kind
            when 'MEMBERSHIP' then tier is not null and membership_days between 1 and 3650
            when 'TOP_UP' then tier is null and membership_days = 0 and quota > 0
            else false
        end
    ),
    constraint plan_versions_amount check (amount between 1 and 10000000000),
    constraint plan_versions_currency check (currency = 'CNY'),
    constraint plan_versions_quota check (quota between 0 and 1000000000000 and quota_days between 0 and 3650)
);
alter table plans add constraint plans_version foreign key (id, version)
    references plan_versions (plan_id, version) deferrable initially deferred;
create trigger plan_versions_append_only before update or delete or truncate on plan_versions
    for each statement execute function refuse_change();
