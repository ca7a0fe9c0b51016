-- @function complete_many(tasks bigint[], lease_ids bigint[], results jsonb[] = null) -> task bigint, outcome text
--
-- Ends many tasks as done, and says of each what came of it: one that is lost does not stop the others. A task that was
-- cancelled leaves with this call, which is its worker's acknowledgement.
--
-- tasks: the tasks' ids
-- lease_ids: their leases, as many
-- results: their results, as many; null for none at all, elements may be null
-- Returns: a row for each pair in the order of the arrays: the task, and its outcome (completed, lease_lost or cancelled)
-- Errors: invalid_argument
-- Writes: cloaca_task, cloaca_task_history, cloaca_finished_key
create function cloaca.complete_many(tasks bigint[], lease_ids bigint[], results jsonb[] default null)
returns table (task bigint, outcome text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
begin
    perform cloaca.check_pairs(tasks, lease_ids);
    if results is not null and cardinality(results) <> cardinality(tasks) then
        perform cloaca.raise_condition('invalid_argument', 'The results must be as many as the tasks.');
    elsif pg_column_size(results) > 67108864 then
        perform cloaca.check_result(r.result) from unnest(results) as r (result);
    end if;

    return query execute format($query$
        with pair as materialized (
            select p.task, p.lease_id, p.n from unnest($1, $2) with ordinality as p (task, lease_id, n)
        ), completed as materialized (
            select c.task, c.lease_id from cloaca.finish(%1$L, 'completed', $1, $2, $3, $4) c
        ), cancelled as materialized (
            select c.task, c.lease_id from cloaca.finish(%1$L, 'cancelled', $1, $2, null, $4) c
        )
        select p.task, case
            when c.task is not null then 'completed'
            when x.task is not null then 'cancelled'
            when exists (select from %1$I.cloaca_task_history h
                         where h.task = p.task and h.lease_id = p.lease_id and h.state = 'completed') then 'completed'
            else 'lease_lost' end
        from pair p
        left join completed c on c.task = p.task and c.lease_id = p.lease_id
        left join cancelled x on x.task = p.task and x.lease_id = p.lease_id
        order by p.n
        $query$, tenant) using tasks, lease_ids, results, at;
end
$$;
