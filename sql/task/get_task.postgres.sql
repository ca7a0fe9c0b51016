-- @function get_task(task bigint) -> task bigint, queue text, name text, state text, payload jsonb, priority smallint, run_at timestamptz, attempt integer, max_attempts integer, key text, worker text, lease_until timestamptz, execution bigint, result jsonb, error text, errors jsonb, enqueued_at timestamptz, claimed_at timestamptz, finished_at timestamptz
--
-- Everything about one task: live, finished (while history keeps it) or dead.
--
-- task: the task's id
-- Returns: one row, as list_tasks
-- Errors: unknown_task
-- Writes: nothing
create type cloaca.task_info as (
    task         bigint,
    queue        text,
    name         text,
    state        text,
    payload      jsonb,
    priority     smallint,
    run_at       timestamptz,
    attempt      integer,
    max_attempts integer,
    key          text,
    worker       text,
    lease_until  timestamptz,
    execution    bigint,
    result       jsonb,
    error        text,
    errors       jsonb,
    enqueued_at  timestamptz,
    claimed_at   timestamptz,
    finished_at  timestamptz
);

create function cloaca.get_task(task bigint) returns setof cloaca.task_info
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if get_task.task > 0 then
        return query select l.* from cloaca.list_tasks(after => get_task.task - 1, max => 1) l where l.task = get_task.task;
        if found then
            return;
        end if;
    end if;
    perform cloaca.raise_condition('unknown_task', format('Task %s does not exist.', coalesce(get_task.task::text, 'null')));
end
$$;
