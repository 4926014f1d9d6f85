-- What the relay needs: order of writing, attributes, and when a row that no queue took is tried again.
alter table outbox
    add column seq bigint generated always as identity,
    add column attributes jsonb,
    add column next_try timestamptz,
    add column tries int not null default 0,
    add constraint outbox_tries check (tries >= 0);

drop index outbox_unpublished;
create index outbox_unpublished on outbox (seq) where published_at is null;
create index outbox_unpublished_by_key on outbox (key, seq) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;
