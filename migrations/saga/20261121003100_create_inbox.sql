-- What a consumer has applied, written in the transaction that applied it.
create table saga.inbox (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    done_at timestamptz not null default clock_timestamp(),
    constraint inbox_pkey primary key (consumer, source, event_id)
);
create index inbox_age on saga.inbox (done_at);
