-- @function extend(task bigint, lease_id bigint, lease interval = null) -> lease_until timestamptz
--
-- Prolongs a lease (a heartbeat): it then runs for the given time from now.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- lease: how long from now, more than 0, at most 10 years; null for the queue's
-- Returns: when the lease ends now
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task
create function cloaca.extend(task bigint, lease_id bigint, lease interval default null) returns table (lease_until timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
begin
    lease := cloaca.microseconds(extend.lease, 'lease', true) * interval '1 microsecond';
    return query execute format($query$
        update %1$I.cloaca_task t set lease_until = $3
            + coalesce($4, (select q.lease from %1$I.cloaca_queue q where q.queue = t.queue), interval '30 seconds')
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
        returning t.lease_until
        $query$, tenant) using extend.task, extend.lease_id, cloaca.now(), extend.lease;
    if not found then
        perform cloaca.refuse_lease(tenant, extend.task, extend.lease_id);
    end if;
end
$$;
