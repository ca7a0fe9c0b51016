-- @helper extend_many_sql
--
-- The SQL path of extend_many, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is extend_many itself.
create function cloaca.extend_many_sql(tasks bigint[], lease_ids bigint[], lease interval default null)
returns table (task bigint, outcome text, lease_until timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    extended record;
    cancelled record;
begin
    perform cloaca.check_pairs(tasks, lease_ids);
    lease := cloaca.microseconds(extend_many_sql.lease, 'lease', true) * interval '1 microsecond';
    -- Rows are locked in the order of their ids, as in finish. What is cancelled while this waits, the second statement sees.
    execute format($query$
        with held as materialized (
            select t.id, t.lease_id from %1$I.cloaca_task t
            where t.id = any ($1) and t.lease_id = any ($2) and not t.cancelled
                and coalesce(cloaca.task_end(t.claimed_at, t.timeout, t.deadline) > $3, true)
            order by t.id for update
        ), extended as (
            update %1$I.cloaca_task t set lease_until = least(cloaca.task_end(t.claimed_at, t.timeout, t.deadline), $3
                + coalesce($4, (select q.lease from %1$I.cloaca_queue q where q.queue = t.queue), interval '30 seconds'))
            where t.id = any (array(
                select h.id from held h where (h.id, h.lease_id) in (select * from unnest($1, $2))))
            returning t.id, t.lease_id, t.lease_until
        )
        select array_agg(id) as tasks, array_agg(lease_id) as lease_ids, array_agg(lease_until) as ends from extended
        $query$, tenant) into extended using extend_many_sql.tasks, extend_many_sql.lease_ids, at, extend_many_sql.lease;
    select array_agg(f.task) as tasks, array_agg(f.lease_id) as lease_ids into cancelled
    from cloaca.finish(tenant, 'cancelled', extend_many_sql.tasks, extend_many_sql.lease_ids, null, at) f
    where coalesce(cardinality(extended.tasks), 0) < cardinality(extend_many_sql.tasks);

    return query select p.task,
        case when e.ends is not null then 'extended' when c.task is not null then 'cancelled' else 'lease_lost' end, e.ends
    from unnest(extend_many_sql.tasks, extend_many_sql.lease_ids) with ordinality as p (task, lease_id, n)
    left join unnest(extended.tasks, extended.lease_ids, extended.ends) as e (task, lease_id, ends)
        on e.task = p.task and e.lease_id = p.lease_id
    left join unnest(cancelled.tasks, cancelled.lease_ids) as c (task, lease_id)
        on c.task = p.task and c.lease_id = p.lease_id
    order by p.n;
end
$$;
