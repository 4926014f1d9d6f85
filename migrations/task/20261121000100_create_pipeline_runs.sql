-- One run of a pipeline per task. `spec` is the pipeline it began with.
create table pipeline_runs (
    task_id uuid not null,
    -- The step call it answers: key of the barrier row that a worker locks last.
    saga_id uuid not null,
    saga_step text not null,
    saga_index integer not null,
    spec jsonb not null,
    state text not null default 'running',
    steps_done integer not null default 0,
    steps_total integer not null,
    result jsonb,
    error_message text,
    traceparent text,
    -- Not to be worked on earlier.
    wake_at timestamptz not null default now(),
    -- Who works on it: a claim makes a new token.
    lease_token uuid,
    lease_until timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    ended_at timestamptz,
    constraint pipeline_runs_pkey primary key (task_id),
    constraint pipeline_runs_task foreign key (task_id) references tasks (id),
    constraint pipeline_runs_state check (state in ('running', 'completed', 'failed', 'stopped')),
    constraint pipeline_runs_steps check (steps_done between 0 and steps_total),
    constraint pipeline_runs_lease check ((lease_token is null) = (lease_until is null)),
    constraint pipeline_runs_ended_at check ((ended_at is not null) = (state <> 'running')),
    constraint pipeline_runs_result check ((result is not null) = (state = 'completed')),
    constraint pipeline_runs_error check ((error_message is not null) = (state = 'failed'))
);

create index pipeline_runs_running on pipeline_runs (wake_at) where state = 'running';

-- A step that has begun. `idx` numbers the branches of a fanned-out step; 0 otherwise.
create table pipeline_steps (
    task_id uuid not null,
    step text not null,
    idx integer not null default 0,
    state text not null,
    -- Number of the last attempt, and whether its end is not recorded.
    attempt integer not null,
    open boolean not null,
    -- The open attempt waits until the run's wake_at.
    waiting boolean not null default false,
    failures integer not null default 0,
    output jsonb,
    error_message text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint pipeline_steps_pkey primary key (task_id, step, idx),
    constraint pipeline_steps_run foreign key (task_id) references pipeline_runs (task_id),
    constraint pipeline_steps_state check (state in ('running', 'succeeded', 'failed')),
    constraint pipeline_steps_attempt check (attempt > 0),
    constraint pipeline_steps_open check (not open or state = 'running'),
    constraint pipeline_steps_waiting check (not waiting or open),
    constraint pipeline_steps_output check ((output is not null) = (state = 'succeeded'))
);

-- Attempts of steps, kept as history. `calls` counts how often the same attempt was made.
create table pipeline_attempts (
    task_id uuid not null,
    step text not null,
    idx integer not null default 0,
    attempt integer not null,
    request_id text not null,
    calls integer not null default 1,
    outcome text,
    error_message text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint pipeline_attempts_pkey primary key (task_id, step, idx, attempt),
    constraint pipeline_attempts_step foreign key (task_id, step, idx)
        references pipeline_steps (task_id, step, idx),
    constraint pipeline_attempts_outcome check (outcome in ('succeeded', 'failed'))
);
