-- @function release(task bigint, lease_id bigint) -> void
--
-- Gives a claimed task back, as if it had not been claimed: the attempt does not count. A task that was cancelled while it ran
-- leaves with this call, which is its worker's acknowledgement.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- Returns: nothing
-- Errors: lease_lost
-- Writes: cloaca_task, cloaca_task_history
create function cloaca.release(task bigint, lease_id bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    released record;
begin
    execute format($query$
        update %I.cloaca_task t set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = t.attempt - 1
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
            and coalesce(cloaca.task_end(t.claimed_at, t.timeout, t.deadline) > $3, true)
        returning t.id, t.queue, t.priority, t.run_at, t.execution, t.attempt
        $query$, tenant) into released using release.task, release.lease_id, cloaca.now();
    if released.execution is not null then
        perform cloaca.add_event(tenant, released.execution, released.id, 'released', released.attempt + 1, null, null, cloaca.now());
    end if;
    if released.id is not null then
        perform cloaca.note_ready(tenant, released.queue, released.priority, released.run_at, released.id, 1);
    else
        perform from cloaca.finish(tenant, 'cancelled', array[release.task], array[release.lease_id], null, cloaca.now());
        if not found then
            perform cloaca.refuse_lease(tenant, release.task, release.lease_id);
        end if;
    end if;
end
$$;
