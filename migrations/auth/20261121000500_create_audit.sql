-- What administrators and operators did: who, when, to what, and why. Append-only.
create table audit (
    audit_id uuid not null,
    -- A user id, or `service:` and the name of the service.
    actor text not null,
    act text not null,
    -- A user id, or the key of a configuration entry.
    subject text not null,
    reason text not null,
    details jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint audit_pkey primary key (audit_id),
    constraint audit_act check (act in ('ban', 'unban', 'set_role', 'set_configuration')),
    constraint audit_reason check (char_length(reason) <= 500 and (reason <> '' or act = 'set_configuration'))
);
create index audit_by_subject on audit (subject, audit_id desc);
create index audit_by_actor on audit (actor, audit_id desc);

create function refuse_audit_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger audit_append_only before update or delete or truncate on audit
    for each statement execute function refuse_audit_change();
