-- @helper extend_sql
--
-- The SQL path of extend, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is extend itself.
create function cloaca.extend_sql(task bigint, lease_id bigint, lease interval default null) returns table (lease_until timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
begin
    lease := cloaca.microseconds(extend_sql.lease, 'lease', true) * interval '1 microsecond';
    return query execute format($query$
        update %1$I.cloaca_task t set lease_until = least(cloaca.task_end(t.claimed_at, t.timeout, t.deadline), $3
            + coalesce($4, (select q.lease from %1$I.cloaca_queue q where q.queue = t.queue), interval '30 seconds'))
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
            and coalesce(cloaca.task_end(t.claimed_at, t.timeout, t.deadline) > $3, true)
        returning t.lease_until
        $query$, tenant) using extend_sql.task, extend_sql.lease_id, cloaca.now(), extend_sql.lease;
    if not found then
        perform cloaca.refuse_lease(tenant, extend_sql.task, extend_sql.lease_id);
    end if;
end
$$;
