-- @helper held_task
--
-- Locks a live task, after its execution if it has one, and gives its row; raises when it is not held under this lease, or its time
-- is over.
create type cloaca.held_task as (
    execution bigint,
    queue     text,
    priority  smallint,
    attempt   integer,
    worker    text,
    steps     jsonb
);

create function cloaca.held_task(tenant text, task bigint, lease_id bigint) returns cloaca.held_task
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    held cloaca.held_task;
begin
    perform cloaca.lock_executions(tenant, array[held_task.task]);
    execute format($query$
        select t.execution, t.queue, t.priority, t.attempt, t.worker, coalesce(t.steps, '{}') from %I.cloaca_task t
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
            and coalesce(cloaca.task_end(t.claimed_at, t.timeout, t.deadline) > $3, true)
        for update
        $query$, tenant) into held using held_task.task, held_task.lease_id, cloaca.now();
    if held.queue is null then
        perform cloaca.refuse_lease(tenant, held_task.task, held_task.lease_id);
    end if;
    return held;
end
$$;
