-- @function update_schedule(name text, cron text = null, timezone text = null, workflow text = null, task text = null, queue text = null, payload jsonb = null, priority integer = null, catch_up text = null, max_catch_up integer = null, starts_at timestamptz = null, ends_at timestamptz = null) -> next_at timestamptz
--
-- Changes a schedule; what is null stays as it is. With another cron, timezone, starts_at or ends_at it is due next after now, and
-- times that are late are forgotten. A workflow takes the place of a task, and the other way round. A limit that was set
-- can be moved far away, but not removed.
--
-- name: of the schedule
-- cron: when, as cron_next takes it
-- timezone: by the clocks of which zone
-- workflow: what to start, instead of a task
-- task: the name of the task to enqueue, instead of a workflow
-- queue: the task's queue
-- payload: the task's payload, or the workflow's context
-- priority: the task's priority
-- catch_up: skip, run_once or run_all
-- max_catch_up: how many late times run_all fires at most, 1 to 1,000
-- starts_at: no time before it is due
-- ends_at: no time after it is due
-- Returns: when it is due next; null when it is disabled, or never due again
-- Errors: unknown_schedule, invalid_name, invalid_argument, unknown_workflow, not_supported (SQLite: other zones than UTC need the library GLib)
-- Writes: cloaca_schedule
create function cloaca.update_schedule(name text, cron text default null, timezone text default null, workflow text default null,
    task text default null, queue text default null, payload jsonb default null, priority integer default null,
    catch_up text default null, max_catch_up integer default null, starts_at timestamptz default null,
    ends_at timestamptz default null) returns table (next_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    is_moved constant boolean := num_nonnulls(update_schedule.cron, update_schedule.timezone, update_schedule.starts_at,
        update_schedule.ends_at) > 0;
    row record;
begin
    execute format($query$
        select s.id, s.enabled, s.next_at, s.last_scheduled_at, coalesce($2, s.cron) as cron, coalesce($3, s.timezone) as timezone,
            case when $5 is null then coalesce($4, s.workflow) else $4 end as workflow,
            case when $4 is null then coalesce($5, s.task) else $5 end as task,
            coalesce($6, s.queue) as queue, coalesce($7, s.payload) as payload, coalesce($8, s.priority) as priority,
            coalesce($9, s.catch_up) as catch_up, coalesce($10, s.max_catch_up) as max_catch_up,
            coalesce($11, s.starts_at) as starts_at, coalesce($12, s.ends_at) as ends_at
        from %I.cloaca_schedule s where s.name = $1 for update
        $query$, tenant) into row
        using update_schedule.name, update_schedule.cron, update_schedule.timezone, update_schedule.workflow, update_schedule.task,
            update_schedule.queue, update_schedule.payload, update_schedule.priority, update_schedule.catch_up,
            update_schedule.max_catch_up, update_schedule.starts_at, update_schedule.ends_at;
    if row.id is null then
        perform cloaca.refuse_schedule(update_schedule.name);
    end if;
    perform cloaca.check_schedule(tenant, row.cron, row.timezone, row.workflow, row.task, row.queue, row.payload, row.priority,
        row.catch_up, row.max_catch_up, row.starts_at, row.ends_at);

    next_at := row.next_at;
    if is_moved and row.enabled then
        next_at := cloaca.schedule_next(row.cron, row.timezone, greatest(cloaca.now(), row.last_scheduled_at), row.starts_at, row.ends_at);
    end if;
    execute format($query$
        update %I.cloaca_schedule set cron = $2, timezone = $3, workflow = $4, task = $5, queue = $6, payload = $7, priority = $8,
            catch_up = $9, max_catch_up = $10, starts_at = $11, ends_at = $12, next_at = $13
        where id = $1
        $query$, tenant)
        using row.id, row.cron, row.timezone, row.workflow, row.task, row.queue, row.payload, row.priority, row.catch_up,
            row.max_catch_up, row.starts_at, row.ends_at, next_at;
    perform cloaca.note_due(tenant, next_at);
    return next;
end
$$;
