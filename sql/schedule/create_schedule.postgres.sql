-- @function create_schedule(name text, cron text, timezone text = 'UTC', workflow text = null, task text = null, queue text = 'default', payload jsonb = '{}', priority integer = 0, catch_up text = 'skip', max_catch_up integer = 100, starts_at timestamptz = null, ends_at timestamptz = null, enabled boolean = true) -> schedule bigint, next_at timestamptz
--
-- Starts a workflow or enqueues a task again and again, at the times of a cron expression (see cron_next). run_maintenance
-- fires it: the firing, what it starts and the next time are one transaction, and no scheduled time is ever fired twice, nor one before
-- the newest that was: after a time in which the clock was ahead a schedule waits until it gets there again. What was started before may
-- still run; that changes nothing.
--
-- When maintenance comes late there are several scheduled times at once. `skip` fires the newest of them if it is at most 60 s old;
-- `run_once` fires the newest, however old it is; `run_all` fires the oldest max_catch_up of them, one after the other. The others are
-- skipped, with one row of history for all of them that has their number (at most 1,000 are counted). A time at which a schedule was
-- disabled is not late.
--
-- name: of the schedule, 1 to 200 bytes
-- cron: when, as cron_next takes it
-- timezone: by the clocks of which zone
-- workflow: what to start; this or task
-- task: the name of the task to enqueue
-- queue: the task's queue
-- payload: the task's payload, or the workflow's context, which must be an object
-- priority: the task's priority, -32,768 to 32,767
-- catch_up: skip, run_once or run_all
-- max_catch_up: how many late times run_all fires at most, 1 to 1,000
-- starts_at: no time before it is due; null for no limit
-- ends_at: no time after it is due; null for no limit
-- enabled: false to enable it later
-- Returns: the schedule's id, and when it is due first; null when it is disabled, or never due
-- Errors: invalid_name, invalid_argument, unknown_workflow, name_taken, not_supported (SQLite: other zones than UTC need the library GLib)
-- Writes: cloaca_schedule
create function cloaca.create_schedule(name text, cron text, timezone text default 'UTC', workflow text default null,
    task text default null, queue text default 'default', payload jsonb default '{}', priority integer default 0,
    catch_up text default 'skip', max_catch_up integer default 100, starts_at timestamptz default null,
    ends_at timestamptz default null, enabled boolean default true) returns table (schedule bigint, next_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    is_taken boolean;
begin
    perform cloaca.check_name(create_schedule.name, 'schedule name');
    execute format('select exists (select from %I.cloaca_schedule where name = $1)', tenant) into is_taken using create_schedule.name;
    if is_taken then
        perform cloaca.raise_condition('name_taken', format('Schedule "%s" exists.', create_schedule.name));
    end if;
    perform cloaca.check_schedule(tenant, create_schedule.cron, create_schedule.timezone, create_schedule.workflow, create_schedule.task,
        create_schedule.queue, create_schedule.payload, create_schedule.priority, create_schedule.catch_up, create_schedule.max_catch_up,
        create_schedule.starts_at, create_schedule.ends_at);
    if coalesce(create_schedule.enabled, true) then
        next_at := cloaca.schedule_next(create_schedule.cron, create_schedule.timezone, at, create_schedule.starts_at, create_schedule.ends_at);
    end if;
    execute format($query$
        insert into %I.cloaca_schedule (name, cron, timezone, workflow, task, queue, payload, priority, catch_up, max_catch_up, starts_at,
            ends_at, enabled, created_at, next_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        on conflict (name) do nothing returning id
        $query$, tenant) into schedule
        using create_schedule.name, create_schedule.cron, create_schedule.timezone, create_schedule.workflow, create_schedule.task,
            create_schedule.queue, create_schedule.payload, create_schedule.priority, create_schedule.catch_up,
            create_schedule.max_catch_up, create_schedule.starts_at, create_schedule.ends_at, coalesce(create_schedule.enabled, true),
            at, next_at;
    -- Somebody else made one just now.
    if schedule is null then
        perform cloaca.raise_condition('name_taken', format('Schedule "%s" exists.', create_schedule.name));
    end if;
    perform cloaca.note_due(tenant, next_at);
    return next;
end
$$;
