-- Where a grant is from, when grants and reservations end, and what is taken back. Lock order as before: barrier rows,
-- then the account row, then the rest. What writes the columns of before only goes on working.

alter table account
    add column expired bigint not null default 0,
    add column clawed_back bigint not null default 0,
    drop constraint account_granted,
    add constraint account_expired check (expired >= 0),
    add constraint account_clawed_back check (clawed_back >= 0),
    add constraint account_granted check (
        granted >= 0 and granted = available + reserved + consumed + expired + clawed_back
    );

-- `source` stays the note for people. `revoked` is what clawbacks want, `clawed_back` what they have; the difference is
-- in live reservations and comes when these are given back, or never, when they are confirmed.
alter table quota_grant
    add column seq bigint generated always as identity,
    add column kind text not null default 'admin',
    add column source_type text,
    add column source_id text,
    add column source_line integer,
    add column expires_at timestamptz,
    add column expired bigint not null default 0,
    add column revoked bigint not null default 0,
    add column clawed_back bigint not null default 0,
    add constraint quota_grant_kind check (kind in ('purchase', 'membership', 'top_up', 'bonus', 'admin')),
    add constraint quota_grant_source check (
        case when source_type is null
            then source_id is null and source_line is null
            else source_id is not null and source_line is not null
                and source_type ~ '^[a-z][a-z0-9_]{0,31}$'
                and char_length(source_id) between 1 and 200
                and source_line between 0 and 999
        end
    ),
    -- A source grants once.
    add constraint quota_grant_once unique (source_type, source_id, source_line),
    add constraint quota_grant_expired check (expired >= 0 and (expired = 0 or expires_at is not null)),
    add constraint quota_grant_revoked check (0 <= clawed_back and clawed_back <= revoked and revoked <= amount),
    -- What is left of the amount after these is reserved or consumed.
    add constraint quota_grant_parts check (remaining + expired + clawed_back <= amount);

-- In the order in which they are burnt: without an expiry last.
drop index quota_grant_open;
create index quota_grant_open on quota_grant (user_id, priority, expires_at, created_at, grant_id)
    where remaining > 0;
create index quota_grant_due on quota_grant (expires_at, grant_id) where remaining > 0 and expires_at is not null;
create index quota_grant_by_user on quota_grant (user_id, seq desc);

-- `released` is what a partial confirm gave back.
alter table quota_transactions
    add column expires_at timestamptz,
    add column released bigint not null default 0,
    add constraint quota_transactions_released check (
        released >= 0 and (released = 0 or (phase = 'confirmed' and released < amount))
    );
update quota_transactions set expires_at = clock_timestamp() + interval '7 days' where phase = 'reserved';
alter table quota_transactions
    alter column expires_at set default clock_timestamp() + interval '7 days',
    add constraint quota_transactions_expiry check (phase <> 'reserved' or expires_at is not null);
create index quota_transactions_due on quota_transactions (expires_at, task_id) where phase = 'reserved';
create index quota_transactions_live on quota_transactions (user_id) where phase = 'reserved';

alter table reservation_part
    add column released bigint not null default 0,
    add constraint reservation_part_released check (released between 0 and amount);

-- What was to be taken back from a source; without an amount everything, and then the source grants no more.
create table clawback (
    clawback_id text not null,
    user_id uuid not null,
    source_type text not null,
    source_id text not null,
    amount bigint,
    state text not null default 'done',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint clawback_pkey primary key (clawback_id),
    constraint clawback_user foreign key (user_id) references account (user_id),
    constraint clawback_id check (char_length(clawback_id) between 1 and 200),
    constraint clawback_source check (
        source_type ~ '^[a-z][a-z0-9_]{0,31}$' and char_length(source_id) between 1 and 200
    ),
    constraint clawback_amount check (amount between 1 and 1000000000000),
    constraint clawback_state check (state in ('done', 'undone'))
);
create index clawback_by_source on clawback (source_type, source_id);

-- What a clawback wants of each grant, and has. Kept as it was when the clawback is undone.
create table clawback_part (
    clawback_id text not null,
    grant_id text not null,
    revoked bigint not null,
    taken bigint not null,
    constraint clawback_part_pkey primary key (clawback_id, grant_id),
    constraint clawback_part_clawback foreign key (clawback_id) references clawback (clawback_id),
    constraint clawback_part_grant foreign key (grant_id) references quota_grant (grant_id),
    constraint clawback_part_taken check (0 <= taken and taken <= revoked and revoked > 0)
);
create index clawback_part_by_grant on clawback_part (grant_id);

alter table ledger
    add column expired_delta bigint not null default 0,
    add column clawed_back_delta bigint not null default 0,
    add column clawback_id text,
    drop constraint ledger_sum,
    drop constraint ledger_kind,
    add constraint ledger_sum check (
        granted_delta = available_delta + reserved_delta + consumed_delta + expired_delta + clawed_back_delta
    ),
    add constraint ledger_kind check (
        case
            when kind = 'granted' then grant_id is not null and task_id is null and clawback_id is null
                and granted_delta > 0 and available_delta = granted_delta
                and reserved_delta = 0 and consumed_delta = 0 and expired_delta = 0 and clawed_back_delta = 0
            when kind = 'reserved' then task_id is not null and grant_id is null and clawback_id is null
                and reserved_delta > 0 and available_delta = -reserved_delta
                and consumed_delta = 0 and expired_delta = 0 and clawed_back_delta = 0
            when kind = 'confirmed' then task_id is not null and grant_id is null and clawback_id is null
                and consumed_delta > 0 and reserved_delta = -consumed_delta
                and available_delta = 0 and expired_delta = 0 and clawed_back_delta = 0
            -- Given back: by a cancel, by its expiry, or as the rest of a partial confirm.
            when kind in ('cancelled', 'expired', 'released') then task_id is not null and grant_id is null
                and clawback_id is null and available_delta > 0 and reserved_delta = -available_delta
                and consumed_delta = 0 and expired_delta = 0 and clawed_back_delta = 0
            -- The task or clawback is what brought quota back to a grant that had ended.
            when kind = 'grant_expired' then grant_id is not null
                and expired_delta > 0 and available_delta = -expired_delta
                and reserved_delta = 0 and consumed_delta = 0 and clawed_back_delta = 0
            when kind = 'clawed_back' then grant_id is not null and clawback_id is not null
                and clawed_back_delta > 0 and available_delta = -clawed_back_delta
                and reserved_delta = 0 and consumed_delta = 0 and expired_delta = 0
            when kind = 'restored' then grant_id is not null and clawback_id is not null and task_id is null
                and clawed_back_delta < 0 and available_delta = -clawed_back_delta
                and reserved_delta = 0 and consumed_delta = 0 and expired_delta = 0
            else false
        end
    );
-- No movement twice, whatever the code does.
drop index ledger_once_per_task;
drop index ledger_once_per_grant;
create unique index ledger_once_per_task on ledger (task_id, kind) where task_id is not null and grant_id is null;
create unique index ledger_once_per_grant on ledger (
    grant_id, kind, coalesce(task_id, '00000000-0000-0000-0000-000000000000'), coalesce(clawback_id, '')
) where grant_id is not null;

-- What the account of a user is by its ledger. Another function compares the two, and a third mends the cache.
create function account_by_ledger(of_user uuid) returns table (
    granted bigint, available bigint, reserved bigint, consumed bigint, expired bigint, clawed_back bigint
) language sql stable set search_path from current as $$
    select coalesce(sum(granted_delta), 0)::bigint, coalesce(sum(available_delta), 0)::bigint,
        coalesce(sum(reserved_delta), 0)::bigint, coalesce(sum(consumed_delta), 0)::bigint,
        coalesce(sum(expired_delta), 0)::bigint, coalesce(sum(clawed_back_delta), 0)::bigint
    from ledger where user_id = of_user
$$;

-- Makes the account of a user what its ledger says; tells whether it was something else.
create function rebuild_account(of_user uuid) returns boolean
language plpgsql set search_path from current as $$
begin
    -- The ledger must be read after the wait for the lock, and so by another statement.
    perform 1 from account where user_id = of_user for update;
    update account a
    set granted = l.granted, available = l.available, reserved = l.reserved, consumed = l.consumed,
        expired = l.expired, clawed_back = l.clawed_back, updated_at = clock_timestamp()
    from account_by_ledger(of_user) l
    where a.user_id = of_user
        and (a.granted, a.available, a.reserved, a.consumed, a.expired, a.clawed_back)
            is distinct from (l.granted, l.available, l.reserved, l.consumed, l.expired, l.clawed_back);
    return found;
end
$$;

-- Compares every account with its ledger, its reservations and its grants; every grant with what was taken from it and
-- with its clawbacks; every reservation with its parts and its ledger. Returns what differs.
create function drift() returns table (user_id uuid, what text, expected bigint, found bigint)
language sql stable set search_path from current as $$
with ledger_sum as (
    select l.user_id, sum(granted_delta) as granted, sum(available_delta) as available,
        sum(reserved_delta) as reserved, sum(consumed_delta) as consumed, sum(expired_delta) as expired,
        sum(clawed_back_delta) as clawed_back
    from ledger l group by l.user_id
), grant_sum as (
    select g.user_id, sum(amount) as granted, sum(remaining) as available, sum(expired) as expired,
        sum(clawed_back) as clawed_back
    from quota_grant g group by g.user_id
), task_sum as (
    select t.user_id, sum(amount) filter (where phase = 'reserved') as reserved,
        sum(amount - released) filter (where phase = 'confirmed') as consumed
    from quota_transactions t where t.user_id is not null group by t.user_id
), subject as (
    select a.user_id from account a union select l.user_id from ledger l union select g.user_id from quota_grant g
    union select t.user_id from quota_transactions t where t.user_id is not null
), taken as (
    select p.grant_id, sum(p.amount - p.released) as amount
    from reservation_part p join quota_transactions t on t.task_id = p.task_id
    where t.phase in ('reserved', 'confirmed') group by p.grant_id
), clawed as (
    select p.grant_id, sum(p.revoked) as revoked, sum(p.taken) as taken
    from clawback_part p join clawback c on c.clawback_id = p.clawback_id
    where c.state = 'done' group by p.grant_id
), grant_ledger as (
    select l.grant_id, sum(granted_delta) as granted, sum(expired_delta) as expired,
        sum(clawed_back_delta) as clawed_back
    from ledger l where l.grant_id is not null group by l.grant_id
), part_sum as (
    select p.task_id, sum(amount) as amount, sum(released) as released from reservation_part p group by p.task_id
), task_ledger as (
    select l.task_id, sum(reserved_delta) as reserved, sum(consumed_delta) as consumed
    from ledger l where l.task_id is not null group by l.task_id
), figure as (
    select s.user_id, v.what, v.expected, v.found
    from subject s
    left join account a on a.user_id = s.user_id
    left join ledger_sum l on l.user_id = s.user_id
    left join grant_sum g on g.user_id = s.user_id
    left join task_sum t on t.user_id = s.user_id
    cross join lateral (values
        ('granted against the ledger', l.granted, a.granted),
        ('available against the ledger', l.available, a.available),
        ('reserved against the ledger', l.reserved, a.reserved),
        ('consumed against the ledger', l.consumed, a.consumed),
        ('expired against the ledger', l.expired, a.expired),
        ('clawed back against the ledger', l.clawed_back, a.clawed_back),
        ('granted against the grants', g.granted, a.granted),
        ('available against the grants', g.available, a.available),
        ('expired against the grants', g.expired, a.expired),
        ('clawed back against the grants', g.clawed_back, a.clawed_back),
        ('reserved against the reservations', t.reserved, a.reserved),
        ('consumed against the reservations', t.consumed, a.consumed)
    ) as v (what, expected, found)
    union all
    select g.user_id, v.what || g.grant_id, v.expected, v.found
    from quota_grant g
    left join taken t on t.grant_id = g.grant_id
    left join clawed c on c.grant_id = g.grant_id
    left join grant_ledger l on l.grant_id = g.grant_id
    cross join lateral (values
        ('taken from grant ', t.amount, g.amount - g.remaining - g.expired - g.clawed_back),
        ('revoked of grant ', c.revoked, g.revoked),
        ('clawed back from grant ', c.taken, g.clawed_back),
        ('ledger of granted ', g.amount, l.granted),
        ('ledger of expired grant ', g.expired, l.expired),
        ('ledger of clawed back grant ', g.clawed_back, l.clawed_back),
        -- What a clawback waits for is taken as soon as it is there.
        ('owed and free of grant ', 0, case when g.clawed_back < g.revoked then g.remaining else 0 end)
    ) as v (what, expected, found)
    union all
    select t.user_id, v.what || t.task_id, v.expected, v.found
    from quota_transactions t
    left join part_sum p on p.task_id = t.task_id
    left join task_ledger l on l.task_id = t.task_id
    cross join lateral (values
        ('parts of task ', t.amount, p.amount),
        ('released parts of task ', t.released, p.released),
        ('ledger of reserved task ', case when t.phase = 'reserved' then t.amount else 0 end, l.reserved),
        ('ledger of confirmed task ',
            case when t.phase = 'confirmed' then t.amount - t.released else 0 end, l.consumed)
    ) as v (what, expected, found)
    where t.user_id is not null
)
select f.user_id, f.what, coalesce(f.expected, 0)::bigint, coalesce(f.found, 0)::bigint
from figure f where coalesce(f.expected, 0) <> coalesce(f.found, 0) order by f.user_id, f.what
$$;
