-- @helper reset_tasks
--
-- Has the failed and cancelled tasks of an ended execution, and all that depend on them, wait again. Returns them, those that have
-- nothing left to wait for, and how many of them no other task waits for.
create function cloaca.reset_tasks(tenant text, execution bigint, out tasks bigint[], out free bigint[], out finals integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        with recursive again (n) as (
            select n.n from %1$I.cloaca_execution_task n where n.execution = $1 and n.state in ('failed', 'cancelled')
            union
            select x.n from again a
            join %1$I.cloaca_execution e on e.id = $1
            join %1$I.cloaca_workflow_task w on w.workflow = e.workflow and w.n = a.n
            cross join lateral unnest(w.dependents) as x (n)
        ), task as materialized (
            select w.n, w.dependents, (select count(*) from unnest(w.dependencies) as x (n) join again b on b.n = x.n)::integer as remaining
            from again a join %1$I.cloaca_execution e on e.id = $1
            join %1$I.cloaca_workflow_task w on w.workflow = e.workflow and w.n = a.n
        ), reset as (
            update %1$I.cloaca_execution_task n
            set state = 'waiting', remaining = t.remaining, attempt = 0, worker = null, started_at = null, finished_at = null,
                held_run_at = null, awaits = null, error = null, output = null, changes = null
            from task t where n.execution = $1 and n.n = t.n
            returning n.task, t.remaining, t.dependents
        )
        select array_agg(r.task order by r.task), array_agg(r.task order by r.task) filter (where r.remaining = 0),
            count(*) filter (where r.dependents = '{}')
        from reset r
        $query$, tenant) into tasks, free, finals using reset_tasks.execution;
end
$$;
