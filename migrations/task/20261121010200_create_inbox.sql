-- What a consumer has applied, written in the transaction that applied it.
create table inbox (
    consumer text collate "C" not null,
    source text collate "C" not null,
    event_id text collate "C" not null,
    done_at timestamptz not null default clock_timestamp(),
    constraint inbox_pkey primary key (consumer, source, event_id)
);
create index inbox_age on inbox (done_at);
comment on table inbox is
    'Events that were applied here: one that comes again is not applied again. Rows are deleted after events.keep_inbox.';
