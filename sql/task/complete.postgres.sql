-- @function complete(task bigint, lease_id bigint, result jsonb = null) -> void
--
-- Ends a task as done, in the caller's transaction. The live row goes; where the queue has a retention, history keeps it.
-- Repeating a complete whose reply was lost succeeds while history has it.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- result: what came of it, a JSON document of at most 64 MiB, or null
-- Returns: nothing
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task, cloaca_task_history, cloaca_finished_key
create function cloaca.complete(task bigint, lease_id bigint, result jsonb default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    is_repeated boolean;
begin
    perform cloaca.check_result(complete.result);
    perform from cloaca.finish(tenant, 'completed', array[complete.task], array[complete.lease_id], array[complete.result],
        cloaca.now());
    if not found then
        execute format($query$
            select exists (select from %I.cloaca_task_history h where h.task = $1 and h.lease_id = $2 and h.state = 'completed')
            $query$, tenant) into is_repeated using complete.task, complete.lease_id;
        if not is_repeated then
            perform cloaca.refuse_lease(tenant, complete.task, complete.lease_id);
        end if;
    end if;
end
$$;
