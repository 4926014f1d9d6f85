//! The statements that write batches.
//!
//! Each is one statement, so it is one transaction and one round trip, and each begins with the fence: everything in it
//! is joined with the fence's row and so happens only if this instance still has its epoch (rule 8). `for share` is
//! needed: it waits for a takeover that has not committed and makes a later one wait; a plain read or `for key share`
//! lets writes of a replaced instance commit after the takeover has read.
//!
//! There are two: [`EVENTS`] for batches of nothing but events, which is most of them while little is going on (0.27 ms
//! instead of 0.4 ms on a Postgres without fsync), and [`BATCH`] for all others.
//!
//! Parameters: 1 to 3 the fence; 4 to 21 events; 22 to 34 rows; 35 to 41 the outbox; 42 to 61 starts. Arrays are sorted
//! before they are bound (events and rows by saga, starts by business key), which is the order in which locks are taken,
//! so that batches cannot wait for each other in a circle.

macro_rules! fence {
    () => {
        "with fence as materialized (
    select 1 from saga.replica where id = $1 and epoch = $2 and incarnation = $3 for share
)"
    };
}

macro_rules! events {
    ($more:literal, $named:literal, $kept:literal) => {
        concat!(
            ", written as (
    insert into saga.event (
        saga_id, at, next_retry_at, seq, idx, attempt, duration_ms, step, kind, op, class, reason, actor, error,
        in_flight, request, reply, operator
    )
    select
        e.saga_id, e.at, e.next_retry_at, e.seq, e.idx, e.attempt, e.duration_ms, e.step, e.kind, e.op, e.class,
        e.reason, e.actor, e.error::json, e.in_flight::json, e.request::json, e.reply::json, e.operator::json
    from fence cross join unnest(
        $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::int4[], $8::int4[], $9::int4[], $10::int4[],
        $11::int2[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
        $19::text[], $20::text[], $21::text[]",
            $more,
            "
    ) e (
        saga_id, at, next_retry_at, seq, idx, attempt, duration_ms, step, kind, op, class, reason, actor, error,
        in_flight, request, reply, operator",
            $named,
            ")",
            $kept,
            "
)"
        )
    };
}

/// Only events.
pub(super) const EVENTS: &str = concat!(
    fence!(),
    events!("", "", ""),
    " select (select count(*) from fence) as fenced, null::uuid[] as won"
);

/// Everything a batch can hold. What belongs to a start is written only if the start won its business key; the form of
/// the condition makes it a hashed lookup, where a plain `in` would become a nested loop.
pub(super) const BATCH: &str = concat!(
    fence!(),
    ", won as (
    insert into saga.saga_keys (saga_id, created_at, type, business_id, input_digest)
    select s.saga_id, s.created_at, s.type, s.business_id, s.input_digest
    from fence cross join unnest($42::uuid[], $43::timestamptz[], $44::text[], $45::text[], $46::bytea[])
        s (saga_id, created_at, type, business_id, input_digest)
    on conflict (type, business_id) do nothing
    returning saga_id
), created as (
    insert into saga.instance (
        id, definition_id, created_at, ended_at, deadline_at, left_ms, failed_step, format,
        needs_attention, phase, reason, error, attention, owner, business_id, actor, traceparent, input
    )
    select
        s.id, s.definition_id, s.created_at, s.ended_at, s.deadline_at, s.left_ms, s.failed_step, s.format,
        s.attention is not null, s.phase, s.reason, s.error::json, s.attention::json, $1, s.business_id, s.actor,
        s.traceparent, s.input::json
    from fence cross join unnest(
        $42::uuid[], $48::int8[], $43::timestamptz[], $49::timestamptz[], $50::timestamptz[], $51::int8[],
        $52::int2[], $47::int2[], $53::text[], $54::text[], $55::text[], $56::text[], $45::text[], $57::text[],
        $58::text[], $59::text[]
    ) s (
        id, definition_id, created_at, ended_at, deadline_at, left_ms, failed_step, format, phase, reason, error,
        attention, business_id, actor, traceparent, input
    )
    where (s.id in (select saga_id from won)) is true
)",
    events!(
        ", $60::bool[]",
        ", fresh",
        "
    where not e.fresh or e.saga_id in (select saga_id from won)"
    ),
    // A null phase leaves the row as it is but for the claims. A row that would not change is not written: what the engine
    // calls a change may be one that only events show, such as the commit point. A saga may have been parked while the write
    // was under way: that stays to be seen.
    ", changed as (
    update saga.instance i set
        ended_at = case when r.phase is null then i.ended_at else r.ended_at end,
        deadline_at = case when r.phase is null then i.deadline_at else r.deadline_at end,
        left_ms = case when r.phase is null then i.left_ms else r.left_ms end,
        failed_step = case when r.phase is null then i.failed_step else r.failed_step end,
        claims = case when r.progressed then 0 else i.claims end,
        format = greatest(i.format, r.format),
        quarantined = i.quarantined and r.ended_at is null,
        paused_at = case
            when r.ended_at is not null then null
            when r.paused is null then i.paused_at
            else r.paused_at
        end,
        needs_attention = case
            when r.phase is null then i.needs_attention
            else r.attention is not null or i.quarantined and r.ended_at is null
        end,
        phase = coalesce(r.phase, i.phase),
        reason = case when r.phase is null then i.reason else r.reason end,
        error = case when r.phase is null then i.error else r.error::json end,
        attention = case
            when r.phase is null or i.quarantined and r.ended_at is null then i.attention
            else r.attention::json
        end
    from fence cross join unnest(
        $22::uuid[], $23::timestamptz[], $24::timestamptz[], $25::int8[], $26::int2[], $27::text[], $28::text[],
        $29::text[], $30::text[], $31::bool[], $32::int2[], $33::bool[], $34::timestamptz[]
    ) r (
        id, ended_at, deadline_at, left_ms, failed_step, phase, reason, error, attention, progressed, format, paused,
        paused_at
    )
    where i.id = r.id
        and (
            r.progressed and i.claims > 0
            or r.format > i.format
            or r.paused is not null
            or r.phase <> i.phase
            or r.phase is not null and (
                r.deadline_at is distinct from i.deadline_at
                or r.left_ms is distinct from i.left_ms
                or r.reason is distinct from i.reason
                or r.failed_step is distinct from i.failed_step
                or r.attention is distinct from i.attention::text
                or r.error is distinct from i.error::text
            )
        )
)",
    // Attention is told once, when it begins: `before` is the row as it was before this statement.
    ", told as (
    insert into saga.outbox (id, created_at, topic, key, traceparent, data)
    select o.id, o.created_at, o.topic, o.key, o.traceparent, o.data::jsonb
    from fence cross join unnest(
        $35::uuid[], $36::uuid[], $37::timestamptz[], $38::text[], $39::text[], $40::text[], $41::text[], $61::bool[]
    ) o (id, saga_id, created_at, topic, key, traceparent, data, fresh)
    left join saga.instance before on before.id = o.saga_id
    where (o.topic <> 'saga.attention' or before.needs_attention is not true)
        and (not o.fresh or o.saga_id in (select saga_id from won))
)",
    " select (select count(*) from fence) as fenced, array(select saga_id from won) as won"
);

/// Who has these business keys.
pub(super) const HOLDERS: &str = "
    select k.type, k.business_id, k.saga_id, k.input_digest
    from unnest($1::text[], $2::text[]) w (type, business_id)
    join saga.saga_keys k on k.type = w.type and k.business_id = w.business_id";

/// What the fence compares, as it is now.
pub(super) const FENCE_NOW: &str = "select epoch, incarnation from saga.replica where id = $1";
