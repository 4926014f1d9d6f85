create table tasks (
    id uuid not null,
    user_id uuid not null,
    feature_id text not null,
    input_data jsonb not null,
    result jsonb,
    status text not null,
    amount bigint not null,
    saga_id uuid not null,
    error_reason text,
    error_message text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint tasks_pkey primary key (id),
    constraint tasks_status check (
        status in ('pending', 'processing', 'completed', 'failing', 'failed', 'cancelled')
    ),
    constraint tasks_amount check (amount > 0),
    constraint tasks_input_data check (jsonb_typeof(input_data) = 'object'),
    constraint tasks_result check ((result is not null) = (status = 'completed')),
    constraint tasks_finished_at check (
        (finished_at is not null) = (status in ('completed', 'failed', 'cancelled'))
    ),
    constraint tasks_error check (
        case
            when status = 'failed' then error_reason is not null
            when status = 'failing' then true
            else error_reason is null
        end
    )
);

create index tasks_by_user on tasks (user_id, created_at desc, id desc);
