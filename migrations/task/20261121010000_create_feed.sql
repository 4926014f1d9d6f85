-- What each user is told: events numbered 1, 2, 3 … without gaps. Whoever adds one locks the user's head until the commit,
-- so that numbers become visible in their order.
create table feed_head (
    user_id uuid not null,
    last_seq bigint not null,
    constraint feed_head_pkey primary key (user_id),
    constraint feed_head_last_seq check (last_seq > 0)
);

-- An event names what changed; readers are shown that as it is when they are told.
create table feed (
    user_id uuid not null,
    seq bigint not null,
    task_id uuid,
    notification_id uuid,
    -- Of the moment under the head's lock, so that a user's rows age in their order.
    created_at timestamptz not null default clock_timestamp(),
    -- The transaction that wrote it: tells which rows have become visible since an earlier look.
    xid xid8 not null default pg_current_xact_id(),
    constraint feed_pkey primary key (user_id, seq),
    constraint feed_seq check (seq > 0),
    constraint feed_subject check (num_nonnulls(task_id, notification_id) = 1)
);

create index feed_by_xid on feed (xid);
create index feed_by_age on feed (created_at);

-- What a snapshot shows of a user's tasks. A task enters and leaves these once, so its other updates stay cheap.
create index tasks_unfinished on tasks (user_id, created_at desc) where finished_at is null;
create index tasks_finished on tasks (user_id, finished_at desc) where finished_at is not null;
