-- What operators read. Ids and statuses are text, so that any literal can be compared with them; `saga_uuid` is the id as
-- stored, for queries by id over many sagas, which use the index.

create function saga.saga_text(id uuid) returns text
    language sql immutable strict parallel safe
    return 'saga_' || replace(id::text, '-', '');
comment on function saga.saga_text(uuid) is 'The id of a saga as everybody outside the journal sees it.';

-- Follows the state machine for definitions whose steps run one after the other. A step is open when the one before it has
-- succeeded; when the saga turns round, an open action without a call in flight is given up at once, without an event.
create view saga.step_states as
select
    i.id as saga_uuid,
    i.phase,
    s.step,
    s.idx,
    s.step_name,
    s.max_retries,
    s.execute_data,
    s.compensate_data,
    s.result,
    case
        when s.undone then 'COMPENSATED'
        when i.phase = 'COMPENSATING' and s.wants_undo and s.later_settled then 'COMPENSATING'
        when s.done then 'SUCCEEDED'
        when s.refused then 'REFUSED'
        when s.abandoned then 'FAILED'
        when s.open and (i.phase = 'RUNNING' or i.phase = 'COMPENSATING' and (s.draining or s.is_epilogue)) then
            case
                when s.draining then 'RUNNING'
                when s.action_last = 'failed' then 'RETRYING'
                when s.action_last = 'pending' then 'WAITING'
                else 'RUNNING'
            end
        when i.phase = 'RUNNING' then 'PENDING'
        else 'SKIPPED'
    end as status,
    coalesce(s.action_retries, 0) as action_retries,
    coalesce(s.undo_retries, 0) as undo_retries,
    case when s.action_last = 'failed' then s.action_next end as action_next,
    case when s.undo_last = 'failed' then s.undo_next end as undo_next
from saga.instance i
join saga.definition d on d.id = i.definition_id
cross join lateral (
    select
        t.*,
        coalesce(
            bool_and(not t.draining and (t.undone or not t.wants_undo)) over (
                order by t.step desc, t.idx desc rows between unbounded preceding and 1 preceding
            ),
            true
        ) as later_settled
    from (
        select o.*, o.compensated and (o.done or o.abandoned) as wants_undo
        from (
            select
                f.*,
                f.given_up or (f.unwound_seq is not null and f.open and not f.is_epilogue and not f.in_flight)
                    as abandoned,
                f.unwound_seq is not null and f.open and f.in_flight as draining
            from (
                select
                    p.step,
                    coalesce(e.idx, 0) as idx,
                    p.step_name,
                    p.compensated,
                    p.max_retries,
                    p.is_epilogue,
                    u.seq as unwound_seq,
                    e.done_seq is not null as done,
                    coalesce(e.refused, false) as refused,
                    coalesce(e.given_up, false) as given_up,
                    coalesce(e.undone, false) as undone,
                    not coalesce(e.done_seq is not null or e.refused or e.given_up, false)
                    and (
                        p.step = 0
                        or p.is_epilogue
                        or coalesce(
                            lag(e.done_seq) over in_order < coalesce(u.seq, 2147483647),
                            false
                        )
                    ) as open,
                    exists (
                        select 1
                        from json_array_elements(u.in_flight) f
                        where (f ->> 'step')::integer = p.step and (f ->> 'index')::integer = coalesce(e.idx, 0)
                    ) as in_flight,
                    e.action_last,
                    e.action_next,
                    e.action_retries,
                    e.undo_last,
                    e.undo_next,
                    e.undo_retries,
                    e.execute_data,
                    e.compensate_data,
                    e.result
                from (
                    select (n.position - 1)::integer as step, n.step_name, n.compensated, n.max_retries, false as is_epilogue
                    from unnest(d.steps, d.compensated, d.max_retries)
                        with ordinality n (step_name, compensated, max_retries, position)
                    union all
                    select cardinality(d.steps), d.epilogue, false, null, true
                    where d.epilogue is not null
                ) p
                left join (select seq, in_flight from saga.event where saga_id = i.id and kind = 'unwinding') u on true
                left join (
                    select
                        step,
                        idx,
                        min(seq) filter (where op = 'action' and kind = 'succeeded') as done_seq,
                        bool_or(op = 'action' and kind = 'refused') as refused,
                        bool_or(op = 'action' and (kind = 'abandoned' or kind = 'failed' and next_retry_at is null))
                            as given_up,
                        bool_or(op = 'compensation' and kind = 'succeeded') as undone,
                        (array_agg(kind order by seq desc) filter (where op = 'action'))[1] as action_last,
                        (array_agg(next_retry_at order by seq desc) filter (where op = 'action'))[1] as action_next,
                        count(*) filter (where op = 'action' and kind = 'failed' and next_retry_at is not null)
                            as action_retries,
                        (array_agg(kind order by seq desc) filter (where op = 'compensation'))[1] as undo_last,
                        (array_agg(next_retry_at order by seq desc) filter (where op = 'compensation'))[1] as undo_next,
                        count(*) filter (where op = 'compensation' and kind = 'failed') as undo_retries,
                        (array_agg(request order by seq desc) filter (where op = 'action' and request is not null))[1]
                            as execute_data,
                        (array_agg(request order by seq desc)
                            filter (where op = 'compensation' and request is not null))[1] as compensate_data,
                        (array_agg(reply order by seq) filter (where op = 'action' and reply is not null))[1] as result
                    from saga.event
                    where saga_id = i.id and op is not null
                    group by step, idx
                ) e on e.step = p.step
                where not p.is_epilogue or e.step is not null
                window in_order as (order by p.step, e.idx)
            ) f
        ) o
    ) t
) s;

comment on view saga.step_states is 'What saga_steps and the current step are made from. Not for use elsewhere: it may change.';

create view saga.saga_instances as
select
    saga.saga_text(i.id) as id,
    i.business_id,
    d.name as business_type,
    i.phase as status,
    case
        when i.phase in ('RUNNING', 'COMPENSATING') then coalesce(
            (
                select s.step_name
                from saga.step_states s
                where s.saga_uuid = i.id and s.status in ('RUNNING', 'RETRYING', 'WAITING', 'COMPENSATING')
                order by case when i.phase = 'RUNNING' then s.step else -s.step end
                limit 1
            ),
            case when i.phase = 'COMPENSATING' then d.epilogue end
        )
    end as current_step,
    i.created_at,
    coalesce(
        i.ended_at,
        (select e.at from saga.event e where e.saga_id = i.id order by e.seq desc limit 1),
        i.created_at
    ) as updated_at,
    case when i.phase = 'COMPLETED' then i.ended_at end as completed_at,
    case when i.phase = 'COMPENSATED' then i.ended_at end as compensated_at,
    i.reason,
    case
        when i.error is not null then concat_ws(
            ': ',
            concat_ws('/', i.error ->> 'code', nullif(i.error ->> 'reason', '')),
            nullif(i.error ->> 'message', '')
        )
    end as error,
    i.needs_attention,
    i.deadline_at,
    i.id as saga_uuid
from saga.instance i
join saga.definition d on d.id = i.definition_id;

comment on view saga.saga_instances is
    'Sagas, one row each. status: RUNNING, COMPENSATING, COMPLETED, COMPENSATED, RESOLVED (ended by an operator).';
comment on column saga.saga_instances.business_type is 'Name of the definition.';
comment on column saga.saga_instances.current_step is
    'While running the lowest unfinished step; while compensating the step being undone; null after the end.';
comment on column saga.saga_instances.reason is
    'Why it unwinds or unwound: REFUSED, TIMEOUT, CANCELLED, OPERATOR, EXHAUSTED.';
comment on column saga.saga_instances.error is 'What made it unwind: gRPC code, reason code, text.';
comment on column saga.saga_instances.deadline_at is
    'When machine time runs out; null while a step waits for a person.';

create view saga.saga_steps as
select
    saga.saga_text(s.saga_uuid) || '/' || (s.step + 1) || case when s.idx > 0 then '/' || s.idx else '' end as id,
    saga.saga_text(s.saga_uuid) as saga_id,
    s.step + 1 as step_order,
    s.step_name,
    s.status,
    s.execute_data,
    s.compensate_data,
    s.result,
    (case when s.status = 'COMPENSATING' then s.undo_retries else s.action_retries end)::integer as retry_count,
    s.max_retries as max_retry_count,
    case s.status when 'RETRYING' then s.action_next when 'COMPENSATING' then s.undo_next end as next_retry_at,
    s.saga_uuid
from saga.step_states s;

comment on view saga.saga_steps is
    'Steps of sagas, one row each, started or not. status: PENDING (not started), RUNNING (called or about to be, no answer recorded), RETRYING (failed, called again at next_retry_at), WAITING (the participant works on it and is asked again), SUCCEEDED, REFUSED (definitely no effect), FAILED (given up without an answer), COMPENSATING (being undone), COMPENSATED (undone), SKIPPED (never started, and never will be). The call after the last compensation has a row once something is recorded of it.';
comment on column saga.saga_steps.step_order is 'From 1.';
comment on column saga.saga_steps.execute_data is 'Last recorded request of the action, as proto-JSON.';
comment on column saga.saga_steps.compensate_data is 'Last recorded request of the compensation, as proto-JSON.';
comment on column saga.saga_steps.result is 'Reply of the action, as proto-JSON.';
comment on column saga.saga_steps.retry_count is
    'Calls of the action after the first; of the compensation while status is COMPENSATING.';
comment on column saga.saga_steps.max_retry_count is
    'Bound of retry_count for steps that may be given up; others are repeated until they succeed.';

create view saga.saga_state as
select
    saga.saga_text(i.id) as id,
    d.name as saga_type,
    case
        when i.needs_attention or i.phase = 'RESOLVED' then 'FAILED'
        when i.reason = 'TIMEOUT' then 'TIMEOUT'
        else i.phase
    end as status,
    v.current_step,
    (
        select json_build_object(
            'input', i.input,
            'results', coalesce(
                json_object_agg(d.steps[e.step + 1], e.reply order by e.seq),
                '{}'::json
            )
        )
        from saga.event e
        where e.saga_id = i.id and e.op = 'action' and e.reply is not null and e.step < cardinality(d.steps)
    ) as state,
    (
        select count(*)::integer
        from saga.event e
        where e.saga_id = i.id and e.kind = 'failed' and e.next_retry_at is not null
    ) as retry_count,
    coalesce(
        v.error,
        (
            select concat_ws(
                ': ',
                concat_ws('/', e.error ->> 'code', nullif(e.error ->> 'reason', '')),
                nullif(e.error ->> 'message', '')
            )
            from saga.event e
            where e.saga_id = i.id and e.error is not null and i.ended_at is null
            order by e.seq desc
            limit 1
        )
    ) as error_message,
    i.created_at,
    v.updated_at,
    i.ended_at as completed_at,
    i.deadline_at as timeout_at,
    i.id as saga_uuid
from saga.instance i
join saga.definition d on d.id = i.definition_id
join saga.saga_instances v on v.saga_uuid = i.id;

comment on view saga.saga_state is
    'Sagas under older names. status: RUNNING, COMPENSATING, COMPLETED, COMPENSATED; FAILED where a person should look or an operator ended it; TIMEOUT where time ran out.';
comment on column saga.saga_state.state is 'The input, and the replies of the steps that succeeded, by step.';
comment on column saga.saga_state.retry_count is 'Calls of all steps after the first of each.';
comment on column saga.saga_state.error_message is 'What made it unwind; else the latest failure, until the end.';
comment on column saga.saga_state.completed_at is 'When it ended, however it ended.';
comment on column saga.saga_state.timeout_at is 'When machine time runs out; null while a step waits for a person.';
