-- What may be lost. Unlogged: a crash of the server empties the table, and writes cost no log.
create unlogged table entry (
    key text collate "C" not null,
    -- Null: a tombstone of a version.
    value bytea,
    -- Of versioned values only.
    version bigint,
    -- By the clock of the server. What has ended is absent for every statement, and deleted later.
    expires_at timestamptz not null,
    constraint entry_pkey primary key (key),
    constraint entry_key_size check (octet_length(key) between 1 and 200),
    constraint entry_value_size check (octet_length(value) <= 65536),
    constraint entry_filled check (value is not null or version is not null)
);
create index entry_expiry on entry (expires_at);

-- Counts one hit in every window, or in none if one is full: then its place (from 1) and the time until it ends, else 0.
-- Rows are locked in the order of keys, so that two callers never wait for each other.
create function hit(keys text[], most bigint[], windows_ms bigint[], out place bigint, out retry_after_ms bigint)
language plpgsql as $$
declare
    now_at timestamptz;
begin
    -- Locks every row; a window that is new or has ended has 0 hits.
    insert into kv.entry as held (key, value, expires_at)
        select w.key, '0', clock_timestamp() + w.window_ms * interval '1 ms'
        from unnest(keys, windows_ms) w (key, window_ms) order by w.key
    on conflict on constraint entry_pkey do update
    set value = case when held.expires_at <= clock_timestamp() then excluded.value else held.value end,
        version = null,
        expires_at = case when held.expires_at <= clock_timestamp() then excluded.expires_at
                     else held.expires_at end;
    now_at := clock_timestamp();

    select w.place, greatest(1, ceil(extract(epoch from held.expires_at - now_at) * 1000))
    into place, retry_after_ms
    from unnest(keys, most) with ordinality w (key, most, place) join kv.entry held on held.key = w.key
    where convert_from(held.value, 'UTF8')::bigint >= w.most
    order by held.expires_at desc, w.place
    limit 1;
    if found then
        return;
    end if;

    -- A window begins with its first hit.
    update kv.entry held
    set value = convert_to((convert_from(held.value, 'UTF8')::bigint + 1)::text, 'UTF8'),
        expires_at = case when held.value = '0' then now_at + w.window_ms * interval '1 ms'
                     else held.expires_at end
    from unnest(keys, windows_ms) w (key, window_ms)
    where held.key = w.key;
    place := 0;
    retry_after_ms := 0;
end
$$;

-- Record of a family of ids: when the active id became so (ms), it, and its parent or nothing.
create function family(active text, parent text) returns bytea
language sql volatile as $$
    select convert_to(floor(extract(epoch from clock_timestamp()) * 1000) || ' ' || active || ' ' || parent, 'UTF8')
$$;

-- Presents an id of a family: rotated, repeated (with the id that is active now), reused (the family is gone), absent.
create function rotate(
    family_key text, presented text, next_id text, grace_ms bigint, ttl_ms bigint,
    out outcome text, out current_id text
)
language plpgsql as $$
declare
    held text[];
    now_ms bigint;
begin
    select string_to_array(convert_from(value, 'UTF8'), ' ') into held
    from kv.entry
    where key = family_key and version is null and expires_at > clock_timestamp()
    for update;
    if not found then
        outcome := 'absent';
        return;
    end if;
    if cardinality(held) <> 3 or held[1] !~ '^[0-9]+$' then
        raise exception 'not a family' using errcode = 'data_corrupted';
    end if;
    now_ms := floor(extract(epoch from clock_timestamp()) * 1000);

    if presented = held[2] then
        outcome := 'rotated';
    elsif presented = held[3] and presented <> '' then
        outcome := 'repeated';
        if now_ms - held[1]::bigint <= grace_ms then
            current_id := held[2];
            return;
        end if;
        -- The active id never reached its client: the next one takes its place.
        current_id := next_id;
    else
        outcome := 'reused';
        delete from kv.entry where key = family_key;
        return;
    end if;
    update kv.entry
    set value = kv.family(next_id, presented), expires_at = clock_timestamp() + ttl_ms * interval '1 ms'
    where key = family_key;
end
$$;
