-- What operators do: their events, pauses, and the audit. And what the views need to know of definitions that are graphs.

alter table saga.definition
    add column after jsonb,
    add constraint definition_after check (
        case
            when after is null then true
            when jsonb_typeof(after) = 'array' then jsonb_array_length(after) = cardinality(steps)
            else false
        end
    );

comment on column saga.definition.after is
    'For each step: an array of the positions of the steps it waits for, all smaller than its own. Null: each waits for the one before it.';

create function saga.descendants(after jsonb, steps integer) returns jsonb
    language sql immutable parallel safe
    return (
        with recursive edge as (
            select b.value::integer as before, (a.position - 1)::integer as step
            from jsonb_array_elements(after) with ordinality a (value, position)
            cross join jsonb_array_elements(a.value) b
            union all
            select s - 1, s
            from generate_series(1, steps - 1) s
            where after is null
        ), reached as (
            select before, step from edge
            union
            select r.before, e.step from reached r join edge e on e.before = r.step
        )
        select jsonb_agg(
            coalesce((select jsonb_agg(r.step order by r.step) from reached r where r.before = p.step), '[]')
            order by p.step
        )
        from generate_series(0, steps - 1) p (step)
    );
comment on function saga.descendants(jsonb, integer) is
    'For each step of a definition: the positions of the steps that wait for it, directly or not.';

alter table saga.definition
    add column descendants jsonb not null generated always as (saga.descendants(after, cardinality(steps))) stored;
comment on column saga.definition.descendants is
    'For each step: the positions of the steps that are undone before it. Follows from `after`; the views read it.';

-- Read by lists, and by the views.
alter table saga.instance add column paused_at timestamptz;
comment on column saga.instance.paused_at is 'Since when an operator holds back the calls of this saga.';
comment on column saga.instance.format is
    'Format of the row and its events; a program that does not know it leaves the saga alone. 1: as at first. 2: it has an event of kind skipped, late_success or operator, or a failure of class not_seen.';

alter table saga.event add column operator json;
comment on column saga.event.kind is
    'succeeded, refused, failed, pending, abandoned, skipped, late_success (of an operation); unwinding, committed, deadline_missed (of the saga); operator (of either).';
comment on column saga.event.class is
    'Of failed: unknown, unsent, misconfigured, cannot_be_refused, not_seen. Of operator: what was done, for example retry_now.';
comment on column saga.event.operator is 'Of operator: why (note), and what proves it (evidence).';

-- For the audit. The one kind of event that is looked for across sagas.
create index event_operator on saga.event (at, saga_id, seq) where kind = 'operator';

create table saga.paused_type (
    since timestamptz not null,
    type text collate "C" not null,
    actor text not null,
    reason text not null,
    constraint paused_type_pkey primary key (type)
);
comment on table saga.paused_type is 'Types whose sagas make no calls until an operator resumes them.';

create table saga.type_action (
    id bigint generated always as identity,
    at timestamptz not null,
    action text collate "C" not null,
    type text collate "C" not null,
    actor text not null,
    reason text not null,
    constraint type_action_pkey primary key (id),
    constraint type_action_action check (action in ('pause_type', 'resume_type'))
);
create index type_action_at on saga.type_action (at, id);
comment on table saga.type_action is 'What operators did about whole types. Only ever added to.';

create function saga.refuse_change() returns trigger
    language plpgsql
    as $$
begin
    raise exception 'what operators did is only ever added to, not changed (%)', tg_table_name
        using errcode = 'restrict_violation';
end
$$;
comment on function saga.refuse_change() is 'Keeps the audit as it was written.';

create trigger type_action_append_only
    before update or delete on saga.type_action
    for each row execute function saga.refuse_change();
create trigger type_action_no_truncate
    before truncate on saga.type_action
    for each statement execute function saga.refuse_change();
create trigger event_operator_append_only
    before update or delete on saga.event
    for each row when (old.kind = 'operator') execute function saga.refuse_change();

create view saga.audit as
select
    e.at,
    e.actor,
    e.class as action,
    saga.saga_text(e.saga_id) as saga_id,
    d.name as type,
    coalesce(d.steps[e.step + 1], case when e.step is not null then d.epilogue end) as step,
    e.idx as index,
    e.op,
    e.operator ->> 'note' as reason,
    e.operator ->> 'evidence' as evidence,
    e.seq + case when i.ended_at <= e.at and e.class = 'acknowledge' then 1 else 0 end as version,
    e.saga_id as saga_uuid,
    e.seq::bigint as entry
from saga.event e
join saga.instance i on i.id = e.saga_id
join saga.definition d on d.id = i.definition_id
where e.kind = 'operator'
union all
select a.at, a.actor, a.action, null, a.type, null, null, null, a.reason, null, null, null, a.id
from saga.type_action a;

comment on view saga.audit is 'What operators did, to sagas and to types. The entries cannot be changed or deleted.';
comment on column saga.audit.reason is 'Why, in the operator''s words.';
comment on column saga.audit.evidence is 'What the operator gave as proof, where the action asks for it.';
comment on column saga.audit.version is 'The state_version of the saga on which it was decided.';
comment on column saga.audit.entry is 'Number of the event in its saga, or of the action on types.';
