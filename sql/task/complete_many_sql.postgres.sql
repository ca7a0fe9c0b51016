-- @helper complete_many_sql
--
-- The SQL path of complete_many, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is complete_many itself.
create function cloaca.complete_many_sql(tasks bigint[], lease_ids bigint[], results jsonb[] default null)
returns table (task bigint, outcome text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    completed record;
    cancelled record;
begin
    perform cloaca.check_pairs(tasks, lease_ids);
    if cardinality(results) <> cardinality(tasks) or array_ndims(results) > 1 then
        perform cloaca.raise_condition('invalid_argument', 'The results must be as many as the tasks.');
    elsif pg_column_size(results) > 5000 then
        perform cloaca.check_result(r.result) from unnest(results) as r (result);
    end if;

    -- Statement after statement, each with a snapshot of its own: while one waits for a row, its task may be cancelled, or completed
    -- by a first try of this very call.
    select array_agg(f.task) as tasks, array_agg(f.lease_id) as lease_ids into completed
    from cloaca.finish(tenant, 'completed', complete_many_sql.tasks, complete_many_sql.lease_ids, complete_many_sql.results, at) f;
    select array_agg(f.task) as tasks, array_agg(f.lease_id) as lease_ids into cancelled
    from cloaca.finish(tenant, 'cancelled', complete_many_sql.tasks, complete_many_sql.lease_ids, null, at) f
    where coalesce(cardinality(completed.tasks), 0) < cardinality(complete_many_sql.tasks);

    return query execute format($query$
        select p.task, case
            when d.task is not null then 'completed'
            when c.task is not null then 'cancelled'
            when exists (select from %I.cloaca_task_history h
                         where h.task = p.task and h.lease_id = p.lease_id and h.state = 'completed') then 'completed'
            else 'lease_lost' end
        from unnest($1, $2) with ordinality as p (task, lease_id, n)
        left join unnest($3, $4) as d (task, lease_id) on d.task = p.task and d.lease_id = p.lease_id
        left join unnest($5, $6) as c (task, lease_id) on c.task = p.task and c.lease_id = p.lease_id
        order by p.n
        $query$, tenant) using complete_many_sql.tasks, complete_many_sql.lease_ids, completed.tasks, completed.lease_ids,
            cancelled.tasks, cancelled.lease_ids;
end
$$;
