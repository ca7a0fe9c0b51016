-- @helper reset_tasks
--
-- Has the failed and cancelled tasks of an ended execution, and all that depend on them, wait again. Returns them, those that have
-- nothing left to wait for, and how many of them no other task waits for. Costs what they are, as in advance, see there: what each has to wait
-- for is counted along the ways from those before it.
--
-- Those that failed or were cancelled keep their steps; of a cancelled one that its worker has not let go of yet they are still with the
-- live task. Waits for signals that were not received begin anew.
create function cloaca.reset_tasks(tenant text, execution bigint, out tasks bigint[], out free bigint[], out finals integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    select q.* into tasks, free, finals from cloaca.query($query$
        with recursive again (n) as (
            select n.n from %1$I.cloaca_execution_task n where n.execution = $1[1]::bigint and n.state in ('failed', 'cancelled')
            union
            select x.n from again a
            join %1$I.cloaca_execution e on e.id = $1[1]::bigint
            cross join lateral (
                select w.dependents from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.n = a.n offset 0) w
            cross join lateral unnest(w.dependents) as x (n)
        ), planned as materialized (
            select a.n, w.dependents from again a
            join %1$I.cloaca_execution e on e.id = $1[1]::bigint
            cross join lateral (
                select w.dependents from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.n = a.n offset 0) w
        ), counted as materialized (
            select c.n, sum(c.before)::integer as remaining, bool_or(c.is_final) as is_final
            from (
                select p.n, 0 as before, p.dependents = '{}' as is_final from planned p
                union all
                select x.n, 1, false from planned p cross join lateral unnest(p.dependents) as x (n)
            ) c
            group by c.n
        ), task as materialized (
            select n.task, c.remaining, c.is_final from counted c
            cross join lateral (
                select n.task from %1$I.cloaca_execution_task n where n.execution = $1[1]::bigint and n.n = c.n offset 0) n
        ), reset as (
            update %1$I.cloaca_execution_task n
            set state = 'waiting', remaining = t.remaining, attempt = 0, worker = null, started_at = null, finished_at = null,
                held_run_at = null, awaits = null, error = null, output = null, changes = null,
                steps = case when n.state in ('failed', 'cancelled') then (
                    select jsonb_object_agg(s.key, s.value)
                    from jsonb_each(coalesce((select l.steps from %1$I.cloaca_task l where l.id = n.task), n.steps)) s
                    where not starts_with(s.key, 'signal:') or s.value ->> 'outcome' = 'received') end
            from task t where n.task = any (array[t.task])
            returning n.task, t.remaining, t.is_final
        )
        select array_agg(r.task order by r.task), array_agg(r.task order by r.task) filter (where r.remaining = 0),
            (count(*) filter (where r.is_final))::integer
        from reset r
        $query$, tenant, reset_tasks.execution::text) as q (tasks bigint[], free bigint[], finals integer);
end
$$;
