-- @function cancel_task(task bigint) -> state text
--
-- Cancels a task. One that is not running leaves at once. A running one stays, marked: its worker gets `cancelled` at its next
-- call and lets go of it, or its lease ends and run_maintenance does.
--
-- task: the task's id
-- Returns: cancelled, or cancelling for a task that still runs
-- Errors: unknown_task
-- Writes: cloaca_task, cloaca_task_history
create function cloaca.cancel_task(task bigint) returns table (state text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    lease record;
begin
    perform cloaca.lock_executions(tenant, array[cancel_task.task]);
    -- A task without a lease gets one that ends at once, so that it can leave like every other.
    execute format($query$
        update %I.cloaca_task t set cancelled = true, lease_id = coalesce(t.lease_id, 0), lease_until = coalesce(t.lease_until, $2)
        where t.id = $1 returning t.lease_id, t.lease_until
        $query$, tenant) into lease using cancel_task.task, at;
    if lease.lease_id is null then
        perform cloaca.raise_condition('unknown_task', format('Task %s is not live.', coalesce(cancel_task.task::text, 'null')));
    elsif lease.lease_until > at then
        return query select 'cancelling';
    else
        perform from cloaca.finish(tenant, 'cancelled', array[cancel_task.task], array[lease.lease_id], null, at);
        return query select 'cancelled';
    end if;
end
$$;
