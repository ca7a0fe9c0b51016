-- @helper finish
--
-- Ends live tasks that are held under the given leases: as completed those that nobody cancelled, as cancelled those that
-- somebody did. Keeps history and keys as the queue says, and has executions go on. Pairs that do not match, and those that ran out of
-- time, are left alone and not returned.
--
-- Rows are locked in the order of their ids, so that two calls with the same tasks in another order cannot deadlock. They are found
-- by an array of ids and nothing is joined by nested loops: a planner misled by old statistics would read the whole table, or compare
-- every task with every other. Where no queue keeps anything the statement is short, since planning is most of its cost.
create function cloaca.finish(tenant text, state text, tasks bigint[], lease_ids bigint[], results jsonb[], at timestamptz)
returns table (task bigint, lease_id bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
as $$
#variable_conflict use_column
declare
    held constant text := format($query$
        with held as materialized (
            select t.id, t.lease_id from %1$I.cloaca_task t
            where t.id = any ($2) and t.lease_id = any ($3) and t.cancelled = ($1 = 'cancelled')
                and ($1 = 'cancelled' or coalesce(cloaca.task_end(t.claimed_at, t.timeout, t.deadline) > $4, true))
            order by t.id for update
        ), gone as (
            delete from %1$I.cloaca_task t where t.id = any (array(
                select h.id from held h where (h.id, h.lease_id) in (select * from unnest($2, $3))))
            returning t.*
        )$query$, tenant);
    is_kept boolean;
    has_executions boolean;
    ended record;
begin
    has_executions := cloaca.lock_executions(tenant, finish.tasks);
    execute format($query$
        select exists (select from %I.cloaca_queue q where q.retention > interval '0' or q.key_retention > interval '0')
        $query$, tenant) into is_kept;
    if not (is_kept or has_executions) then
        return query execute held || ' select g.id, g.lease_id from gone g'
            using finish.state, finish.tasks, finish.lease_ids, finish.at;
        return;
    end if;

    execute held || format($query$,
        pair as (
            select distinct on (p.task, p.lease_id) p.task, p.lease_id, p.result
            from unnest($2, $3, $5) with ordinality as p (task, lease_id, result, n)
            order by p.task, p.lease_id, p.n
        ), history as (
            insert into %1$I.cloaca_task_history (task, queue, finished_at, state, priority, run_at, attempt, max_attempts,
                lease_id, claimed_at, enqueued_at, execution, name, worker, key, payload, result, errors)
            select g.id, g.queue, $4, $1, g.priority, g.run_at, g.attempt, g.max_attempts,
                g.lease_id, g.claimed_at, g.enqueued_at, g.execution, g.name, g.worker, g.key, g.payload, p.result, g.errors
            from gone g
            join %1$I.cloaca_queue q on q.queue = g.queue and q.retention > interval '0'
            join pair p on p.task = g.id and p.lease_id = g.lease_id
        ), finished as (
            insert into %1$I.cloaca_finished_key as k (queue, key, task, until)
            select g.queue, g.key, g.id, $4 + q.key_retention
            from gone g join %1$I.cloaca_queue q on q.queue = g.queue and q.key_retention > interval '0'
            where g.key is not null and $1 = 'completed'
            order by g.queue, g.key
            on conflict (queue, key) do update set task = excluded.task, until = excluded.until
        )
        select array_agg(g.id) as tasks, array_agg(g.lease_id) as lease_ids,
            array_agg((g.id, $1, p.result, null, g.attempt, g.worker, g.claimed_at,
                case when $1 = 'cancelled' then g.steps end)::cloaca.ended_task order by g.id)
                filter (where g.execution is not null) as ends
        from gone g join pair p on p.task = g.id and p.lease_id = g.lease_id
        $query$, tenant) into ended using finish.state, finish.tasks, finish.lease_ids, finish.at, finish.results;
    if ended.ends is not null then
        perform cloaca.end_tasks(tenant, ended.ends, finish.at);
    end if;
    return query select * from unnest(ended.tasks, ended.lease_ids);
end
$$;
