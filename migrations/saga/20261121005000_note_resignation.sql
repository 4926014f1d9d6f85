-- An instance that ends in order says so: its sagas need not wait until others have held their leases for long, as they do when
-- nobody knows whether an instance is dead or the database was away.
alter table saga.replica add column given_up boolean not null default false;

comment on column saga.replica.given_up is
    'The instance has ended in order since its last start: whoever has a lease may take its sagas over at once.';
