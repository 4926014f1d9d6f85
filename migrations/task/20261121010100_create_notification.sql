-- Messages to users, kept until they are read and for some time after.
create table notification (
    id uuid not null,
    user_id uuid not null,
    type text not null,
    title text not null,
    message text not null,
    priority text not null,
    created_at timestamptz not null,
    read_at timestamptz,
    -- The event it came with: the same one is one notification.
    source text collate "C" not null,
    event_id text collate "C" not null,
    constraint notification_pkey primary key (id),
    constraint notification_once unique (source, event_id),
    constraint notification_type check (char_length(type) between 1 and 64),
    constraint notification_title check (char_length(title) between 1 and 200),
    constraint notification_message check (char_length(message) <= 2000),
    constraint notification_priority check (priority in ('low', 'normal', 'high'))
);

create index notification_by_user on notification (user_id, created_at desc, id desc);
create index notification_unread on notification (user_id, created_at desc, id desc) where read_at is null;
create index notification_read on notification (read_at) where read_at is not null;
