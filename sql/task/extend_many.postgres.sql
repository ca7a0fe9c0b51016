-- @function extend_many(tasks bigint[], lease_ids bigint[], lease interval = null) -> task bigint, outcome text, lease_until timestamptz
--
-- Prolongs many leases at once. A task that was cancelled leaves with this call, which is its worker's acknowledgement.
--
-- tasks: the tasks' ids
-- lease_ids: their leases, as many
-- lease: how long from now, more than 0, at most 10 years; null for each queue's
-- Returns: a row for each pair in the order of the arrays: the task, its outcome (extended, lease_lost or cancelled), and when
--     its lease ends now (null unless extended)
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_task_history
create function cloaca.extend_many(tasks bigint[], lease_ids bigint[], lease interval default null)
returns table (task bigint, outcome text, lease_until timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
begin
    perform cloaca.check_pairs(tasks, lease_ids);
    lease := cloaca.microseconds(extend_many.lease, 'lease', true) * interval '1 microsecond';
    return query execute format($query$
        with pair as materialized (
            select p.task, p.lease_id, p.n from unnest($1, $2) with ordinality as p (task, lease_id, n)
        ), held as (
            select t.id from %1$I.cloaca_task t join (select distinct task, lease_id from pair) p
                on t.id = p.task and t.lease_id = p.lease_id
            where not t.cancelled
            order by t.id for update of t
        ), extended as (
            update %1$I.cloaca_task t set lease_until = $3
                + coalesce($4, (select q.lease from %1$I.cloaca_queue q where q.queue = t.queue), interval '30 seconds')
            where t.id = any (array(select id from held))
            returning t.id, t.lease_id, t.lease_until
        ), cancelled as (
            select c.task, c.lease_id from cloaca.finish(%1$L, 'cancelled', $1, $2, null, $3) c
        )
        select p.task, case when e.id is not null then 'extended' when c.task is not null then 'cancelled' else 'lease_lost' end,
            e.lease_until
        from pair p
        left join extended e on e.id = p.task and e.lease_id = p.lease_id
        left join cancelled c on c.task = p.task and c.lease_id = p.lease_id
        order by p.n
        $query$, tenant) using tasks, lease_ids, at, extend_many.lease;
end
$$;
