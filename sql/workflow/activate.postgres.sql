-- @helper activate
--
-- Tasks of executions that have nothing left to wait for: by its trigger rule, and with the context that it would see, each becomes
-- ready, which makes it a live task, or is skipped. Of a paused execution they are held. Returns the skipped ones, null for none.
create function cloaca.activate(tenant text, tasks bigint[], at timestamptz) returns bigint[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    skipped bigint[];
begin
    select q.tasks into skipped from cloaca.query($query$
        with free as materialized (
            select n.task, n.execution, n.steps, e.state = 'paused' as is_paused, e.deadline, w.queue, w.priority, w.max_attempts, w.handler,
                w.timeout, w.retry, w.trigger, before.changes, before.states,
                cloaca.merge(array[e.input, before.changes, w.input]) as context
            from unnest($1[1]::bigint[]) as f (task)
            cross join lateral (
                select n.task, n.execution, n.n, n.steps from %1$I.cloaca_execution_task n
                where n.task = f.task and n.state = 'waiting' offset 0) n
            cross join lateral (select e.* from %1$I.cloaca_execution e where e.id = n.execution offset 0) e
            cross join lateral (
                select w.* from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.n = n.n offset 0) w
            cross join lateral (
                select cloaca.merge(array_agg(d.changes order by x.place)) as changes,
                    coalesce(jsonb_object_agg(v.name, d.state) filter (where d.task is not null), '{}') as states
                from unnest(w.dependencies) with ordinality as x (n, place)
                cross join lateral (
                    select d.task, d.state, d.changes from %1$I.cloaca_execution_task d
                    where d.execution = n.execution and d.n = x.n offset 0) d
                cross join lateral (
                    select v.name from %1$I.cloaca_workflow_task v where v.workflow = e.workflow and v.n = x.n offset 0) v
            ) before
        ), judged as materialized (
            select f.*, cloaca.fires(f.trigger, f.states, f.context) as fires from free f
        ), live as (
            insert into %1$I.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, execution, deadline, timeout, name,
                payload, retry, steps)
            select j.task, j.queue, j.priority, case when j.is_paused then 'infinity' else $1[2]::timestamptz end, j.max_attempts, $1[2]::timestamptz, j.execution,
                j.deadline, j.timeout, j.handler, j.context, j.retry, j.steps
            from judged j where j.fires order by j.task
            returning id, queue, priority, run_at
        ), noted as (
            select cloaca.note_ready($1[3], l.queue, l.priority, min(l.run_at), min(l.id), count(*))
            from live l where l.run_at < 'infinity' group by l.queue, l.priority
        ), changed as (
            update %1$I.cloaca_execution_task n set state = case when j.fires then 'ready' else 'skipped' end, changes = j.changes, steps = null,
                held_run_at = case when j.fires and j.is_paused then $1[2]::timestamptz end,
                finished_at = case when not j.fires then $1[2]::timestamptz end
            from judged j where n.task = any (array[j.task])
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, task, at, state)
            select j.execution, j.task, $1[2]::timestamptz, case when j.fires then 'ready' else 'skipped' end from judged j order by j.task
        )
        select array_agg(j.task order by j.task) from judged j where not j.fires and (select count(*) from noted) >= 0
        $query$, tenant, tasks::text, at::text, tenant) as q (tasks bigint[]);
    return skipped;
end
$$;
