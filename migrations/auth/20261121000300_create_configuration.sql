-- Counts the changes of the configuration; its row is the lock under which they are made.
create table configuration_revision (
    only_row boolean not null default true,
    revision bigint not null default 0,
    constraint configuration_revision_pkey primary key (only_row),
    constraint configuration_revision_only check (only_row),
    constraint configuration_revision_revision check (revision >= 0)
);
insert into configuration_revision default values;

-- Settings of the product that people change while it runs.
create table configuration (
    key text not null,
    value jsonb not null,
    public boolean not null,
    -- The revision that set it.
    version bigint not null,
    updated_at timestamptz not null default clock_timestamp(),
    constraint configuration_pkey primary key (key),
    constraint configuration_key check (
        char_length(key) <= 100 and key ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'
    ),
    constraint configuration_version check (version >= 1)
);
