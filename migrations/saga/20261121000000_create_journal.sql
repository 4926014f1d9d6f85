-- The journal of the orchestrator. Names are qualified because the journal's statements are.
--
-- Everything that belongs to one saga is keyed by the saga's id first, which is a UUIDv7 and so grows with time. There is
-- no foreign key, and no unique constraint that does not begin with the saga's id: `instance` and `event` can be
-- partitioned by ranges of the id later, and old partitions dropped, without changing a statement. `saga_keys` is a table
-- of its own because it must outlive the sagas (a business key is the same saga for ever).
--
-- Lock order everywhere: own `replica` row, other `replica` row, `saga_keys` by (type, business_id), `instance` by id.

-- Epochs come from here, so that those of a deleted replica row never come back.
create sequence saga.epoch as bigint;

create table saga.replica (
    epoch bigint not null,
    expires_at timestamptz not null,
    heartbeat_at timestamptz not null,
    started_at timestamptz not null,
    leased_since timestamptz not null,
    incarnation integer not null default 0,
    id text collate "C" not null,
    address text not null,
    taken_by text,
    constraint replica_pkey primary key (id)
)
-- Rewritten by every heartbeat: room for the new version on the same page.
with (fillfactor = 20, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);

comment on table saga.replica is
    'Instances of the orchestrator. Every write of an instance holds its row for share and happens only if the epoch is still the one the instance started with.';
comment on column saga.replica.epoch is 'Rises with every start of the instance and with every takeover from it.';
comment on column saga.replica.incarnation is
    'Rises when the instance lost a connection with a write on it; a write under an earlier one does not happen.';
comment on column saga.replica.leased_since is 'Since when the lease has been held without a gap.';
comment on column saga.replica.taken_by is
    'The instance that is taking over the sagas of this one, and its epoch; expires_at is then the lease of that work.';

create table saga.definition (
    id bigint generated always as identity,
    registered_at timestamptz not null default clock_timestamp(),
    version integer not null,
    revision integer not null,
    active boolean not null default false,
    name text collate "C" not null,
    hash bytea not null,
    source text not null,
    canonical text not null,
    closure bytea not null,
    registered_by text not null,
    input_type text not null,
    steps text[] not null,
    compensated boolean[] not null,
    max_retries integer[] not null,
    epilogue text,
    constraint definition_pkey primary key (id),
    constraint definition_name_version_revision unique (name, version, revision),
    constraint definition_version check (version >= 1),
    constraint definition_revision check (revision >= 1),
    constraint definition_steps check (
        cardinality(steps) between 1 and 1000
        and cardinality(compensated) = cardinality(steps)
        and cardinality(max_retries) = cardinality(steps)
    )
);

comment on table saga.definition is
    'Registered saga definitions. A saga keeps the revision it was started with; rows are never changed but for `active`.';
comment on column saga.definition.steps is 'Names of the steps, in order; the views read them.';
comment on column saga.definition.compensated is 'For each step: whether it has a compensation.';
comment on column saga.definition.max_retries is 'For each step: attempts after the first call.';
comment on column saga.definition.epilogue is 'Name of the call after the last compensation, if there is one.';
comment on column saga.definition.closure is 'Descriptors of every message type that the definition reaches.';

create table saga.saga_keys (
    saga_id uuid not null,
    created_at timestamptz not null,
    type text collate "C" not null,
    business_id text collate "C" not null,
    input_digest bytea not null,
    constraint saga_keys_pkey primary key (type, business_id),
    constraint saga_keys_digest check (octet_length(input_digest) = 32)
);

comment on table saga.saga_keys is
    'Business keys: the same (type, business_id) is the same saga, for ever. Kept when the saga itself is dropped.';
comment on column saga.saga_keys.input_digest is 'SHA-256 over the canonical input; another input under the same key is refused.';

-- One row for each saga: written at its start, when its phase or what people see of it changes, and at its end. The
-- columns of fixed width stand first, those that change together stand together: the log of an update is what differs.
create table saga.instance (
    id uuid not null,
    definition_id bigint not null,
    created_at timestamptz not null,
    ended_at timestamptz,
    deadline_at timestamptz,
    left_ms bigint,
    failed_step smallint,
    claims smallint not null default 0,
    format smallint not null,
    needs_attention boolean not null,
    quarantined boolean not null default false,
    phase text collate "C" not null,
    reason text collate "C",
    error json,
    attention json,
    owner text collate "C" not null,
    business_id text collate "C" not null,
    actor text not null,
    traceparent text,
    input json not null,
    constraint instance_pkey primary key (id),
    constraint instance_phase check (
        phase in ('RUNNING', 'COMPENSATING', 'COMPLETED', 'COMPENSATED', 'RESOLVED')
    ),
    constraint instance_ended check ((phase in ('RUNNING', 'COMPENSATING')) = (ended_at is null)),
    constraint instance_clock check (deadline_at is null or left_ms is null)
)
-- Room for the versions between start and end on the page of the first one. Dead ones are removed by whoever passes.
with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- Unfinished sagas only: it stays as small as the work at hand. `status = 'RUNNING'` in the view finds it, too.
create index instance_unfinished on saga.instance (owner, id) where phase in ('RUNNING', 'COMPENSATING');
create index instance_attention on saga.instance (id) where needs_attention;

comment on table saga.instance is
    'Sagas, one row each. Read the views saga_instances, saga_steps and saga_state instead: this table may change.';
comment on column saga.instance.owner is 'The replica that drives the saga, or drove it last.';
comment on column saga.instance.claims is 'Loads after a crash without progress since.';
comment on column saga.instance.format is 'Format of the row and its events; a program that does not know it leaves the saga alone.';
comment on column saga.instance.deadline_at is 'When machine time runs out; null while a step waits for a person.';
comment on column saga.instance.left_ms is 'Machine time left, in milliseconds, while a step waits for a person.';
comment on column saga.instance.failed_step is 'Position of the step that made the saga unwind, from 0.';
comment on column saga.instance.quarantined is 'Parked: nobody drives it until an operator decides.';

-- Columns from wide to narrow, absent values null: a success with 100 bytes of request and of reply takes about 300 bytes.
create table saga.event (
    saga_id uuid not null,
    at timestamptz not null,
    next_retry_at timestamptz,
    seq integer not null,
    idx integer,
    attempt integer,
    duration_ms integer,
    step smallint,
    kind text collate "C" not null,
    op text collate "C",
    class text collate "C",
    reason text collate "C",
    actor text,
    error json,
    in_flight json,
    request json,
    reply json,
    constraint event_pkey primary key (saga_id, seq)
)
with (autovacuum_vacuum_insert_scale_factor = 0.1);

comment on table saga.event is
    'What happened to each saga, in order. Appended to, never changed. The end of a saga is not an event but its phase.';
comment on column saga.event.seq is 'From 0 without gaps. A second writer of the same number fails.';
comment on column saga.event.kind is
    'succeeded, refused, failed, pending, abandoned (of an operation); unwinding, committed, deadline_missed (of the saga).';
comment on column saga.event.step is 'Position of the step, from 0; the epilogue comes after the last. Of unwinding: the step that caused it.';
comment on column saga.event.op is 'action or compensation; null for events of the saga as a whole.';
comment on column saga.event.class is 'Of failed: unknown, unsent, misconfigured, cannot_be_refused.';
comment on column saga.event.next_retry_at is 'Of failed: when the next attempt may start; null if there is none.';
comment on column saga.event.in_flight is 'Of unwinding: actions with a call in flight, which are waited for.';

create table saga.outbox (
    id uuid not null,
    created_at timestamptz not null,
    published_at timestamptz,
    topic text collate "C" not null,
    key text collate "C" not null,
    traceparent text,
    data jsonb not null,
    constraint outbox_pkey primary key (id)
);
create index outbox_unpublished on saga.outbox (id) where published_at is null;

comment on table saga.outbox is
    'Facts for other services (saga.completed, saga.compensated, saga.attention), written by the statement that makes them true.';
