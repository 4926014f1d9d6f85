-- The views, for definitions that are graphs, and with what operators do. They are replaced in place, so that grants and
-- other people's views on them stay; new columns stand last for that reason.

-- Follows the state machine. An action is open when every step that its own waits for has succeeded or was left out; when
-- the saga turns round, an open action without a call in flight is given up at once, without an event. A compensation is
-- open when every step that waited for its own, directly or not, has nothing left to undo.
create or replace view saga.step_states as
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
    s.status,
    coalesce(s.action_retries, 0) as action_retries,
    coalesce(s.undo_retries, 0) as undo_retries,
    case when s.action_failing then s.action_next end as action_next,
    case when s.undo_failing then s.undo_next end as undo_next,
    case when s.undoing then 'compensation' when s.doing then 'action' end as open_op,
    case
        when s.undoing then coalesce(s.undo_attempt, 0) + case when s.undo_failing then 0 else 1 end
        when s.doing then coalesce(s.action_attempt, 0) + case when s.action_failing then 0 else 1 end
    end as open_attempts,
    case when s.undoing then s.undo_failing when s.doing then s.action_failing end as open_failing,
    case when s.undoing then s.undo_pending when s.doing then s.action_pending end as open_pending,
    case when s.undoing then s.undo_class when s.doing then s.action_class end as open_class,
    case when s.undoing then s.undo_error when s.doing then s.action_error end as open_error
from saga.instance i
join saga.definition d on d.id = i.definition_id
cross join lateral (
    select
        w.*,
        w.status = 'COMPENSATING' as undoing,
        w.status in ('RUNNING', 'RETRYING', 'WAITING') as doing
    from (
        select
            t.*,
            case
                when t.undo_skipped then 'COMPENSATION_SKIPPED'
                when t.undone then 'COMPENSATED'
                when i.phase = 'COMPENSATING' and t.wants_undo and t.settled @> (d.descendants -> t.step)
                    then 'COMPENSATING'
                when t.skipped then 'SKIPPED'
                when t.done then 'SUCCEEDED'
                when t.refused then 'REFUSED'
                when t.abandoned then 'FAILED'
                when t.open then
                    case
                        when i.phase in ('COMPLETED', 'COMPENSATED', 'RESOLVED') then 'FAILED'
                        when t.draining then 'RUNNING'
                        when t.action_failing then 'RETRYING'
                        when t.action_pending then 'WAITING'
                        else 'RUNNING'
                    end
                when i.phase = 'RUNNING' then 'PENDING'
                else 'SKIPPED'
            end as status
        from (
            select
                o.*,
                coalesce(
                    jsonb_agg(o.step) filter (where not o.draining and (o.undone or not o.wants_undo)) over (),
                    '[]'
                ) as settled
            from (
                select f.*, f.compensated and (f.done and not f.skipped or f.abandoned) as wants_undo
                from (
                    select
                        g.*,
                        g.given_up or (g.unwound_seq is not null and g.open and not g.is_epilogue and not g.in_flight)
                            as abandoned,
                        g.unwound_seq is not null and g.open and g.in_flight as draining,
                        -- What is only waited for is not called again.
                        g.action_failed_last and not (g.unwound_seq is not null and g.in_flight) as action_failing
                    from (
                        select
                            h.*,
                            not (h.done or h.refused or h.given_up)
                            and (
                                h.is_epilogue
                                or h.done_before @> case
                                    when d.after is not null then d.after -> h.step
                                    when h.step = 0 then '[]'
                                    else jsonb_build_array(h.step - 1)
                                end
                            ) as open
                        from (
                            select
                                p.step,
                                coalesce(e.idx, 0) as idx,
                                p.step_name,
                                p.compensated,
                                p.max_retries,
                                p.is_epilogue,
                                u.unwound_seq,
                                e.done_seq is not null as done,
                                -- What was done before the saga turned round; nothing is opened by what came later.
                                coalesce(
                                    jsonb_agg(p.step)
                                        filter (where e.done_seq < coalesce(u.unwound_seq, 2147483647)) over (),
                                    '[]'
                                ) as done_before,
                                coalesce(e.skipped, false) as skipped,
                                coalesce(e.refused, false) as refused,
                                coalesce(e.given_up, false) as given_up,
                                coalesce(e.undone, false) as undone,
                                coalesce(e.undo_skipped, false) as undo_skipped,
                                u.in_flight is not null and exists (
                                    select 1
                                    from json_array_elements(u.in_flight) f
                                    where (f ->> 'step')::integer = p.step
                                        and (f ->> 'index')::integer = coalesce(e.idx, 0)
                                ) as in_flight,
                                e.action_pending is not null as action_pending,
                                coalesce(
                                    e.action_failed > greatest(
                                        coalesce(e.action_pending, -1), coalesce(e.action_hurried, -1), u.hurried
                                    ),
                                    false
                                ) as action_failed_last,
                                e.action_next,
                                e.action_class,
                                e.action_error,
                                e.action_attempt,
                                e.action_retries,
                                coalesce(
                                    e.undo_failed > greatest(
                                        coalesce(e.undo_pending, -1), coalesce(e.undo_hurried, -1), u.hurried
                                    ),
                                    false
                                ) as undo_failing,
                                e.undo_pending is not null as undo_pending,
                                e.undo_next,
                                e.undo_class,
                                e.undo_error,
                                e.undo_attempt,
                                e.undo_retries,
                                e.execute_data,
                                e.compensate_data,
                                e.result
                            from (
                                select
                                    (n.position - 1)::integer as step, n.step_name, n.compensated, n.max_retries,
                                    false as is_epilogue
                                from unnest(d.steps, d.compensated, d.max_retries)
                                    with ordinality n (step_name, compensated, max_retries, position)
                                union all
                                select cardinality(d.steps), d.epilogue, false, null, true
                                where d.epilogue is not null
                            ) p
                            cross join (
                                select
                                    min(seq) filter (where kind = 'unwinding') as unwound_seq,
                                    (array_agg(in_flight) filter (where kind = 'unwinding'))[1] as in_flight,
                                    coalesce(
                                        max(seq) filter (where kind = 'operator' and class = 'retry_now' and op is null),
                                        -1
                                    ) as hurried
                                from saga.event
                                where saga_id = i.id and op is null
                            ) u
                            left join (
                                select
                                    step,
                                    idx,
                                    min(seq) filter (where op = 'action' and kind in ('succeeded', 'skipped')) as done_seq,
                                    bool_or(op = 'action' and kind = 'skipped') as skipped,
                                    bool_or(op = 'action' and kind = 'refused') as refused,
                                    bool_or(
                                        op = 'action' and (kind = 'abandoned' or kind = 'failed' and next_retry_at is null)
                                    ) as given_up,
                                    bool_or(op = 'compensation' and kind in ('succeeded', 'skipped')) as undone,
                                    bool_or(op = 'compensation' and kind = 'skipped') as undo_skipped,
                                    max(seq) filter (where op = 'action' and kind = 'failed') as action_failed,
                                    max(seq) filter (where op = 'action' and kind = 'pending') as action_pending,
                                    max(seq) filter (
                                        where op = 'action' and kind = 'operator' and class = 'retry_now'
                                    ) as action_hurried,
                                    (array_agg(next_retry_at order by seq desc)
                                        filter (where op = 'action' and kind = 'failed'))[1] as action_next,
                                    (array_agg(class order by seq desc)
                                        filter (where op = 'action' and kind = 'failed'))[1] as action_class,
                                    (array_agg(error order by seq desc)
                                        filter (where op = 'action' and kind = 'failed'))[1] as action_error,
                                    max(attempt) filter (where op = 'action' and kind = 'failed') as action_attempt,
                                    count(*) filter (
                                        where op = 'action' and kind = 'failed' and next_retry_at is not null
                                    ) as action_retries,
                                    max(seq) filter (where op = 'compensation' and kind = 'failed') as undo_failed,
                                    max(seq) filter (where op = 'compensation' and kind = 'pending') as undo_pending,
                                    max(seq) filter (
                                        where op = 'compensation' and kind = 'operator' and class = 'retry_now'
                                    ) as undo_hurried,
                                    (array_agg(next_retry_at order by seq desc)
                                        filter (where op = 'compensation' and kind = 'failed'))[1] as undo_next,
                                    (array_agg(class order by seq desc)
                                        filter (where op = 'compensation' and kind = 'failed'))[1] as undo_class,
                                    (array_agg(error order by seq desc)
                                        filter (where op = 'compensation' and kind = 'failed'))[1] as undo_error,
                                    max(attempt) filter (where op = 'compensation' and kind = 'failed') as undo_attempt,
                                    count(*) filter (where op = 'compensation' and kind = 'failed') as undo_retries,
                                    (array_agg(request order by seq desc)
                                        filter (where op = 'action' and request is not null))[1] as execute_data,
                                    (array_agg(request order by seq desc)
                                        filter (where op = 'compensation' and request is not null))[1] as compensate_data,
                                    (array_agg(reply order by seq)
                                        filter (where op = 'action' and reply is not null))[1] as result
                                from saga.event
                                where saga_id = i.id and op is not null
                                group by step, idx
                            ) e on e.step = p.step
                            where not p.is_epilogue or e.step is not null
                        ) h
                    ) g
                ) f
            ) o
        ) t
    ) w
) s;

create or replace view saga.saga_instances as
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
                where s.saga_uuid = i.id and s.open_op is not null
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
    i.id as saga_uuid,
    i.paused_at is not null or exists (select 1 from saga.paused_type p where p.type = d.name) as paused,
    i.quarantined,
    (
        select string_agg(
            concat_ws(
                ': ',
                concat_ws(' at ', a ->> 'cause', coalesce(d.steps[(a ->> 'step')::integer + 1], d.epilogue))
                    || ' since ' || (a ->> 'since'),
                nullif(a ->> 'note', '')
            ),
            '; '
        )
        from json_array_elements(i.attention) a
    ) as attention
from saga.instance i
join saga.definition d on d.id = i.definition_id;

comment on column saga.saga_instances.current_step is
    'While running the lowest unfinished step; while compensating the step being undone (of several, the last); null after the end.';
comment on column saga.saga_instances.paused is 'An operator holds back the calls of this saga, or of its type.';
comment on column saga.saga_instances.quarantined is
    'It broke its handling inside the orchestrator; nobody drives it until an operator releases it.';
comment on column saga.saga_instances.attention is
    'What a person should look at: causes, steps, since when, and for a quarantined saga what happened.';

comment on view saga.saga_steps is
    'Steps of sagas, one row each, started or not. status: PENDING (not started), RUNNING (called or about to be, no answer recorded), RETRYING (failed, called again at next_retry_at), WAITING (the participant works on it and is asked again), SUCCEEDED, REFUSED (definitely no effect), FAILED (given up without an answer), COMPENSATING (being undone), COMPENSATED (undone), COMPENSATION_SKIPPED (an operator left its undoing out), SKIPPED (left out by its condition or by an operator, or never started and never will be). The call after the last compensation has a row once something is recorded of it.';
comment on column saga.saga_steps.result is
    'Reply of the action, as proto-JSON; of one that was given up, the reply that came too late.';

create or replace view saga.saga_state as
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
        where e.saga_id = i.id and e.op = 'action' and e.kind = 'succeeded' and e.step < cardinality(d.steps)
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
