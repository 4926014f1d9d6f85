-- The Postgres queue, and the dead letters of either broker.

-- Who wants messages. A queue outlives its consumers.
create table queue (
    name text collate "C" not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint queue_pkey primary key (name),
    constraint queue_name_form check (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' and octet_length(name) <= 100)
);

-- Which topics a queue takes. `expression` matches a topic that is followed by a dot.
create table binding (
    queue text collate "C" not null,
    pattern text collate "C" not null,
    expression text not null,
    constraint binding_pkey primary key (queue, pattern),
    constraint binding_queue foreign key (queue) references queue (name) on delete cascade
);

-- One row a message and queue; deleted when it is done. `visible_at` in the future: a consumer has it.
create table message (
    id bigint generated always as identity,
    queue text collate "C" not null,
    topic text collate "C" not null,
    body bytea not null,
    deliveries int not null default 0,
    holder uuid,
    visible_at timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default clock_timestamp(),
    constraint message_pkey primary key (id),
    constraint message_queue foreign key (queue) references queue (name),
    constraint message_deliveries check (deliveries >= 0)
);
create index message_order on message (queue, id);

-- Messages that could not be applied, until a person sends them back or drops them.
create table dead_letter (
    id uuid not null,
    queue text collate "C" not null,
    -- SHA-256 of the body: the same message dies once, however often it is delivered.
    fingerprint bytea not null,
    topic text,
    event_id text,
    key text,
    reason text not null,
    deliveries int not null,
    deaths int not null default 1,
    body bytea not null,
    died_at timestamptz not null default clock_timestamp(),
    -- Sent back by the next process that looks; until then a second request changes nothing.
    replay_at timestamptz,
    constraint dead_letter_pkey primary key (id),
    constraint dead_letter_once unique (queue, fingerprint),
    constraint dead_letter_counts check (deliveries >= 0 and deaths >= 1)
);
create index dead_letter_by_queue on dead_letter (queue, id);
create index dead_letter_replay on dead_letter (replay_at) where replay_at is not null;

-- Who did what with a dead letter. Rows are only ever added.
create table dead_letter_audit (
    id uuid not null,
    at timestamptz not null default clock_timestamp(),
    actor text not null,
    action text not null,
    note text not null,
    dead_letter_id uuid not null,
    queue text collate "C" not null,
    topic text,
    event_id text,
    reason text not null,
    -- What was dropped can still be read here.
    body bytea,
    constraint dead_letter_audit_pkey primary key (id),
    constraint dead_letter_audit_action check (action in ('replay', 'drop')),
    constraint dead_letter_audit_actor check (actor <> ''),
    constraint dead_letter_audit_dropped check (action <> 'drop' or body is not null and note <> '')
);
create index dead_letter_audit_by_letter on dead_letter_audit (dead_letter_id);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger dead_letter_audit_append_only before update or delete on dead_letter_audit
    for each row execute function refuse_change();
