-- @helper end_executions
--
-- Ends executions whose last task has ended: failed when one of their tasks failed or was cancelled, else completed. The caller has
-- locked them.
create function cloaca.end_executions(tenant text, executions bigint[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform from cloaca.query($query$
        with outcome as materialized (
            select e.id, w.retention, failure.task is not null as is_failed,
                coalesce(failure.error, 'Task "' || failure.name || '" was cancelled.') as error,
                cloaca.merge(array[e.input, final.changes]) as context, final.result
            from %1$I.cloaca_execution e
            cross join lateral (select w.retention from %1$I.cloaca_workflow w where w.id = e.workflow offset 0) w
            left join lateral (
                select n.task, n.error, t.name from %1$I.cloaca_execution_task n
                cross join lateral (
                    select t.name from %1$I.cloaca_workflow_task t where t.workflow = e.workflow and t.n = n.n offset 0) t
                where n.execution = e.id and n.state in ('failed', 'cancelled')
                order by n.state = 'cancelled', n.finished_at, n.n limit 1
            ) failure on true
            cross join lateral (
                select cloaca.merge(array_agg(n.changes order by n.n)) as changes,
                    coalesce(jsonb_object_agg(t.name, n.output) filter (where n.state = 'completed'), '{}') as result
                from %1$I.cloaca_workflow_task t
                cross join lateral (
                    select n.n, n.state, n.output, n.changes from %1$I.cloaca_execution_task n
                    where n.execution = e.id and n.n = t.n offset 0) n
                where t.workflow = e.workflow and t.dependents = '{}'
            ) final
            where e.id = any ($1[1]::bigint[])
        ), ended as (
            update %1$I.cloaca_execution e
            set state = case when o.is_failed then 'failed' else 'completed' end, finished_at = $1[2]::timestamptz,
                expires_at = $1[2]::timestamptz + o.retention, started_at = coalesce(e.started_at, $1[2]::timestamptz), error = o.error, context = o.context, result = o.result
            from outcome o where e.id = any (array[o.id])
            returning e.id, e.state, e.error
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, at, state, detail)
            select d.id, $1[2]::timestamptz, d.state, d.error from ended d order by d.id
        )
        select count(cloaca.note_execution($1[3], d.id)) from ended d
        $query$, tenant, executions::text, at::text, tenant) as q (noted bigint);
end
$$;
