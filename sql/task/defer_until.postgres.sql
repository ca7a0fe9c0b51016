-- @function defer_until(task bigint, lease_id bigint, run_at timestamptz) -> void
--
-- Gives a claimed task back, to be claimed again from a given time on. The attempt does not count.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- run_at: not before this time
-- Returns: nothing
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task
create function cloaca.defer_until(task bigint, lease_id bigint, run_at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    deferred record;
begin
    perform cloaca.check_time(defer_until.run_at);
    execute format($query$
        update %I.cloaca_task t set lease_id = null, lease_until = null, worker = null, claimed_at = null, attempt = t.attempt - 1,
            run_at = $3
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
        returning t.id, t.queue, t.priority, t.run_at
        $query$, tenant) into deferred using defer_until.task, defer_until.lease_id, defer_until.run_at;
    if deferred.id is null then
        perform cloaca.refuse_lease(tenant, defer_until.task, defer_until.lease_id);
    end if;
    perform cloaca.note_ready(tenant, deferred.queue, deferred.priority, deferred.run_at, deferred.id, 1);
end
$$;
